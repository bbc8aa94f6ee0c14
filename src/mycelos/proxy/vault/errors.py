"""The one error of the vault and its database outside of a request."""

from __future__ import annotations

from mycelos.wire.problems import joined


class VaultError(Exception):
    """The vault cannot be used. ``detail`` says what is wrong, ``next_step`` what to do; no secret in either."""

    def __init__(self, *, detail: str, next_step: str) -> None:
        super().__init__(joined(detail, next_step))
        self.detail = detail
        self.next_step = next_step
