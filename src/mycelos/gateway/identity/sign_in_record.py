"""The ledger's entries about signing in. What is not recorded does not happen: a failed append refuses the sign-in."""

from __future__ import annotations

from mycelos.gateway.identity.principal import OWNER
from mycelos.gateway.recorder import Recorder
from mycelos.ledger.events import Event


class SignInRecord:
    """Says what happened, from where and by which way in; never a password, a code or a token."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def link_created(self) -> None:
        """The command line asked for a one-time link."""
        await self._write(Event.AUTH_LINK_CREATED, "", outcome="ok", method="command_line")

    async def signed_in(self, peer: str, method: str, session_id: str = "") -> None:
        """Somebody showed that they are the owner."""
        await self._write(Event.AUTH_LOGIN, session_id, outcome="ok", method=method, peer=peer)

    async def failed(self, peer: str, method: str, reason: str, attempts: int = 0) -> None:
        """Somebody failed to."""
        await self._write(
            Event.AUTH_LOGIN_FAILED, "", outcome="denied", reason=reason, method=method, peer=peer, attempts=attempts
        )

    async def locked_out(self, peer: str, attempts: int, seconds: float) -> None:
        """A client failed so often that it has to wait."""
        await self._write(
            Event.AUTH_LOCKED_OUT,
            "",
            outcome="denied",
            reason=f"waits {round(seconds)} s",
            method="basic",
            peer=peer,
            attempts=attempts,
        )

    async def signed_out(self, session_id: str) -> None:
        """A session was ended by its owner."""
        await self._write(Event.AUTH_LOGOUT, session_id, outcome="ok", method="session")

    async def _write(self, event: Event, subject: str, *, outcome: str, reason: str = "", **details: str | int) -> None:
        await self._recorder.fact(
            event,
            principal=OWNER if outcome == "ok" else "",
            subject=subject,
            outcome=outcome,
            reason=reason,
            details=details,
        )
