"""S1: addresses that must not be reached, written in a URL or answered by a name server, through a real proxy."""

from __future__ import annotations

import http.client
import ipaddress
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Event
from mycelos.prove.name_server import NameServer, Record, RecordType, ask
from mycelos.prove.no_uplink import demand_no_uplink, run_without_uplink
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import ANSWER_SECONDS, Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Method
from mycelos.wire.operator import AddRule, SetWeb
from mycelos.wire.problems import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mycelos.prove.installation import Installation
    from mycelos.prove.name_server import Question
    from mycelos.prove.twin import Answer

REFUSED: Final = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/", "http://2130706433:{port}/",
    "http://0x7f000001:{port}/", "http://0177.0.0.1:{port}/", "http://[::1]:{port}/", "http://0.0.0.0:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "https://[fe80::1]/", "https://[fc00::1]/",
    "https://224.0.0.1/", "https://255.255.255.255/", "https://192.0.2.1/", "https://198.18.0.1/", "https://[2001:db8::1]/",
    "http://127.0.0.1:{opened}@10.0.0.1/", "http://metadata.google.internal/", "https://\u2460\u2461\u2466.0.0.1/",
)  # fmt: skip
"""``port`` is a listener that was not opened, ``opened`` the one that was."""


UNREACHABLE: Final = "2d00::1"
"""Public by every table, and nobody's: IANA keeps 2d00::/8 back. It is dialled where no packet can leave."""


def _name(label: str, *addresses: str, alias: str = "") -> tuple[str, tuple[Record, ...]]:
    """A name below a reserved domain (RFC 2606) with its records."""
    name = f"{label}.example.com"
    records = [Record(name, RecordType.CNAME, alias)] if alias else []
    for address in addresses:
        record_type = RecordType.AAAA if ":" in address else RecordType.A
        records.append(Record(alias or name, record_type, address))
    return name, tuple(records)


NAMES: Final = (
    _name("loopback", "127.0.0.1"),
    _name("loopback6", "::1"),
    _name("mixed", UNREACHABLE, "127.0.0.1"),
    _name("mixed6", UNREACHABLE, "::1"),
    _name("mapped", UNREACHABLE, "::ffff:127.0.0.1"),
    _name("alias", "127.0.0.1", alias="inner.example.com"),
    _name("alias-mixed", "127.0.0.1", UNREACHABLE, alias="inner.example.com"),
    _name("private", "10.0.0.1"),
    _name("metadata", "169.254.169.254"),
)
"""Names whose answers hold an address that must not be reached."""

REBINDING: Final = "rebinding.example.com"
NAIVE: Final = "naive.example.com"
"""Public at the first question, loopback at each later one."""


def probe_egress(_installation: Installation) -> list[Finding]:
    """S1: `attack`, where no packet can leave this machine."""
    return run_without_uplink(__name__)


def attack() -> list[Finding]:
    """Each address of `REFUSED` and each name of `NAMES`, with the rules wide open, then the changing one."""
    demand_no_uplink(UNREACHABLE)
    with (
        Upstream() as opened,
        Upstream() as private,
        NameServer(_answers()) as server,
        Twin(opened.port, dns=server.port) as twin,
    ):
        twin.operator.egress_rules(SetWeb(enabled=True))
        # Even a rule that names the private listener does not open it.
        for host, port in (
            ("127.0.0.1", opened.port),
            *((host, private.port) for host in ("127.0.0.1", REBINDING, *(name for name, _ in NAMES))),
        ):
            twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host=host, port=port))
        control = twin.use(f"http://127.0.0.1:{opened.port}/control", with_credential=False)
        if control.status != 200 or len(opened.requests) != 1:
            message = "the twin does not reach its opened host, so refusals would show nothing"
            raise CannotShowError(message)
        findings = [*_addresses(twin, opened, private), *_names(twin, server, private)]
        reached = len(private.requests) + len(opened.requests) - 1
        findings.append(Finding("arrive at a listener of this machine", f"{reached} arrived", held=reached == 0))
        findings.append(_rebound(twin, server, private))
        later = twin.use(f"http://{REBINDING}:{private.port}/", with_credential=False)
        findings.append(
            Finding("be loopback a request later", f"status {later.status} {later.code}", held=_is_blocked(later))
        )
        blocked = sum(entry.event == Event.PROXY_SSRF_BLOCKED for entry in twin.entries())
        findings.append(Finding("leave no trace", f"{blocked} are on record as proxy.ssrf_blocked", held=blocked > 0))
        return findings


