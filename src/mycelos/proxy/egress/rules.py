"""Egress rules: where a request without a credential may go. Exact method, scheme, host and port; none at first.

Kept in memory and in the vault's database, where each row carries a MAC: a row that was altered outside Mycelos
allows nothing. Changed by the operator's door alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mycelos.proxy.database import EGRESS_RULES, Database
from mycelos.proxy.egress.url import UrlError, UrlPart, parse_url
from mycelos.proxy.vault.slots import Clock, new_identifier, system_clock, timestamp
from mycelos.wire.binding import Method
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.operator import ANY_HOST
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.proxy.vault.envelope import SlotKeys

RULES_LIMIT: Final = 1000
_WEB: Final = (Method.GET, Method.HEAD)


@dataclass(frozen=True)
class EgressRule:
    """One rule. ``host`` is a canonical host, or `ANY_HOST` for every public one."""

    id: str
    method: str
    scheme: str
    host: str
    port: int
    created_at: str


class EgressRules:
    """The rules of one installation."""

    def __init__(
        self,
        database: Database,
        keys: SlotKeys,
        clock: Clock = system_clock,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._rules: dict[tuple[str, str, str, int], EgressRule] = {}

    @classmethod
    def open(cls, database: Database, keys: SlotKeys) -> EgressRules:
        """The rules in ``database``; rows whose MAC does not hold are left out.

        Raises:
            Refusal: `vault_unavailable`.
        """
        rules = cls(database, keys)
        rules._rules = database.run_now(rules._read)
        return rules

    def match(self, method: str, scheme: str, host: str, port: int) -> EgressRule | None:
        """The rule that allows this request, or None. The rule for every host is looked at last."""
        return self._rules.get((method, scheme, host, port)) or self._rules.get((method, scheme, ANY_HOST, port))

    def names_port(self, host: str, port: int) -> bool:
        """Whether a rule names this port of this host."""
        return any(key[2:] == (host, port) for key in self._rules)

    def list(self) -> list[EgressRule]:
        """Every rule, in the order in which they were made."""
        return sorted(self._rules.values(), key=lambda rule: rule.id)

    async def add(self, method: Method, scheme: str, host: str, port: int) -> EgressRule:
        """Allow one method at one exact host and port. A rule that exists is given back as it is.

        Raises:
            Refusal: `invalid_request`, `conflict` at the limit, `vault_unavailable`.
        """
        return await self._insert(method, scheme, _canonical_host(scheme, host, port), port)

    async def set_web(self, *, enabled: bool) -> None:
        """Allow, or no longer allow, GET and HEAD over https from every public host.

        Raises:
            Refusal: `vault_unavailable`.
        """
        for method in _WEB:
            if enabled:
                await self._insert(method, "https", ANY_HOST, 443)
            elif (rule := self._rules.get((method.value, "https", ANY_HOST, 443))) is not None:
                await self.remove(rule.id)

    async def remove(self, rule_id: str) -> EgressRule:
        """Take a rule away; the next request is decided without it.

        Raises:
            Refusal: `not_found`, `vault_unavailable`.
        """
        rule = next((rule for rule in self._rules.values() if rule.id == rule_id), None)
        if rule is None:
            raise Refusal(
                ProblemCode.NOT_FOUND, "There is no egress rule with this id.", "See them with: mycelos egress list"
            )
        # Out of memory first: if the disk then refuses, the rule allows nothing until the next start.
        self._rules = {key: kept for key, kept in self._rules.items() if kept.id != rule_id}
        await self._database.run(
            lambda connection: connection.execute(EGRESS_RULES.delete().where(EGRESS_RULES.c.id == rule_id))
        )
        return rule

    async def _insert(self, method: Method, scheme: str, host: str, port: int) -> EgressRule:
        known = self._rules.get((method.value, scheme, host, port))
        if known is not None:
            return known
        if len(self._rules) >= RULES_LIMIT:
            raise Refusal(
                ProblemCode.CONFLICT, f"There are {RULES_LIMIT} egress rules already.", "Remove some that are not used."
            )
        rule = EgressRule(
            id=new_identifier(Kind.EGRESS_RULE, self._clock, self._randomness),
            method=method.value,
            scheme=scheme,
            host=host,
            port=port,
            created_at=timestamp(self._clock()),
        )
        columns = _columns(rule, self._keys.kid)
        mac = self._keys.row_mac(EGRESS_RULES.name, columns)

        def work(connection: sa.Connection) -> None:
            connection.execute(EGRESS_RULES.insert().values(**columns, row_mac=mac))

        await self._database.run(work)
        self._rules = {**self._rules, (rule.method, scheme, host, port): rule}
        return rule

    def _read(self, connection: sa.Connection) -> dict[tuple[str, str, str, int], EgressRule]:
        found: dict[tuple[str, str, str, int], EgressRule] = {}
        for row in connection.execute(sa.select(EGRESS_RULES)):
            rule = EgressRule(row.id, row.method, row.scheme, row.host, row.port, row.created_at)
            columns = {**_columns(rule, row.kid), "tenant_id": row.tenant_id}
            if row.kid == self._keys.kid and self._keys.row_holds(EGRESS_RULES.name, columns, row.row_mac):
                found[rule.method, rule.scheme, rule.host, rule.port] = rule
        return found


def _columns(rule: EgressRule, kid: str) -> dict[str, str | int | None]:
    return {
        "id": rule.id,
        "tenant_id": DEFAULT_TENANT,
        "method": rule.method,
        "scheme": rule.scheme,
        "host": rule.host,
        "port": rule.port,
        "created_at": rule.created_at,
        "kid": kid,
    }


def _canonical_host(scheme: str, host: str, port: int) -> str:
    written = f"[{host}]" if ":" in host else host
    try:
        if not host or any(character in host for character in "/?#[]"):
            raise UrlError(UrlPart.HOST, "a host alone")  # noqa: TRY301 - one refusal for every fault
        url = parse_url(f"{scheme}://{written}:{port}/")
    except UrlError as error:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            f"The rule's host cannot be used: {error}.",
            "Name one exact host, as in: mycelos egress allow https://api.example.com",
        ) from None
    return url.host
