"""S2: each way to have a credential put where it does not belong, and each form arriving exactly where it does."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.ledger.events import Event
from mycelos.prove import placeholder
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.placeholder import HOSTILE, Places, all_refused
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Basic, Header, Method, UrlPath
from mycelos.wire.egress import FORWARD_CREDENTIAL
from mycelos.wire.operator import AddRule, RotateCredential, StoreCredential
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mycelos.prove.installation import Installation
    from mycelos.wire.binding import Injection

_FORMS: Final[dict[str, Injection]] = {
    "basic": Basic("robot"),
    "header": Header("X-Key"),
    "path": UrlPath(),
    HOSTILE: UrlPath(),
}
"""Credentials beside the twin's own, which is a bearer."""

BAD_VALUES: Final = ("a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0b")
BAD_NAMES: Final = ("X-A\r\nX-Evil: 1", "X-A\nX-Evil", "X-A\0", "X-A: 1", "X A", "")
BAD_FORMS: Final = ("header:X-Key\r\nX-Evil: 1", "header:Host", "bearer\n", "bearer\0", "basic:robot\r\nX-Evil: 1", "")
FRAMING_NAMES: Final = ("X-Key\r\nX-Evil", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Cookie")
BAD_SECRETS: Final = ("a\r\nX-Evil: 1", "aaaa\nbbbb", "aaaa\rbbbb", "aaaa\0bbbb")

OWN_KEYS: Final = (
    "Authorization",
    "Cookie",
    "X-Api-Key",
    "Api-Key",
    "X-Auth-Token",
    "X-Key",
    "Private-Token",
    "Proxy-Authorization",
)
"""Headers by which a caller's own account would ride along."""

_MINE: Final = "mine-and-not-stored"


def probe_injection(_installation: Installation) -> list[Finding]:
    """S2: the forms as they must arrive, then every way to change them."""
    with Upstream() as bound, Upstream() as thief, Twin(bound.port, (thief.authority,)) as twin:
        places = Places(twin, bound, thief)
        for service, injection in _FORMS.items():
            binding = msgspec.structs.replace(twin.binding(bound.port), inject=injection)
            secret = f"{twin.canary}-{service}"
            twin.operator.store(StoreCredential(service=service, secret=secret, bindings=(binding,)))
        # Wide open for requests without a credential: what is refused below, is refused for its placeholder alone.
        for port in (bound.port, thief.port):
            for method in (Method.GET, Method.POST):
                twin.operator.egress_rules(AddRule(method=method, scheme="http", host="127.0.0.1", port=port))
        findings = [
            *_exactly(places),
            *_header_injection(places),
            *_bad_secrets(places),
            *placeholder.change_the_host(places),
            *placeholder.route_by_the_secret(places),
            *placeholder.send_it_raw(places),
            *_riding_along(places),
        ]
        elsewhere = sum(twin.canary in text for text in thief.requests)
        happened = f"{elsewhere} of {len(thief.requests)} requests held one"
        findings.append(Finding("see a credential arrive at another host", happened, held=elsewhere == 0))
        recorded = sum(entry.event == Event.PROXY_BINDING_VIOLATION for entry in twin.entries())
        findings.append(Finding("leave no trace", f"{recorded} are on record as proxy.binding_violation",
                                held=recorded > 0))  # fmt: skip
        return findings


def _exactly(places: Places) -> Iterator[Finding]:
    """The control: each form, as it must arrive."""
    canary = places.twin.canary
    pair = base64.b64encode(f"robot:{canary}-basic".encode()).decode()
    expected = {
        SERVICE: ("/bound/item", "GET /bound/item HTTP/1.1", f"authorization: Bearer {canary}"),
        "basic": ("/bound/item", "GET /bound/item HTTP/1.1", f"authorization: Basic {pair}"),
        "header": ("/bound/item", "GET /bound/item HTTP/1.1", f"x-key: {canary}-header"),
        "path": ("/bound/bot{credential}/item", f"GET /bound/bot{canary}-path/item HTTP/1.1", ""),
    }
    for service, (path, line, header) in expected.items():
        before = len(places.bound.requests)
        answer = places.twin.use(places.url(path), inject_credential=service)
        new = places.bound.requests[before:]
        if answer.status != 200 or len(new) != 1:
            message = f"the twin's credential {service} cannot be used, so refusals would show nothing"
            raise CannotShowError(message)
        request_line, *lines = new[0].splitlines()
        held = request_line == line and (not header or header in lines) and new[0].count(canary) == (service != "basic")
        happened = "it did, there alone" if held else "it arrived in another way"
        yield Finding(f"have the credential {service} arrive exactly as its form says", happened, held)


def _header_injection(places: Places) -> Iterator[Finding]:
    use, url = places.twin.use, places.url("/bound/item")
    for what, headers in (
        ("its value", [{"X-A": value} for value in BAD_VALUES]),
        ("its name", [{name: "1"} for name in BAD_NAMES]),
        ("the value of one that may ride along", [{"Accept": value} for value in BAD_VALUES]),
    ):
        yield all_refused(
            places, f"break a header by {what}, with a credential and without",
            (use(url, headers=one, with_credential=named) for one in headers for named in (True, False)),
        )  # fmt: skip
    forms = (
        use(url, inject_as=form, inject_credential=service) for form in BAD_FORMS for service in (SERVICE, "header")
    )
    yield all_refused(places, "break a header by inject_as", forms)


def _bad_secrets(places: Places) -> Iterator[Finding]:
    """At the operator's door, past the check that its client makes before it sends."""
    door = places.twin.operator
    refused = 0
    for secret in BAD_SECRETS:
        rotation = RotateCredential(service=HOSTILE, secret=places.twin.canary)
        msgspec.structs.force_setattr(rotation, "secret", secret)
        refused += _is_refused(door.rotate, rotation)
    yield Finding("store a secret with CR, LF or NUL", f"{refused} of {len(BAD_SECRETS)} refused",
                  held=refused == len(BAD_SECRETS))  # fmt: skip
    refused = 0
    for name in FRAMING_NAMES:
        injection = Header("X-Key")
        binding = msgspec.structs.replace(places.twin.binding(places.bound.port), inject=injection)
        msgspec.structs.force_setattr(injection, "name", name)
        message = StoreCredential(service="another", secret=places.twin.canary, bindings=(binding,))
        refused += _is_refused(door.store, message)
    yield Finding("bind a credential to a header that frames, routes or breaks",
                  f"{refused} of {len(FRAMING_NAMES)} refused", held=refused == len(FRAMING_NAMES))  # fmt: skip


def _riding_along(places: Places) -> Iterator[Finding]:
    """Keys of the caller's beside the injected one: it arrives, they do not."""
    twin = places.twin
    for service in (SERVICE, "header"):
        injected = f"Bearer {twin.canary}" if service == SERVICE else f"{twin.canary}-header"
        for form in ("/http", "/forward"):
            before = len(places.bound.requests)
            if form == "/http":
                mine = dict.fromkeys(OWN_KEYS, _MINE)
                answer = twin.use(places.url("/bound/item"), inject_credential=service, headers=mine)
            else:
                # A second Authorization would be refused at the door: the one that comes is the door's own bearer.
                others = [(name, _MINE) for name in OWN_KEYS if name != "Authorization"]
                target = f"/forward/http/{places.bound.authority}/bound/item"
                answer = twin.forward(target, [(FORWARD_CREDENTIAL, service), *others])
            new = places.bound.requests[before:]
            held = (
                answer.status == 200
                and len(new) == 1
                and new[0].count(injected) == 1
                and _MINE not in new[0]
                and twin.bearer not in new[0]
            )
            happened = (
                "the injected one arrived, alone" if held else f"status {answer.status}, and not the injected alone"
            )
            yield Finding(f"have {len(OWN_KEYS)} keys of the caller's ride along {form} with the credential {service}",
                          happened, held)  # fmt: skip
    before = len(places.thief.requests)
    twin.forward(f"/forward/http/{places.thief.authority}/item", [("Cookie", _MINE), ("X-Api-Key", _MINE)])
    new = places.thief.requests[before:]
    held = len(new) == 1 and _MINE not in new[0] and twin.bearer not in new[0]
    happened = "it went without them" if held else f"{len(new)} went, and not without them"
    yield Finding("send the gateway's bearer or the caller's keys where no credential is asked for", happened, held)


def _is_refused(call: Callable[[Any], Any], message: msgspec.Struct) -> bool:
    try:
        call(message)
    except Refusal:
        return True
    return False
