"""What the pipeline needs of the rest of the proxy, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from mycelos.ledger.events import Event
    from mycelos.proxy.egress.approval_check import Asked, Held
    from mycelos.proxy.egress.rules import EgressRule
    from mycelos.proxy.ledger.recorder import Receipt
    from mycelos.proxy.vault.hazmat import Secret
    from mycelos.proxy.vault.records import Credential
    from mycelos.wire.operator import WebAnswer


class VaultPort(Protocol):
    """Finds credentials and opens them for one use. Each method may refuse with `vault_unavailable`."""

    def find(self, service: str) -> Credential | None:
        """The credential of a service."""
        ...

    def open_secret(self, credential: Credential) -> AbstractContextManager[Secret]:
        """Its plaintext, inside the block."""
        ...

    def secrets_for_host(self, host: str) -> AbstractContextManager[Sequence[Secret]]:
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


class CleanPort(Protocol):
    """Texts by name, each stored secret in them replaced, and whether there was one."""

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts."""
        ...

    @property
    def held(self) -> bool:
        """Whether one of them held a secret."""
        ...


class SecretsPort(Protocol):
    """Takes stored secrets out of texts that go on record."""

    async def clean(self, texts: Mapping[str, str], *, counted: bool) -> CleanPort:
        """Replace them; may refuse with `rate_limited` where the texts are counted, or with `vault_unavailable`."""
        ...


class LockdownPort(Protocol):
    """The operator's switch that stops all egress."""

    def refuse(self) -> None:
        """Refuse with `locked_down` while it is set."""
        ...


class ApprovalsPort(Protocol):
    """Requests that a person is asked about."""

    def find(self, approval: str) -> Held | None:
        """What is known under an id that a caller gave."""
        ...

    def same(self, asked: Asked) -> Held | None:
        """The one of this very request that waits or is approved already."""
        ...

    def hold(self, asked: Asked) -> Held:
        """Keep a request for a person to decide; may refuse with `rate_limited`."""
        ...

    def take_back(self, held: Held) -> None:
        """Forget a request that could not be put on record."""
        ...

    def spend(self, approval: Held) -> None:
        """Use an approval up; refuses what is not approved and unused."""
        ...


class RulesPort(Protocol):
    """Egress rules for requests without a credential."""

    @property
    def web(self) -> WebAnswer:
        """Whether the operator lets agents read public web pages, or was not asked yet."""
        ...

    def match(self, method: str, scheme: str, host: str, port: int) -> EgressRule | None:
        """The rule that allows a request."""
        ...
