"""What schemathesis has to know of this service's OpenAPI document: how a body of `application/zip` is written."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/zip")
def as_it_is(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bytes as they are; anything else, which is no zip, as text."""
    return value if isinstance(value, bytes) else str(value).encode()
