"""What a launcher says on its status descriptor: one line, that it is armed or why it refused."""

from __future__ import annotations

from typing import Final

import msgspec

from mycelos.sandbox.errors import Layer, SandboxRefused

ARMED: Final = b'"armed"\n'
LONGEST_LINE: Final = 4096


class _Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layer: Layer
    cause: str
    fix: str


def encode_refusal(refusal: SandboxRefused) -> bytes:
    """The line of a refusal."""
    line = msgspec.json.encode(_Refusal(refusal.layer, refusal.cause[:1024], refusal.fix[:1024]))
    return line + b"\n"


def check_status(line: bytes, died: SandboxRefused) -> None:
    """Return if ``line`` says that the process is armed.

    Raises:
        SandboxRefused: the launcher's own refusal, or ``died`` where it said nothing that can be understood.
    """
    if line == ARMED:
        return
    try:
        refusal = msgspec.json.decode(line, type=_Refusal)
    except msgspec.DecodeError:
        raise died from None
    raise SandboxRefused(refusal.layer, refusal.cause, refusal.fix)
