"""What the pipeline needs of the rest of the proxy, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from mycelos.ledger.events import Event
    from mycelos.proxy.egress.rules import EgressRule
    from mycelos.proxy.ledger.recorder import Receipt
    from mycelos.proxy.vault.hazmat import Secret
    from mycelos.proxy.vault.records import Credential


class VaultPort(Protocol):
    """Finds credentials and opens them for one use. Each method may refuse with `vault_unavailable`."""

    def find(self, service: str) -> Credential | None:
        """The credential of a service."""
        ...

    def open_secret(self, credential: Credential) -> AbstractContextManager[Secret]:
        """Its plaintext, inside the block."""
        ...

    def secrets_for_host(self, host: str, port: int) -> AbstractContextManager[Sequence[Secret]]:
        """The plaintext of every credential bound to a host, inside the block."""
        ...

    def touch(self, credential: Credential) -> None:
        """Note its use."""
        ...


class RecorderPort(Protocol):
    """Puts on record. Each method may refuse with `audit_unavailable`."""

    async def fact(
        self, event: Event, *, run: str, agent: str, outcome: str, reason: str, details: Mapping[str, Any]
    ) -> Receipt:
        """Something has happened."""
        ...

    async def intent(self, event: Event, *, run: str, agent: str, subject: str, details: Mapping[str, Any]) -> Receipt:
        """Something is about to happen: durable when it returns."""
        ...

    def outcome(
        self, intent: Receipt, *, outcome: str, reason: str, details: Mapping[str, Any]
    ) -> asyncio.Future[Receipt]:
        """What came of it."""
        ...


class RulesPort(Protocol):
    """Egress rules for requests without a credential."""

    def match(self, method: str, scheme: str, host: str, port: int) -> EgressRule | None:
        """The rule that allows a request."""
        ...
