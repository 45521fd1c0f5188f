"""The parts of README.md that are written by the program: options, settings, metrics, errors.

`python -m tests.readme` (or `make docs`) puts them in again; `test_readme.py` fails where they are out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def settings() -> str:
    """Every setting, its default and what it is."""
    from service.settings import table as rows

    return table(("variable", "default", ""), ((f"`{name}`", code(value), about) for name, value, about in rows()))


def metrics() -> str:
    """Every metric with its labels' absence of machines, a sentence each."""
    from service.metrics import SENTENCES

    return table(("metric", ""), ((f"`{name}`", sentence) for name, sentence in SENTENCES.items()))


def errors() -> str:
    """Every kind of problem."""
    from service.errors import tree

    return table(("status", "type", "title"), ((str(p.status), f"`{p.kind}`", p.title) for p in tree()))


def commands() -> str:
    """Every command with its own options."""
    parts = []
    for name, command in _commands().items():
        arguments = " ".join(_argument(p) for p in command.params if not _is_option(p))
        parts.append(f"`limen {name} {arguments}".rstrip() + f"`: {command.help}\n\n")
        rows = [_option(p) for p in command.params if _is_option(p) and not p.rich_help_panel]
        if rows:
            parts.append(table(("option", "default", ""), rows) + "\n")
    return "".join(parts)


def data_options() -> str:
    """The options on how to read files, which several commands share."""
    found: dict[str, Sequence[str]] = {}
    for command in _commands().values():
        found |= {p.name: _option(p) for p in command.params if _is_option(p) and p.rich_help_panel}
    return table(("option", "default", ""), found.values())


PARTS = {f.__name__: f for f in (settings, metrics, errors, commands, data_options)}


def _commands() -> dict[str, Any]:
    import typer

    from service.cli import app

    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        own = getattr(command, "commands", None)
        found |= {name: command} if own is None else {f"{name} {part}": one for part, one in own.items()}
    return found


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _argument(parameter: Any) -> str:
    return str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")


def _option(parameter: Any) -> tuple[str, str, str]:
    metavar = f" {parameter.metavar}" if parameter.metavar else ""
    default = "" if parameter.default in (None, "", False) else str(parameter.default)
    return f"`{parameter.opts[0]}{metavar}`", code(default), str(parameter.help or "")


def code(text: str) -> str:
    """As code, nothing where there is nothing."""
    return f"`{text}`" if text else ""


def written(text: str) -> str:
    """A README with its marked parts as the program has them now."""
    return MARKED.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", text)


def marked(text: str) -> Iterator[str]:
    """Names of the parts that a README marks."""
    return (found[2] for found in MARKED.finditer(text))


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
