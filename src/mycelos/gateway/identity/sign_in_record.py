"""The ledger's entries about signing in. What is not recorded does not happen: a failed append refuses the sign-in."""

from __future__ import annotations

from typing import Final

from mycelos.gateway.identity.principal import OWNER
from mycelos.gateway.identity.sessions import NewSession, Sessions
from mycelos.gateway.recorder import Recorder
from mycelos.ledger.events import Event

IS_RECORDED: Final = "mycelos_is_recorded"
"""In a request's state: that it is refused stands in the ledger already."""


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

    async def open_session(self, sessions: Sessions, peer: str, method: str) -> NewSession:
        """A session that is on record: a sign-in that cannot be recorded leaves none behind; its refusal goes on."""
        session = await sessions.open(method)
        is_recorded = False
        try:
            await self.signed_in(peer, method, session.session_id)
            is_recorded = True
        finally:
            if not is_recorded:
                await sessions.end(session.session_id)
        return session

    async def refused(self, peer: str, code: str, *, method: str, path: str, attempts: int) -> None:
        """A request was refused before anything was done. ``path`` is the route's, with names for what varies."""
        await self._write(
            Event.AUTH_REFUSED,
            "",
            outcome="refused",
            reason=code,
            method=method,
            path=path,
            peer=peer,
            attempts=attempts,
        )

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
