"""The gateway's question whether a person's text holds a stored secret: `POST /secret/check`."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

MESSAGE_LIMIT: Final = 32_000
"""Characters of a person's message, at most."""


class SecretCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The question. A message is checked before it is kept anywhere."""

    text: Annotated[str, msgspec.Meta(max_length=MESSAGE_LIMIT)]

    def __repr__(self) -> str:
        """Without the text, which may hold a secret."""
        return "SecretCheck()"


class SecretCheckAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Yes or no: neither which secret, nor where."""

    is_held: bool
