"""P1, P2: names that only look alike, and calls that try to reach a handler past the decision."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from mycelos.gateway.broker import Broker
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.runs.active_run import ActiveRun
from mycelos.gateway.runs.failure import RunFailure
from mycelos.gateway.runs.frame_channel import FrameChannel
from mycelos.gateway.tools.permit import Permit
from mycelos.gateway.tools.registry import Registry, Tool, ToolAnswer
from mycelos.policy.capabilities import grants
from mycelos.prove.outcome import Finding
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.frames import encode_frame
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.runner import Done, Limits, ToolCall

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

GRANTED: Final = "github.read"
COVERED: Final = ("github.read", "github.read.issues", "github.read.repos", "github.read.a.b")
LOOK_ALIKES: Final = (
    "github", "github.write", "github.readonly", "github.readonly.issues", "github.rea", "github.read-issues",
    "github.read_issues", "github.READ.issues", "GitHub.read.issues", "github.read..issues", ".github.read.issues",
    "github.read.", "github.read.*", "github/read/issues", "github.read issues", "github.read.issues\n",
    "g\u0456thub.read.issues", "github\u2024read.issues", "github.read\u0000.issues", "*", "",
)  # fmt: skip
_SECONDS: Final = 20.0


def probe_capabilities(_installation: Installation) -> list[Finding]:
    """P1: what the installed code says of names around one capability."""
    refused = [name for name in COVERED if not grants(GRANTED, name)]
    passed = [name for name in LOOK_ALIKES if grants(GRANTED, name)]
    # The bare name is a capability of its own, and a wider one.
    covering = [name for name in LOOK_ALIKES if name != "github" and grants(name, "github.read.issues")]
    return [
        Finding(f"use {', '.join(COVERED)} with the capability {GRANTED}",
                f"not covered: {refused}" if refused else "all covered", held=not refused),
        Finding(f"use {len(LOOK_ALIKES)} look-alikes with it: other case, letters, separators, patterns, the bare name",
                f"covered: {passed}" if passed else "none covered", held=not passed),
        Finding("use the look-alikes as capabilities for github.read.issues",
                f"these do: {covering}" if covering else "none covers it", held=not covering),
    ]  # fmt: skip


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: str


@dataclass
class _Journal:
    """Stands for the run's journal, which this probe does not look at."""

    async def append(self, _kind: str, _data: dict[str, Any]) -> int:
        return 0

    async def token(self, _text: str) -> None:
        return None


@dataclass(frozen=True)
class _Named:
    id: str = "probe"
    name: str = "probe"
    capabilities: tuple[str, ...] = ()
    instructions: str = ""


@dataclass
class _House:
    """The real broker and registry, with a handler and a ledger that remember what was done in which order."""

    ledger_refuses: str = ""
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        tool = Tool("probe.read.item", "Reads an item.", _Arguments, self._handle)
        other = Tool("probe.write.item", "Writes an item.", _Arguments, self._handle)
        self.tool = tool
        self.broker = Broker(Registry([tool, other]), cast("Any", None), Recorder(self._append))

    async def _handle(self, _permit: Permit, args: _Arguments) -> ToolAnswer:
        self.steps.append(f"handler {args.value}")
        return ToolAnswer("done")

    async def _append(self, request: AppendRequest) -> AppendReceipt:
        if self.ledger_refuses in {request.event, f"{request.event} {request.phase}"}:
            raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger refuses.", "Nothing.")
        self.steps.append(f"{request.event} {request.phase}")
        return AppendReceipt(seq=len(self.steps), leaf_hash="0" * 64, checkpoint=None)

    async def run(self, *calls: ToolCall) -> list[str]:
        """Serve a runner that makes these calls one after the other; what was done, in order."""
        ours, runners = socket.socketpair()
        ours.setblocking(False)
        runners.setblocking(False)
        active = ActiveRun(
            run=cast("Any", _Named()),
            agent=cast("Any", _Named(capabilities=("probe.read",))),
            model=cast("Any", None),
            messages=(),
            limits=Limits(model_requests=9, tool_calls=9, answer_characters=9),
            journal=cast("Any", _Journal()),
        )
        with ours, runners:
            try:
                async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as both:
                    both.create_task(self.broker.serve(active, FrameChannel(ours)))
                    both.create_task(_converse(runners, calls))
            except* (RunFailure, Refusal, RuntimeError):
                # The broker may end a run for good reasons; what it did before is what is looked at.
                self.steps.append("the run was ended")
        return self.steps


async def _converse(runner: socket.socket, calls: tuple[ToolCall, ...]) -> None:
    loop = asyncio.get_running_loop()
    for call in calls:
        await loop.sock_sendall(runner, encode_frame(msgspec.json.encode(call)))
        await loop.sock_recv(runner, 65536)
    await loop.sock_sendall(runner, encode_frame(msgspec.json.encode(Done(True, "answered", ""))))


def probe_broker(_installation: Installation) -> list[Finding]:
    """P2: through the real broker, with a runner, a handler and a ledger of this probe's own."""
    return asyncio.run(_probe_broker())


async def _probe_broker() -> list[Finding]:
    allowed = await _House().run(_call("probe.read.item", {"value": "1"}))
    wanted = ["policy.allowed fact", "tool.called intent", "handler 1", "tool.called outcome"]
    findings = [
        Finding("call a granted tool, and look at the order of things", " → ".join(allowed), held=allowed == wanted)
    ]
    for tried, calls in (
        ("call a tool that is registered and not granted", [_call("probe.write.item", {"value": "1"})]),
        ("call a tool that does not exist", [_call("probe.read.other", {"value": "1"})]),
        ("call a granted tool with arguments that are none", [_call("probe.read.item", None)]),
        ("call it with an argument of another type", [_call("probe.read.item", {"value": 1})]),
    ):
        findings.append(_never_handled(tried, await _House().run(*calls)))
    for refuses in ("policy.allowed", "tool.called intent"):
        steps = await _House(ledger_refuses=refuses).run(_call("probe.read.item", {"value": "1"}))
        findings.append(_never_handled(f"call a granted tool while the ledger refuses {refuses}", steps))
    findings += [await _past_the_broker(name, permit) for name, permit in _wrong_permits()]
    return findings


def _call(tool: str, args: dict[str, Any] | None) -> ToolCall:
    return ToolCall(id="1", tool=tool, args=args)


def _never_handled(tried: str, steps: list[str]) -> Finding:
    handled = [step for step in steps if step.startswith("handler")]
    return Finding(tried, f"the handler ran; {' → '.join(steps)}" if handled else "the handler did not run",
                   held=not handled)  # fmt: skip


def _wrong_permits() -> list[tuple[str, Permit]]:
    receipt = AppendReceipt(seq=0, leaf_hash="0" * 64, checkpoint=None)
    return [
        ("a permit for other arguments", Permit("run", "agent", "probe.read.item", "0" * 64, receipt)),
        ("a permit for another tool", Permit("run", "agent", "probe.write.item", "0" * 64, receipt)),
    ]


async def _past_the_broker(name: str, permit: Permit) -> Finding:
    house = _House()
    try:
        await house.tool.call(permit, {"value": "1"})
    except Refusal as refusal:
        return Finding(f"reach the handler past the broker, with {name}", refusal.problem.code.value,
                       held=not house.steps)  # fmt: skip
    return Finding(f"reach the handler past the broker, with {name}", "the handler ran", held=False)
