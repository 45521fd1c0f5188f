"""What a request is told that no route answers as it is: the address that was probably meant, the methods and the query
parameters that there are."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.routing import Match
from starlette.types import Scope

from service.errors import Invalid, plain, shown

VERSIONED = "/v1/"  # addresses that read their parameters; probes and pages may be given any


def no_address(app: FastAPI, scope: Scope) -> str:
    """A sentence on an address that there is not."""
    path = scope["path"]
    told = f"{scope['method']} {shown(path)} is no address of this service"
    meant = path.rstrip("/")
    if meant != path and methods(app, {**scope, "path": meant}):
        return f"{told}; did you mean {shown(meant)}, without the slash? See /docs"
    return f"{told}; see /docs"


def wrong_method(app: FastAPI, scope: Scope) -> tuple[str, str]:
    """A sentence on a method that an address does not take, and those that it takes, as the header Allow has them."""
    allowed = ", ".join(methods(app, scope))
    return f"{scope['method']} {shown(scope['path'])} is not possible; expected {allowed}; see /docs", allowed


def methods(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that an address takes; none where it is no address."""
    found: set[str] = set()
    for route in app.router.routes:
        match, _ = route.matches(scope)
        if match != Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found)


async def check_parameters(request: Request) -> None:
    """Invalid where a query parameter is none of the address: it would have no effect, and nobody would notice.
    Asynchronous, or it would go through a thread for every request."""
    if not request.url.path.startswith(VERSIONED):
        return
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            expected = f"expected {', '.join(known)}" if known else "this address takes none"
            raise Invalid(f"query parameter {shown(name)} is not known here; {expected}", field=plain(name))
