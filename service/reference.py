"""The page at /docs: every route and every error, written from the OpenAPI document and the tree of errors.

It is one file without scripts and loads nothing: plants have no internet. `type` of a problem leads to its paragraph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from service.errors import tree

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
        "<code>application/problem+json</code>; they are listed <a href='#errors'>below</a>.</p>",
        "<h2>Routes</h2>",
        *_routes(document),
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
            yield f"<p><b>{escape(operation.get('summary', ''))}.</b> {escape(operation.get('description', ''))}</p>"
            yield from _parameters(operation.get("parameters", []))
            yield from _body(operation.get("requestBody"))
            yield from _responses(operation["responses"])


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "<table><tr><th>Parameter<th>In<th>Type<th>"
        for one in parameters:
            about = escape(one.get("description", ""))
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{_type(one['schema'])}<td>{about}"
        yield "</table>"


def _body(body: dict[str, Any] | None) -> Iterator[str]:
    for kind, content in (body or {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code>, {_type(content['schema'])}</p>"
        if "example" in content:
            yield f"<pre>{escape(json.dumps(content['example'], indent=1))}</pre>"


def _responses(responses: dict[str, Any]) -> Iterator[str]:
    yield "<p>"
    for status, response in responses.items():
        kinds = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
        yield f"<code>{escape(str(status))}</code> {' '.join(kinds) or escape(response['description'])} "
    yield "</p>"


def _errors() -> Iterator[str]:
    yield "<table><tr><th>Status<th>Type<th>Title"
    for kind in tree():
        yield f"<tr id='{kind.kind}'><td>{kind.status}<td><code>/docs#{kind.kind}</code><td>{escape(kind.title)}"
    yield "</table>"


def _types(document: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        yield f"<h3 id='type-{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p><table>"
        for field, found in schema.get("properties", {}).items():
            yield f"<tr><td><code>{escape(field)}</code><td>{_type(found)}"
        yield "</table>"


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
