"""I3: each failure on the way out, with the secret in hand; then everything that was said about it is searched."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.prove.failing_upstream import FAILURES, Ending, FailingUpstream, Failure
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Twin
from mycelos.wire.binding import Header
from mycelos.wire.egress import FORWARD_CREDENTIAL
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import ProblemCode
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

_AWKWARD: Final = "awkward"
"""A second credential, of characters that each writer of errors escapes in its own way."""
_MARKS: Final = "/+<&'\">%\\{}"
_PATIENCE_SECONDS: Final = (0.2, 1.0, 5.0)
"""What a caller gives an upstream that does not answer; more where the time was up before the request was sent."""


def probe_failures(_installation: Installation) -> list[Finding]:
    """I3: what an upstream does wrong, with every request, answer, entry and line of the log looked through."""
    with socket.socket() as nobody, FailingUpstream() as upstream:
        # Bound, so that nobody else takes it, and not listened on.
        nobody.bind(("127.0.0.1", 0))
        return _attack(upstream, nobody.getsockname()[1])


def _attack(upstream: FailingUpstream, closed: int) -> list[Finding]:
    with Twin(upstream.port, (f"127.0.0.1:{closed}",), loud=True) as twin:
        secrets = {SERVICE: twin.canary, _AWKWARD: f"{twin.canary}{_MARKS}"}
        # Each spelling for an answer that stays well-formed: on lines of their own.
        forms = [form for secret in secrets.values() for form in secret_forms(secret.encode())]
        upstream.spellings = b"\n".join(forms)
        binding = msgspec.structs.replace(twin.binding(upstream.port), inject=Header("X-Key"))
        twin.operator.store(StoreCredential(service=_AWKWARD, secret=secrets[_AWKWARD], bindings=(binding,)))
        findings = [_failure(upstream, twin, secrets, forms, failure) for failure in FAILURES]
        findings.append(_before_it_is_sent(twin, "https", upstream.port, ProblemCode.UPSTREAM_TLS, forms))
        findings.append(_before_it_is_sent(twin, "http", closed, ProblemCode.UPSTREAM_UNREACHABLE, forms))
        recorded = json.dumps([entry.as_dict() for entry in twin.entries()]).encode()
        findings.append(_searched("find it in what is on record of these", recorded, forms))
        twin.stop()
        log = twin.log.read_bytes()
        if b"DEBUG" not in log:
            message = "the twin's log does not say what its libraries do, so nothing can be said of it"
            raise CannotShowError(message)
        findings.append(_searched("find it in the proxy's log, with every logger on", log, forms))
        return findings


def _failure(
    upstream: FailingUpstream, twin: Twin, secrets: dict[str, str], forms: list[bytes], failure: Failure
) -> Finding:
    """By both forms and with both credentials. `/forward` has no deadline that a caller could set: not for silence."""
    problems = []
    for service, secret in secrets.items():
        answers = {"/http": _by_http(upstream, twin, service, failure)}
        _must_have_arrived(upstream, secret)
        if failure.ending is not Ending.HOLD:
            target = f"/forward/http/127.0.0.1:{upstream.port}/bound/{failure.name}"
            answers["/forward"] = twin.everything("GET", target, [(FORWARD_CREDENTIAL, service)])
            _must_have_arrived(upstream, secret)
        problems += [f"it stands in the answer of {route}" for route, found in answers.items() if _holds(found, forms)]
        code = _code(answers["/http"])
        if code != (failure.code or ""):
            problems.append(f"the answer is {code or 'no problem'} and not {failure.code or 'the whole answer'}")
    happened = ", ".join(dict.fromkeys(problems)) or f"{failure.code or 'the whole answer'}, without it"
    return Finding(f"have a host that was sent the credential fail: it {failure.tried}", happened, held=not problems)


def _by_http(upstream: FailingUpstream, twin: Twin, service: str, failure: Failure) -> bytes:
    url = f"http://127.0.0.1:{upstream.port}/bound/{failure.name}"
    message: dict[str, Any] = {"method": "GET", "url": url, "inject_credential": service}
    if failure.ending is not Ending.HOLD:
        return twin.everything("POST", "/http", message=message)
    found = b""
    for seconds in _PATIENCE_SECONDS:
        found = twin.everything("POST", "/http", message=message | {"timeout": seconds})
        if upstream.requests:
            break
    return found


def _must_have_arrived(upstream: FailingUpstream, secret: str) -> None:
    if not upstream.requests or secret.encode() not in upstream.requests[-1]:
        message = "the credential did not arrive at the twin's host, so its failing would show nothing"
        raise CannotShowError(message)
    upstream.requests.clear()


def _before_it_is_sent(twin: Twin, scheme: str, port: int, expected: ProblemCode, forms: list[bytes]) -> Finding:
    """What fails before the request is sent; a host that is there answers with the secret, which it knows by now."""
    service = f"before-{scheme}"
    binding = msgspec.structs.replace(twin.binding(port), scheme=scheme)
    twin.operator.store(StoreCredential(service=service, secret=f"{twin.canary}-{service}", bindings=(binding,)))
    url = f"{scheme}://127.0.0.1:{port}/bound/item"
    found = twin.everything("POST", "/http", message={"method": "GET", "url": url, "inject_credential": service})
    held = not _holds(found, forms) and _code(found) == expected
    return Finding(f"fail before it is sent, by {scheme}", f"{_code(found)}, {'without it' if held else 'or with it'}",
                   held=held)  # fmt: skip


def _code(found: bytes) -> str:
    """The problem's code in an answer; empty where it is no problem."""
    try:
        answer = json.loads(found.partition(b"\r\n\r\n")[2])
    except ValueError:
        return "no JSON"
    return str(answer.get("code", ""))


def _holds(found: bytes, forms: list[bytes]) -> bool:
    return any(form in found for form in forms)


def _searched(tried: str, text: bytes, forms: list[bytes]) -> Finding:
    held = not _holds(text, forms)
    return Finding(tried, f"{len(text)} bytes, not in them" if held else "it stands there", held)
