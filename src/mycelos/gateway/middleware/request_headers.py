"""Reading single request headers from an ASGI scope without surprises."""

from __future__ import annotations

from starlette.types import Scope

from mycelos.wire.problems import ProblemCode, Refusal


def single_header(scope: Scope, name: bytes) -> str | None:
    """The value of ``name`` (lower case), or None where it is absent.

    Raises:
        Refusal: `invalid_request`, the header came more than once, so that two readers could differ.
    """
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            f"The header {name.decode('ascii')} came more than once.",
            "Send it once.",
        )
    return values[0].decode("latin-1") if values else None
