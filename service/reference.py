"""The page at /docs: every route and every error, written from the OpenAPI document and the tree of errors.

It is one file without scripts and loads nothing: plants have no internet. `type` of a problem leads to its paragraph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from service.errors import tree
from service.vocabulary import FIELDS, TYPES, WORDS

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; } h3 { margin-bottom: .25rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; padding: .1em .3em; }
pre { padding: .75rem; overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #eaeef2; }
.method { font-weight: 700; } :target { background: #fff8c5; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; } code, pre { background: #161b22; } :target { background: #3b2e00; }
  td, th, h2 { border-color: #30363d; }
}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>",
        f"<p>{escape(info.get('description', ''))}</p>",
        "<p>For programs: <a href='/openapi.json'>openapi.json</a>. Errors are "
        "<code>application/problem+json</code>; they are listed <a href='#errors'>below</a>, "
        "as are the <a href='#words'>words</a> of answers.</p>",
        "<h2>Routes</h2>",
        *_routes(document),
        "<h2 id=words>Words</h2>",
        *_words(),
        "<h2 id=errors>Errors</h2>",
        *_errors(),
        "<h2>Types</h2>",
        *_types(document),
        "</html>",
    ]
    return "\n".join(parts)


def _routes(document: dict[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h3 id='{escape(operation['operationId'])}'>"
            yield f"<span class=method>{method.upper()}</span> <code>{escape(path)}</code></h3>"
            yield f"<p><b>{escape(operation.get('summary', ''))}.</b> {prose(operation.get('description', ''))}</p>"
            yield from _parameters(operation.get("parameters", []))
            yield from _body(operation.get("requestBody"))
            yield from _responses(operation["responses"])


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "<table><tr><th>Parameter<th>In<th>Type<th>Default<th>"
        for one in parameters:
            schema, about = one["schema"], prose(one.get("description", ""))
            kind = _type(schema) + (f", {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else "")
            default = escape(str(schema.get("default", "")))
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{kind}<td>{default}<td>{about}"
        yield "</table>"


def _body(body: dict[str, Any] | None) -> Iterator[str]:
    for kind, content in (body or {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code>, {_type(content['schema'])}</p>"
        yield from _examples(content)


def _examples(content: dict[str, Any]) -> Iterator[str]:
    for name, example in content.get("examples", {}).items():
        yield f"<p>Example: {escape(name)}</p><pre>{escape(json.dumps(example['value'], indent=1))}</pre>"


def _responses(responses: dict[str, Any]) -> Iterator[str]:
    yield "<p>"
    for status, response in responses.items():
        kinds = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
        yield f"<code>{escape(str(status))}</code> {' '.join(kinds) or escape(response['description'])} "
    yield "</p>"
    for response in responses.values():
        for content in response.get("content", {}).values():
            yield from _examples(content)


def _words() -> Iterator[str]:
    for field, words in WORDS.items():
        yield f"<h3 id='words-{field}'><code>{field}</code></h3><p>{prose(FIELDS.get(field, ''))}</p><table>"
        for word, meaning in words.items():
            yield f"<tr><td><code>{escape(word)}</code><td>{prose(meaning)}"
        yield "</table>"
    yield "<h3>Numbers</h3><table>"
    for field in ("score", "p_value", "statistic", "contribution", "share", "opening"):
        yield f"<tr><td><code>{field}</code><td>{prose(FIELDS[field])}"
    yield "</table>"


def _errors() -> Iterator[str]:
    yield "<table><tr><th>Status<th>Type<th>Title"
    for kind in tree():
        yield f"<tr id='{kind.kind}'><td>{kind.status}<td><code>/docs#{kind.kind}</code><td>{escape(kind.title)}"
    yield "</table>"


def _types(document: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        yield f"<h3 id='type-{escape(name)}'>{escape(name)}</h3><p>{prose(schema.get('description', ''))}</p><table>"
        for field, found in schema.get("properties", {}).items():
            more = f"; see <a href='#words-{field}'>its words</a>" if field in WORDS and name in TYPES else ""
            about = prose(FIELDS.get(f"{name}.{field}", FIELDS.get(field, "")) if name in TYPES else "")
            yield f"<tr><td><code>{escape(field)}</code><td>{_type(found)}{more}<td>{about}"
        yield "</table>"


def prose(text: str) -> str:
    """A text with `code` in it as HTML.

    >>> prose("see `a<b`")
    'see <code>a&lt;b</code>'
    """
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _type(schema: dict[str, Any]) -> str:
    """A type in words, with links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f"<a href='#type-{name}'>{name}</a>"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "any")))
