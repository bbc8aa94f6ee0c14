"""V3: every object of a proxy is looked through for a credential: before it is used, while it is, and after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mycelos.prove.failing_upstream import FAILURES, Ending, FailingUpstream
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.egress import FORWARD_CREDENTIAL
from mycelos.wire.operator import BindCredential
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation
    from mycelos.prove.object_walk import Look

_IDLE_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.1
_SHORT_SECONDS: Final = 0.3
_LONG_SECONDS: Final = 20.0


def probe_use(_installation: Installation) -> list[Finding]:
    """V3: stored and not used; in use, which the walk must see; used, echoed and idle; failed and idle."""
    during: list[Look] = []

    def look_while_it_is_used() -> None:
        if not during:
            during.append(twin.look())

    with FailingUpstream() as failing, Upstream(look_while_it_is_used, keeps_alive=True) as upstream:
        also = f"127.0.0.1:{failing.port}"
        with Twin(upstream.port, (also,), watched=True) as twin:
            failing.spellings = b"\n".join(secret_forms(twin.canary.encode()))
            bindings = (twin.binding(upstream.port), twin.binding(failing.port))
            twin.operator.bind(BindCredential(service=SERVICE, bindings=bindings))
            findings = [_kept("find it in an object of the proxy that has stored it and not used it", _idle(twin))]
            _use(twin, upstream)
            if not during or not during[0].holders or not during[0].matchers:
                message = "the credential is not seen in the twin while it is used, so not seeing it shows nothing"
                raise CannotShowError(message)
            seen = f"{len(during[0].holders)} kinds of objects, gone with the request"
            findings.append(Finding("find it in an object while it is used, which must be so", seen, held=True))
            after = _idle(twin)
            findings.append(_kept("find it in an object after its use and its echo, with connections kept open", after))
            _fail(twin, failing)
            findings.append(_kept("find it in an object after failures with it in hand", _idle(twin)))
            left = f"{after.matchers} of {during[0].matchers} are left"
            findings.append(
                Finding("find a compiled matcher, which holds it outside of objects", left, held=after.matchers == 0)
            )
            return findings


def _use(twin: Twin, upstream: Upstream) -> None:
    for _ in range(2):
        answers = (
            twin.use(f"http://{upstream.authority}/bound/echo"),
            twin.forward(f"/forward/http/{upstream.authority}/bound/echo", [(FORWARD_CREDENTIAL, SERVICE)]),
        )
        arrived = sum(twin.canary in text for text in upstream.requests)
        if any(answer.status != 200 for answer in answers) or arrived != len(upstream.requests):
            message = "the twin's credential could not be used, so nothing can be said of what stays of it"
            raise CannotShowError(message)


def _fail(twin: Twin, failing: FailingUpstream) -> None:
    for failure in FAILURES:
        seconds = _SHORT_SECONDS if failure.ending is Ending.HOLD else _LONG_SECONDS
        twin.use(f"http://127.0.0.1:{failing.port}/bound/{failure.name}", timeout=seconds)
    if not all(twin.canary.encode() in head for head in failing.requests):
        message = "the twin's credential did not arrive where it was to fail"
        raise CannotShowError(message)


def _idle(twin: Twin) -> Look:
    """What is found after a moment of idleness: an answer is given before all that it needed is let go."""
    ends = time.monotonic() + _IDLE_SECONDS
    while True:
        found = twin.look()
        if not (found.holders or found.matchers) or time.monotonic() > ends:
            return found
        time.sleep(_LOOK_SECONDS)


def _kept(tried: str, found: Look) -> Finding:
    happened = ", ".join(found.holders) or "no object holds it, in any form"
    return Finding(tried, happened, held=not found.holders)
