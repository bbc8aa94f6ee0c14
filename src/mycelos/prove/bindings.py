"""D3: what a gateway in hostile hands could do with its bearer to get at a credential, or to use it elsewhere."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.ledger.events import Event
from mycelos.prove.approvals import misuse_approvals
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.passkeys import misuse_passkeys
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import COOKIE, Upstream
from mycelos.wire.egress import FORWARD_APPROVAL, FORWARD_CREDENTIAL, FORWARD_INJECT_AS
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import ProblemCode
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mycelos.ledger.entry import Entry
    from mycelos.prove.installation import Installation
    from mycelos.prove.twin import Answer

_OPERATOR_ROUTES: Final = (
    "/credential/store",
    "/credential/rotate",
    "/credential/delete",
    "/credential/bind",
    "/egress/rules",
    "/link/create",
    "/link/redeem",
    "/materialize/arm",
    "/key/rotate",
    "/lockdown",
    "/token/rotate",
    "/mcp/register",
    "/approval/list",
    "/approval/decide",
)
_NAMED: Final = {"inject_credential": SERVICE}
_RECORD_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02
_GUARDED: Final = "guarded"
"""A second credential, each use of which waits for a person."""

_MISLEADING: Final = (
    "Host",
    "X-Forwarded-Host",
    "Forwarded",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "Proxy-Authorization",
)
"""Headers by which some servers choose another host, path or method."""


@dataclass(frozen=True)
class Attempt:
    """One misuse of the credential. ``field`` is the binding's field that must be on record as differing.

    Without one, ``code`` is what is refused before bindings are asked. What names no one credential has no record.
    """

    tried: str
    send: Callable[[], Answer]
    field: str = ""
    code: ProblemCode = ProblemCode.BINDING_VIOLATION
    is_recorded: bool = True


@dataclass(frozen=True)
class _Places:
    """A twin and the outside: where its credential is bound, an opened host beside it, and an opened port."""

    twin: Twin
    bound: Upstream
    stranger: Upstream
    thief: Upstream

    def url(self, path: str, *, at: Upstream | None = None, scheme: str = "http") -> str:
        """A path at one of them, the bound one where none is named."""
        return f"{scheme}://{(at or self.bound).authority}{path}"

    def route(self, path: str, *, at: Upstream | None = None) -> str:
        """The same by `/forward`."""
        return f"/forward/http/{(at or self.bound).authority}{path}"

    def use(self, url: str, **message: Any) -> Callable[[], Answer]:
        """One request by `POST /http`."""
        return lambda: self.twin.use(url, **message)

    def forward(self, target: str, *headers: tuple[str, str], method: str = "GET") -> Callable[[], Answer]:
        """One request by `/forward`, with the credential unless ``headers`` name one."""
        named = any(name == FORWARD_CREDENTIAL for name, _ in headers)
        own = headers if named else ((FORWARD_CREDENTIAL, SERVICE), *headers)
        return lambda: self.twin.forward(target, own, method=method)


def probe_bearer(_installation: Installation) -> list[Finding]:
    """D3: change, read and misuse a credential with the gateway's bearer; then use it where it is bound."""
    with (
        Upstream() as thief,
        Upstream(redirect_to=f"http://{thief.authority}/bound/item?code=1") as bound,
        # The same port and path: only the host differs.
        Upstream(host="127.0.0.2", port=bound.port) as stranger,
        Twin(bound.port, (thief.authority, stranger.authority)) as twin,
    ):
        places = _Places(twin, bound, stranger, thief)
        confirmed = msgspec.structs.replace(twin.binding(bound.port), confirm=True)
        twin.operator.store(StoreCredential(service=_GUARDED, secret=f"{twin.canary}-2", bindings=(confirmed,)))
        findings = [_changes(twin)]
        findings += [_refused(twin, attempt) for attempt in (*_by_http(places), *_by_forward(places))]
        arrived = len(bound.requests) + len(stranger.requests) + len(thief.requests)
        findings.append(Finding("arrive anywhere by one of these", f"{arrived} arrived", held=arrived == 0))
        findings += misuse_approvals(twin, bound, _GUARDED)
        findings += misuse_passkeys(twin, bound, _GUARDED)
        return [*findings, *_redirects(places), *_misled(places), *_given_back(places), *_given_out(twin)]


