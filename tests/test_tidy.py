"""The shape of the tree: what may import what, how long files are, and that the documents name what there is."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 400
BUILT = {"__pycache__", "build", "dist", "htmlcov", "limen-data", "demo-run", "node_modules"}
PROGRAM = sorted(file for folder in ("models", "service") for file in (ROOT / folder).rglob("*.py"))
TORCH_ALLOWED = {
    "models/gradient.py",
    "models/gradient_fit.py",
    "models/harness.py",
    "models/baselines/recurrent_training.py",
    "models/baselines/sequence_training.py",
}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NAMES_THAT_TAKE_EVERYTHING = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}

LOADED_FROM_OUTSIDE = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio|object|embed)\b[^>]*?(?:src|href|data)\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""",
    re.IGNORECASE,
)
REGISTRY_HOSTS = ("py" + "pi.", "pythonhosted" + ".", "npm" + "js.", "deb." + "debian", "crates" + ".io")
MACHINE_PATHS = ("/" + "work/", "/" + "root/", "/" + "home/", "/Users" + "/", "file" + "://")


def named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def tree() -> Iterator[tuple[str, str]]:
    """Name and text of every text file of the repository, as far as it is not built or hidden (but for .ci)."""
    for file in sorted(ROOT.rglob("*")):
        parts = file.relative_to(ROOT).parts
        hidden = parts[0].startswith(".") and parts[0] not in {".ci", ".dockerignore", ".gitignore"}
        if file.is_file() and not hidden and not BUILT & set(parts):
            try:
                yield named(file), file.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def imports(file: Path) -> set[str]:
    """Dotted names of the modules that a file imports, at its top or anywhere inside."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def packages(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(file)}


def document(name: str) -> str:
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"{name} is not written yet")
    return path.read_text("utf-8")


def metric_names() -> set[str]:
    path = ROOT / "service" / "metrics.py"
    if not path.is_file():
        pytest.skip("service/metrics.py is not written yet")
    return set(re.findall(r"""["'](limen_[a-z_]+)["']""", path.read_text("utf-8")))


@pytest.mark.parametrize("file", PROGRAM, ids=named)
def test_no_file_of_the_program_takes_everything(file: Path) -> None:
    lines = len(file.read_text("utf-8").splitlines())
    assert lines <= LINES_MAX, f"{named(file)} has {lines} lines: split it by responsibility"
    assert file.stem not in NAMES_THAT_TAKE_EVERYTHING, f"{named(file)}: name it after what it is"


def test_torch_is_imported_only_where_models_are_trained_by_gradient() -> None:
    assert {named(file) for file in PROGRAM if "torch" in packages(file)} <= TORCH_ALLOWED


def test_nothing_outside_gradient_training_needs_torch_when_it_is_imported() -> None:
    """Who imports gradient.py at the top of a file imports torch as well."""
    modules = {name.removesuffix(".py").replace("/", ".") for name in TORCH_ALLOWED}
    for file in PROGRAM:
        top = ast.Module([node for node in ast.parse(file.read_text("utf-8")).body], [])
        names = {node.module for node in top.body if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in top.body if isinstance(node, ast.Import) for alias in node.names}
        assert named(file) in TORCH_ALLOWED or not names & modules, f"{named(file)} imports torch by way of {names}"


def test_models_never_import_the_service() -> None:
    assert [named(file) for file in PROGRAM if named(file).startswith("models/") and "service" in packages(file)] == []


def test_the_architecture_says_of_every_file_what_it_owns() -> None:
    """A folder of their own stands for the files in it."""
    section = document("ARCHITECTURE.md").split("\n## Where things are\n")[1].split("\n## ")[0]
    told = set()
    for cell in re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", cell)
        told |= {first, *(f"{first.split('/')[0]}/{name}" for name in others)}
    files = [named(file).split("/") for file in PROGRAM if not file.stem.startswith("__")]
    assert told == {"/".join(parts) if len(parts) == 2 else f"{parts[0]}/{parts[1]}/" for parts in files}


def test_nothing_is_ever_unpickled() -> None:
    for file in PROGRAM:
        assert not packages(file) & UNSAFE_MODULES, named(file)
        assert not re.search(r"allow_pickle\s*=\s*True|weights_only\s*=\s*False", file.read_text("utf-8")), named(file)


def test_pages_load_nothing_from_outside() -> None:
    """Plants have no internet."""
    for name, text in tree():
        if name.startswith("service/"):
            found = LOADED_FROM_OUTSIDE.search(text)
            assert not found, f"{name} loads from outside: {found[0]}"


def test_the_framework_serves_no_documentation_of_its_own() -> None:
    """FastAPI's own pages load their scripts from a content network."""
    for file in PROGRAM:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FastAPI":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                for page in ("docs_url", "redoc_url"):
                    assert isinstance(given.get(page), ast.Constant), f"{named(file)}: FastAPI() without {page}=None"


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    own = f"{ROOT}/"
    for name, text in tree():
        for word in (*MACHINE_PATHS, *REGISTRY_HOSTS, own):
            assert word not in text, f"{name} names {word}"


def test_lock_files_pin_by_hash_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for name, wanted in (
        ("requirements.lock", project["dependencies"]),
        ("requirements-dev.lock", project["dependencies"] + extras["dev"]),
    ):
        text = (ROOT / name).read_text("utf-8")
        pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n    --hash=sha256:", text, re.MULTILINE))
        requirements = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)
        assert len(pinned) == len(requirements), f"{name} holds something that is not pinned by hash"
        assert not re.search(r"://|^--|find-links", text, re.MULTILINE), f"{name} names an address"
        for requirement in map(Requirement, wanted):
            version = pinned.get(requirement.name.lower().replace("_", "-"), "0")
            assert requirement.specifier.contains(version), f"{name}: {requirement} is not met by {version}; make lock"
        assert "torch" not in pinned