def _addresses(twin: Twin, opened: Upstream, private: Upstream) -> Iterator[Finding]:
    for form in REFUSED:
        answer = twin.use(form.format(port=private.port, opened=opened.port), with_credential=False)
        shown = form.format(port="PRIVATE", opened="OPENED").encode("ascii", "backslashreplace").decode()
        yield Finding(f"reach {shown}", f"status {answer.status} {answer.code}", held=_is_blocked(answer))


def _names(twin: Twin, server: NameServer, private: Upstream) -> Iterator[Finding]:
    for name, records in NAMES:
        answer = twin.use(f"http://{name}:{private.port}/", with_credential=False)
        kind = "an alias of a name" if any(record.type is RecordType.CNAME for record in records) else "a name"
        addresses = " and ".join(record.value for record in records if record.type is not RecordType.CNAME)
        # A refusal before the server was asked would show nothing of its answers.
        yield Finding(f"reach {kind} with {addresses}", f"status {answer.status} {answer.code}",
                      held=_is_blocked(answer) and server.asked[name] > 0)  # fmt: skip


def _rebound(twin: Twin, server: NameServer, private: Upstream) -> Finding:
    """Public when it is checked; whoever asks again to connect is led to the private listener."""
    _demand_naive_client_is_led(server, private)
    before = len(private.requests)
    answer = twin.use(f"http://{REBINDING}:{private.port}/", with_credential=False)
    if _is_blocked(answer) or not server.asked[REBINDING]:
        message = "the twin did not take the first answer for public, so nothing is shown of a second one"
        raise CannotShowError(message)
    reached = len(private.requests) - before
    happened = f"status {answer.status} {answer.code}, {reached} arrived; a naive client did"
    return Finding("be public when checked and loopback when dialled", happened,
                   held=answer.status >= 400 and reached == 0)  # fmt: skip


def _is_blocked(answer: Answer) -> bool:
    return answer.code == ProblemCode.SSRF_BLOCKED


def _answers() -> dict[Question, tuple[tuple[Record, ...], ...]]:
    answers: dict[Question, tuple[tuple[Record, ...], ...]] = {}
    for name, records in NAMES:
        for asked in (RecordType.A, RecordType.AAAA):
            answers[name, asked] = (tuple(record for record in records if record.type in {asked, RecordType.CNAME}),)
    for name in (REBINDING, NAIVE):
        answers[name, RecordType.AAAA] = ((Record(name, RecordType.AAAA, UNREACHABLE),), ())
        answers[name, RecordType.A] = ((), (Record(name, RecordType.A, "127.0.0.1"),))
    return answers


def _demand_naive_client_is_led(server: NameServer, private: Upstream) -> None:
    """The control: asks, checks, asks again, connects; and so arrives where it must not."""
    before = len(private.requests)
    checked = ask(server.port, NAIVE)
    dialled = ask(server.port, NAIVE)
    if checked and all(ipaddress.ip_address(address).is_global for address in checked) and dialled:
        connection = http.client.HTTPConnection(dialled[0], private.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/", headers={"Host": NAIVE})
            connection.getresponse().read()
        finally:
            connection.close()
    if len(private.requests) == before:
        message = "a naive client is not led to the private listener, so nothing is shown of one that is not"
        raise CannotShowError(message)