def _by_http(places: _Places) -> Iterator[Attempt]:
    bound, url, use = places.bound, places.url, places.use
    yield Attempt("at an unbound host", use(url("/bound/item", at=places.stranger)), "host")
    yield Attempt("at an unbound port", use(url("/bound/item", at=places.thief)), "port")
    yield Attempt("by an unbound scheme", use(url("/bound/item", scheme="https")), "scheme")
    yield Attempt("by an unbound method", use(url("/bound/item"), method="POST"), "methods")
    yield Attempt("at an unbound path", use(url("/elsewhere")), "path")
    yield Attempt("at a path that only begins alike", use(url("/boundary/item")), "path")
    yield Attempt("at a path in other letters", use(url("/BOUND/item")), "path")
    yield Attempt("at a path that leaves by dots", use(url("/bound/../elsewhere")), "path")
    yield Attempt(
        "at a path that leaves by escaped dots", use(url("/bound/%2e%2e/elsewhere")), code=ProblemCode.INVALID_REQUEST
    )
    yield Attempt("with a key of the caller's in the query", use(url("/bound/item?access_token=mine")), "query")
    yield Attempt("with a session of the caller's in the path", use(url("/bound/item;jsessionid=mine")), "path")
    for form in ("header:X-Seen", "basic:robot", "url_path"):
        yield Attempt(f"injected as {form}", use(url("/bound/item"), inject_as=form), "inject")
    yield Attempt("in the path", use(url("/bound/{credential}"), inject_as="url_path"), "inject")
    # Names that are never resolved: this one would be a name server's word for the bound address.
    elsewhere = f"http://127.0.0.1.nip.invalid:{bound.port}/bound/item"
    yield Attempt("at a name that stands for the bound address", use(elsewhere), code=ProblemCode.SSRF_BLOCKED)
    yield Attempt(
        "that waits for a person, with a made-up approval",
        use(url("/bound/item"), inject_credential=_GUARDED, approval="granted"),
        code=ProblemCode.APPROVAL_REQUIRED,
    )


def _by_forward(places: _Places) -> Iterator[Attempt]:
    route, forward = places.route, places.forward
    own, other = places.bound.authority, places.thief.authority
    yield Attempt("by /forward at an unbound host", forward(route("/bound/item", at=places.stranger)), "host")
    yield Attempt("by /forward at an unbound port", forward(route("/bound/item", at=places.thief)), "port")
    yield Attempt("by /forward by an unbound method", forward(route("/bound/item"), method="DELETE"), "methods")
    yield Attempt("by /forward at a path that leaves by dots", forward(route("/bound/../elsewhere")), "path")
    yield Attempt(
        "by /forward with a session of the caller's in the path", forward(route("/bound/item;jsessionid=mine")), "path"
    )
    yield Attempt("by /forward behind another authority", forward(f"/forward/http/{other}/http/{own}/bound/x"), "port")
    yield Attempt("by /forward with a whole URL as the path", forward(route(f"/http://{other}/bound/item")), "path")
    yield Attempt(
        "by /forward with the bound host as a user name",
        forward(f"/forward/http/{own}@{other}/bound/item"),
        code=ProblemCode.SSRF_BLOCKED,
    )
    yield Attempt(
        "by a target in absolute form", forward(f"http://{other}/bound/item"), "head", ProblemCode.INVALID_REQUEST
    )
    yield Attempt("by Mycelos-Inject-As", forward(route("/bound/item"), (FORWARD_INJECT_AS, "header:X-Seen")), "inject")
    yield Attempt(
        "by two Mycelos-Credential headers",
        forward(route("/bound/item"), (FORWARD_CREDENTIAL, SERVICE), (FORWARD_CREDENTIAL, _GUARDED)),
        code=ProblemCode.INVALID_REQUEST,
        is_recorded=False,
    )
    yield Attempt(
        "by two names in one Mycelos-Credential header",
        forward(route("/bound/item"), (FORWARD_CREDENTIAL, f"{SERVICE}, {_GUARDED}")),
        code=ProblemCode.CREDENTIAL_UNKNOWN,
    )
    yield Attempt(
        "by a made-up Mycelos-Approval",
        forward(route("/bound/item"), (FORWARD_CREDENTIAL, _GUARDED), (FORWARD_APPROVAL, "granted")),
        code=ProblemCode.APPROVAL_REQUIRED,
    )


_EVENTS: Final = {
    ProblemCode.BINDING_VIOLATION: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.CREDENTIAL_UNKNOWN: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.APPROVAL_REQUIRED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.INVALID_REQUEST: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.SSRF_BLOCKED: Event.PROXY_SSRF_BLOCKED,
}
"""How a refusal is on record."""


def _refused(twin: Twin, attempt: Attempt) -> Finding:
    """Refused with the expected code, and exactly that on record."""
    before = twin.entries()[-1].seq
    answer = attempt.send()
    event = _EVENTS.get(attempt.code) if attempt.is_recorded else None
    happened = f"status {answer.status} {answer.code}".rstrip()
    held = answer.status >= 400 and answer.code == attempt.code
    # Of what was not refused nothing need be waited for: it does not hold, whatever is on record.
    if held and event is not None:
        recorded = _recorded(twin, before, event)
        is_recorded = len(recorded) == 1 and attempt.field in _differing(recorded[0])
        happened += f" ({attempt.field})" if attempt.field else ""
        happened += f", on record as {event.value}" if is_recorded else ", and not so on record"
        held = is_recorded
    return Finding(f"use the credential {attempt.tried}", happened, held)


def _recorded(twin: Twin, before: int, event: Event) -> list[Entry]:
    """The event's entries after ``before``; a request that the door never saw is put on record beside its answer."""
    ends = time.monotonic() + _RECORD_SECONDS
    while True:
        found = [entry for entry in twin.entries(before) if entry.event == event]
        if found or time.monotonic() > ends:
            return found
        time.sleep(_LOOK_SECONDS)