def test_the_development_lock_agrees_with_the_one_for_serving() -> None:
    pins = [
        dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0].items() <= pins[1].items()


def test_rules_and_dashboard_use_only_metrics_that_there_are() -> None:
    known = metric_names()
    suffixes = ("_bucket", "_count", "_sum")
    for name in ("deploy/rules.yml", "deploy/grafana/dashboards/limen.json"):
        used = set(re.findall(r"\blimen_[a-z_]+", (ROOT / name).read_text("utf-8")))
        plain = {next((n.removesuffix(s) for s in suffixes if n.endswith(s)), n) for n in used}
        assert plain <= known, f"{name} uses {sorted(plain - known)}"


def test_the_dashboard_has_a_sentence_and_a_place_for_every_panel() -> None:
    panels = json.loads((ROOT / "deploy/grafana/dashboards/limen.json").read_text("utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] == "row" or panel["description"], panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


def test_the_readme_names_every_metric() -> None:
    text = document("README.md")
    assert [name for name in sorted(metric_names()) if name not in text] == []


def test_the_readme_names_every_setting() -> None:
    from service.settings import table

    text = document("README.md")
    assert [variable for variable, *_ in table() if variable not in text] == []


def test_the_readme_names_every_command() -> None:
    import typer

    from service.cli import app

    text = document("README.md")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if not re.search(rf"\blimen {name}\b", text)] == []


def test_the_readme_names_every_error() -> None:
    from service.errors import tree as problems

    text = document("README.md")
    assert [problem.kind for problem in problems() if f"`{problem.kind}`" not in text] == []


def test_the_readme_names_every_status_and_reason_of_a_reading() -> None:
    from service.status import REASON_NAMES, STATUS_NAMES

    text = document("README.md")
    assert [name for name in (*STATUS_NAMES, *REASON_NAMES) if name and f"`{name}`" not in text] == []


def test_the_changelog_names_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in document("CHANGELOG.md")
