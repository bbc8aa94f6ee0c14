"""D3, where each use waits for a person: with the bearer alone nothing goes, and with an approval one exact request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.wire.approvals import DecideApproval
from mycelos.wire.problems import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mycelos.prove.twin import Answer, Twin
    from mycelos.prove.upstream import Upstream

_BODY: Final = "what a person was shown"
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "another body": {"body": f"{_BODY}."},
    "another header": {"headers": {"Accept": "text/plain"}},
    "another path": {"path": "/bound/other"},
    "another query": {"path": "/bound/item?all=1"},
    "another run": {"run_id": "run_other"},
}


def misuse_approvals(twin: Twin, bound: Upstream, service: str) -> Iterator[Finding]:
    """Attacks on the approvals of ``service``, which is bound with ``confirm``; a person approves one request, once."""
    before = len(bound.requests)

    def use(approval: str | None = None, path: str = "/bound/item", **changes: Any) -> Answer:
        named: dict[str, Any] = {"inject_credential": service, "body": _BODY, "run_id": "run_one", **changes}
        return twin.use(f"http://{bound.authority}{path}", **named, approval=approval)

    def arrived() -> int:
        return len(bound.requests) - before

    def refused(tried: str, answer: Answer, expected: int) -> Finding:
        held = answer.code == ProblemCode.APPROVAL_REQUIRED and arrived() == expected
        return Finding(tried, f"status {answer.status} {answer.code}; {arrived() - expected} arrived", held)

    first = refused("use a credential that waits for a person without asking", use(), 0)
    yield first
    if not first.held:
        return
    shown = [one for one in twin.operator.approvals() if one.run == "run_one"]
    if len(shown) != 1 or shown[0].body_text != _BODY:
        message = "the twin's operator is not shown the request that waits, so refusals would show nothing"
        raise CannotShowError(message)
    (waiting,) = shown
    yield refused("use an approval that nobody has given yet", use(waiting.id), 0)
    decision = {"id": waiting.id, "digest": waiting.digest, "decision": "approve", "assertion": None}
    answer = twin.gateway("POST", "/approval/decide", decision)
    held = answer.status == 404 and twin.operator.approvals() != ()
    yield Finding("give the approval with the gateway's bearer", f"status {answer.status} {answer.code}", held)
    twin.operator.decide_approval(DecideApproval(id=waiting.id, digest=waiting.digest, decision="approve"))
    changed = [refused(f"send {name} under it", use(waiting.id, **changes), 0) for name, changes in _CHANGES.items()]
    yield from changed
    if not all(finding.held for finding in changed):
        return
    if use(waiting.id).status != 200 or arrived() != 1:
        message = "the twin's approved request does not arrive, so refusals would show nothing"
        raise CannotShowError(message)
    yield refused("send the approved request a second time", use(waiting.id), 1)
