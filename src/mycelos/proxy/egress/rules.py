"""Egress rules: where a request without a credential may go. Exact method, scheme, host and port; none at first.

Kept in memory and in the vault's database, where each row carries a MAC: a row that was altered outside Mycelos
allows nothing. Changed by the operator's door alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mycelos.proxy.changes import change_one, remove_all
from mycelos.proxy.database import Database
from mycelos.proxy.egress.url import UrlError, UrlPart, parse_url
from mycelos.proxy.operator_settings import AlteredSettingError, OperatorSettings, Setting
from mycelos.proxy.tables import EGRESS_RULES
from mycelos.proxy.vault.signed_rows import SignedRows
from mycelos.proxy.vault.slots import Clock, new_identifier, system_clock, timestamp
from mycelos.wire.binding import Method
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.operator import ANY_HOST, WebAnswer
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.proxy.vault.current_keys import CurrentKeys

Key = tuple[str, str, str, int]
"""Method, scheme, host and port of a rule."""

RULES_LIMIT: Final = 1000
_WEB: Final = tuple((method, *origin) for origin in (("https", 443), ("http", 80)) for method in ("GET", "HEAD"))
"""What `web on` allows at every public host: method, scheme, port."""


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
        keys: CurrentKeys,
        clock: Clock = system_clock,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._settings = OperatorSettings(keys, clock)
        self._rules: dict[Key, EgressRule] = {}
        self._is_web_answered = False

    @classmethod
    def open(cls, database: Database, keys: CurrentKeys) -> EgressRules:
        """The rules in ``database``; rows whose MAC does not hold are left out.

        Raises:
            Refusal: `vault_unavailable`.
        """
        rules = cls(database, keys)
        rules._rules, rules._is_web_answered = database.run_now(rules._read)
        return rules

    @property
    def web(self) -> WebAnswer:
        """Whether agents may read public web pages; off until it is answered."""
        if any(rule.host == ANY_HOST for rule in self._rules.values()):
            return WebAnswer.ON
        return WebAnswer.OFF if self._is_web_answered else WebAnswer.UNANSWERED

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
        """Answer whether GET and HEAD may go to every public host: over https at port 443, over http at port 80.

        Raises:
            Refusal: `conflict` at the limit, `vault_unavailable`.
        """
        named = {key: rule for key, rule in self._rules.items() if rule.host != ANY_HOST}
        if not enabled:
            # Out of memory first: if the disk then refuses, nothing is allowed until the next start.
            self._rules = named
        wanted = {}
        if enabled:
            keys = [(method, scheme, ANY_HOST, port) for method, scheme, port in _WEB]
            wanted = {key: self._rules.get(key) or self._make(*key) for key in keys}
            self._demand_room(len(named) + len(wanted))

        def work(connection: sa.Connection) -> None:
            remove_all(connection, EGRESS_RULES, EGRESS_RULES.c.host == ANY_HOST)
            for rule in wanted.values():
                self._write(connection, rule)
            value = WebAnswer.ON if enabled else WebAnswer.OFF
            self._settings.write(connection, Setting.WEB, value.value)

        await self._database.run(work)
        self._is_web_answered = True
        others = {key: rule for key, rule in self._rules.items() if rule.host != ANY_HOST}
        self._rules = {**others, **wanted}

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
            lambda connection: change_one(connection, EGRESS_RULES.delete().where(EGRESS_RULES.c.id == rule_id))
        )
        return rule

    async def _insert(self, method: Method, scheme: str, host: str, port: int) -> EgressRule:
        known = self._rules.get((method.value, scheme, host, port))
        if known is not None:
            return known
        self._demand_room(len(self._rules) + 1)
        rule = self._make(method.value, scheme, host, port)
        await self._database.run(lambda connection: self._write(connection, rule))
        self._rules = {**self._rules, (rule.method, scheme, host, port): rule}
        return rule

    def _demand_room(self, wanted: int) -> None:
        if wanted > RULES_LIMIT:
            raise Refusal(
                ProblemCode.CONFLICT, f"There are {RULES_LIMIT} egress rules already.", "Remove some that are not used."
            )

    def _make(self, method: str, scheme: str, host: str, port: int) -> EgressRule:
        return EgressRule(
            id=new_identifier(Kind.EGRESS_RULE, self._clock, self._randomness),
            method=method,
            scheme=scheme,
            host=host,
            port=port,
            created_at=timestamp(self._clock()),
        )

    def _write(self, connection: sa.Connection, rule: EgressRule) -> None:
        columns = _columns(rule, self._keys.kid)
        mac = self._keys.row_mac(EGRESS_RULES.name, columns)
        change_one(connection, EGRESS_RULES.insert().values(**columns, row_mac=mac))

    def _read(self, connection: sa.Connection) -> tuple[dict[Key, EgressRule], bool]:
        found: dict[Key, EgressRule] = {}
        answer = self._web_answer(connection)
        for row in connection.execute(sa.select(EGRESS_RULES)):
            rule = _rule_of(row)
            if row.kid == self._keys.kid and self._keys.row_holds(EGRESS_RULES.name, _of_row(row), row.row_mac):
                found[rule.method, rule.scheme, rule.host, rule.port] = rule
        if answer is WebAnswer.OFF:
            found = {key: rule for key, rule in found.items() if rule.host != ANY_HOST}
        return found, answer is not WebAnswer.UNANSWERED

    def _web_answer(self, connection: sa.Connection) -> WebAnswer:
        """What was answered; off where the answer was altered outside."""
        try:
            return WebAnswer(self._settings.read(connection, Setting.WEB) or WebAnswer.UNANSWERED)
        except (AlteredSettingError, ValueError):
            return WebAnswer.OFF


def _rule_of(row: Any) -> EgressRule:
    return EgressRule(row.id, row.method, row.scheme, row.host, row.port, row.created_at)


def _of_row(row: Any) -> dict[str, str | int | None]:
    return {**_columns(_rule_of(row), row.kid), "tenant_id": row.tenant_id}


SIGNED_RULES: Final = SignedRows(EGRESS_RULES, _of_row)
"""What a rotation carries over."""


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