def _differing(entry: Entry) -> tuple[str, ...]:
    """The binding's fields that the record names, and the empty one that every record has."""
    return ("", *json.loads(entry.details).get("reasons", ()))


def _changes(twin: Twin) -> Finding:
    before = twin.operator.credentials()
    opened = [route for route in _OPERATOR_ROUTES if twin.gateway("POST", route, {}).status not in {404, 405}]
    shown = f"answered: {', '.join(opened)}" if opened else f"{len(_OPERATOR_ROUTES)} routes, none is there"
    held = not opened and twin.operator.credentials() == before
    return Finding("change credentials, bindings, rules, keys by the gateway's bearer", shown, held)


def _redirects(places: _Places) -> Iterator[Finding]:
    """The bound host says where to go: its answer comes back, without the code that it carries, and nobody goes."""
    answer = places.twin.use(places.url("/bound/redirect"))
    if answer.status != 200:
        message = "the bound host of the twin cannot be reached, so refusals would show nothing"
        raise CannotShowError(message)
    streamed = places.forward(places.route("/bound/redirect"))()
    statuses = [answer.body["status"], streamed.status]
    location = answer.body["headers"].get("location", "")
    arrived = len(places.thief.requests)
    held = statuses == [302, 302] and arrived == 0 and location == f"http://{places.thief.authority}/bound/item"
    happened = f"{' and '.join(map(str, statuses))} came back without the code in it, {arrived} arrived there"
    yield Finding("have the bound host redirect it elsewhere, by both forms", happened, held)


def _misled(places: _Places) -> Iterator[Finding]:
    """Headers that name another host, path or method: the request goes where its URL says, without them."""
    other = places.thief.authority
    for form in ("/http", "/forward"):
        before = len(places.bound.requests)
        if form == "/http":
            answer = places.twin.use(places.url("/bound/item"), headers=dict.fromkeys(_MISLEADING, other))
        else:
            misleading = [(name, other) for name in _MISLEADING]
            answer = places.forward(places.route("/bound/item"), *misleading, ("Connection", FORWARD_CREDENTIAL))()
        new = places.bound.requests[before:]
        arrived = len(places.thief.requests)
        held = answer.status == 200 and len(new) == 1 and other not in new[0] and arrived == 0
        happened = f"it went where its URL says, without them; {arrived} arrived elsewhere"
        if not held:
            happened = f"status {answer.status}; {len(new)} at the bound host, {arrived} elsewhere"
        yield Finding(f"mislead it by {len(_MISLEADING)} headers of {form}, Host the first", happened, held)


def _given_back(places: _Places) -> Iterator[Finding]:
    """The control: the credential is used where it is bound, comes back from there, and does not pass."""
    canary = places.twin.canary
    before = len(places.bound.requests)
    answers = [places.twin.use(places.url("/bound/echo")), places.forward(places.route("/bound/echo"))()]
    arrived = sum(canary in text for text in places.bound.requests[before:])
    if arrived != len(answers):
        message = "the twin's credential cannot be used where it is bound, so refusals would show nothing"
        raise CannotShowError(message)
    held = not any(_holds(str(answer.body), canary) for answer in answers)
    yield Finding("let the bound host send the credential back", "it was sent, and the answers do not hold it", held)
    came = [
        places.twin.everything("POST", "/http", message={"method": "GET", "url": places.url("/bound/item"), **_NAMED}),
        places.twin.everything("GET", places.route("/bound/item"), [(FORWARD_CREDENTIAL, SERVICE)]),
    ]
    held = all(b"you_sent" in text and COOKIE.encode() not in text for text in came)
    yield Finding("have the bound host set a cookie of its account's session, by both forms",
                  "the answers came without it" if held else "it came with the answer", held)  # fmt: skip
    elsewhere = [text for text in [*places.stranger.requests, *places.thief.requests] if _holds(text, canary)]
    yield Finding("see the credential arrive where it is not bound", f"it arrived {len(elsewhere)} times",
                  held=not elsewhere and not places.stranger.requests)  # fmt: skip
    token = [text for upstream in (places.bound, places.stranger, places.thief) for text in upstream.requests]
    held = not any(_holds(text, places.twin.bearer) for text in token)
    yield Finding("see the gateway's bearer arrive anywhere", f"looked at {len(token)} requests", held)


def _given_out(twin: Twin) -> Iterator[Finding]:
    for route, message in (("/credential/materialize", {"service": SERVICE}), ("/credential/list", {})):
        answer = twin.gateway("POST", route, message)
        yield Finding(f"find the credential in the answer of {route}", f"status {answer.status}, without it",
                      held=not _holds(str(answer.body), twin.canary))  # fmt: skip
    answer = twin.gateway("POST", "/credential/list", bearer="x" * 64)
    yield Finding("come with another bearer", f"status {answer.status} {answer.code}", held=answer.status == 401)


def _holds(text: str, secret: str) -> bool:
    return any(form in text.encode() for form in secret_forms(secret.encode()))
