"""The broker: the one receiver of runner frames. It decides, records, acts, records again and answers; in this order.

A runner is not believed: its identity is its socket, its limits are counted here, a frame out of turn ends the run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import rfc8785

from mycelos.gateway.model_call import ModelCall
from mycelos.gateway.models import PURPOSE
from mycelos.gateway.runs.approval_wait import ApprovalWait
from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.failure import RunFailure
from mycelos.gateway.runs.frame_channel import invalid_frame
from mycelos.gateway.tools.permit import Permit, digest
from mycelos.gateway.tools.registry import Tool, ToolAnswer
from mycelos.ledger.events import Event
from mycelos.policy.decision import Allow, Ask, Deny, decide
from mycelos.wire.problems import ProblemCode, Refusal, joined
from mycelos.wire.runner import Done, Emit, FromRunner, ModelRequest, ModelResponse, ToolCall, ToolResult

if TYPE_CHECKING:
    from mycelos.gateway.recorder import Recorder
    from mycelos.gateway.runs.active_run import ActiveRun
    from mycelos.gateway.runs.frame_channel import FrameChannel
    from mycelos.gateway.tools.registry import Registry
    from mycelos.wire.audit import AppendReceipt
    from mycelos.wire.conversation import AssistantMessage

IDLE_SECONDS: Final = 60.0
"""Between two steps a runner only thinks about which comes next."""

STEP_SECONDS: Final = 330.0
"""One step of the gateway's, a model's whole answer or a tool's, takes this long at most."""

TOOL_SECONDS: Final = 120.0
_NAME_SHOWN: Final = 128
_OUT_OF_TURN: Final = "it came before the answer to the one before"
MODEL_REQUESTS: Final = "model_requests"
TOOL_CALLS: Final = "tool_calls"
ANSWER_CHARACTERS: Final = "answer_characters"


class AsksModels(Protocol):
    """What the broker needs of `mycelos.gateway.models.ModelClient`."""

    async def ask(self, call: ModelCall) -> AssistantMessage:
        """One answer of a model."""


class Broker:
    """Serves runs. It holds no state of one: that is in `_Session`."""

    def __init__(self, registry: Registry, models: AsksModels, recorder: Recorder) -> None:
        self._registry = registry
        self._models = models
        self._recorder = recorder

    async def serve(self, active: ActiveRun, channel: FrameChannel) -> Done:
        """Receive frames until the runner says that it is done.

        Raises:
            RunFailure: an invalid frame, a frame out of turn, an exceeded limit, silence, or a dead runner.
            Refusal: what the ledger or the store refused.
        """
        session = _Session(active, channel, self._registry, self._models, self._recorder)
        try:
            async with asyncio.TaskGroup() as steps:
                return await session.receive(steps)
        except BaseExceptionGroup as group:
            # One step goes on at a time, so the first error is the cause; the group only adds cancellations.
            raise group.exceptions[0] from None


class _Session:
    """One run's conversation with its runner."""

    def __init__(
        self, active: ActiveRun, channel: FrameChannel, registry: Registry, models: AsksModels, recorder: Recorder
    ) -> None:
        self._active = active
        self._channel = channel
        self._registry = registry
        self._models = models
        self._recorder = recorder
        self._step: asyncio.Task[None] | None = None
        self._is_answered = False
        self._model_requests = 0
        self._tool_calls = 0
        self._emitted = 0
        self._streamed = ""

    async def receive(self, steps: asyncio.TaskGroup) -> Done:
        """The loop: text is passed on at once, a request starts a step, and only one step goes on at a time."""
        while True:
            frame = await self._next_frame()
            match frame:
                case Emit():
                    await self._emit(frame)
                case Done():
                    self._refuse_while_busy()
                    return frame
                case ModelRequest():
                    self._refuse_while_busy()
                    self._step = steps.create_task(self._ask_model(frame))
                case ToolCall():
                    self._refuse_while_busy()
                    self._step = steps.create_task(self._call_tool(frame))

    async def _next_frame(self) -> FromRunner:
        is_busy = self._step is not None and not self._step.done()
        try:
            async with self._active.time.limit(STEP_SECONDS + IDLE_SECONDS if is_busy else IDLE_SECONDS):
                return await self._channel.receive()
        except TimeoutError:
            raise _silent_runner() from None

    def _refuse_while_busy(self) -> None:
        # A step whose answer was sent may need one more turn of the loop to end: it is over all the same.
        if self._step is not None and not self._is_answered:
            raise invalid_frame(_OUT_OF_TURN)
        self._is_answered = False

    async def _answer(self, frame: ModelResponse | ToolResult) -> None:
        self._is_answered = True
        await self._channel.send(frame)

    async def _emit(self, frame: Emit) -> None:
        if frame.text == self._streamed:
            # The runner says what the page has seen as it came.
            self._streamed = ""
            return
        self._emitted += len(frame.text)
        if self._emitted > self._active.limits.answer_characters:
            raise _over_limit(ANSWER_CHARACTERS)
        await self._active.journal.token(frame.text)

    async def _ask_model(self, frame: ModelRequest) -> None:
        active = self._active
        self._model_requests += 1
        if self._model_requests > active.limits.model_requests:
            raise _over_limit(MODEL_REQUESTS)

        self._streamed = ""
        is_later_turn = bool(active.journal.text)

        async def on_text(piece: str) -> None:
            # Straight to the page: the runner needs the whole answer only.
            separator = "\n\n" if is_later_turn and not self._streamed else ""
            self._streamed += piece
            await active.journal.token(separator + piece)

        granted = [name for name in self._registry.names if isinstance(self._decide(name), Allow)]
        call = ModelCall(
            model=active.model,
            instructions=active.agent.instructions,
            messages=frame.messages,
            tools=self._registry.definitions(granted),
            run_id=active.run.id,
            agent=active.agent.name,
            answer_characters=active.limits.answer_characters,
            on_text=on_text,
            wait=self._wait(frame.id, PURPOSE, {"model": active.model.name}),
        )
        try:
            message = await self._models.ask(call)
        except Refusal as refusal:
            problem = refusal.problem
            await active.journal.append("model_refused", {"id": frame.id, "code": problem.code.value})
            text = joined(problem.detail, problem.next)
            await self._answer(ModelResponse(id=frame.id, message=None, code=problem.code.value, detail=text))
            return
        uses = [{"id": use.id, "tool": use.tool, "args": use.args} for use in message.tool_uses]
        await active.journal.append("model_answer", {"id": frame.id, "text": message.text, "tool_uses": uses})
        await self._answer(ModelResponse(id=frame.id, message=message, code="", detail=""))

    async def _call_tool(self, frame: ToolCall) -> None:
        self._tool_calls += 1
        if self._tool_calls > self._active.limits.tool_calls:
            raise _over_limit(TOOL_CALLS)
        name = frame.tool[:_NAME_SHOWN]
        await self._active.journal.append(EventKind.TOOL_CALL, {"id": frame.id, "tool": name, "args": frame.args})
        try:
            answer = await self._authorise_and_call(frame)
            result = ToolResult(id=frame.id, ok=True, content=answer.content, labels=answer.labels)
            code = "ok"
        except Refusal as refusal:
            problem = refusal.problem
            code = problem.code.value
            reason = f"Refused ({code}): {joined(problem.detail, problem.next)}"
            result = ToolResult(id=frame.id, ok=False, content=reason, labels=())
        await self._active.journal.append(
            EventKind.TOOL_RESULT,
            {
                "id": frame.id,
                "tool": name,
                "ok": result.ok,
                "code": code,
                "content": result.content,
                "labels": list(result.labels),
            },
        )
        await self._answer(result)

    async def _authorise_and_call(self, frame: ToolCall) -> ToolAnswer:
        """Decide, record, act, record. Whatever is refused on the way is raised after it was recorded."""
        decision = self._decide(frame.tool)
        match decision:
            case Deny():
                await self._record_denial(frame, decision.reason.value)
                raise Refusal(ProblemCode.POLICY_DENIED, decision.detail, decision.next_step)
            case Ask():
                # Nobody can be asked yet, so what needs a person's word is refused.
                await self._record_denial(frame, decision.reason.value)
                raise Refusal(
                    ProblemCode.APPROVAL_REQUIRED,
                    f"{frame.tool} needs a person's word",
                    "Nobody can be asked in this version: do it yourself, or change what the agent may do.",
                )
            case Allow():
                return await self._call_allowed(frame, decision)

    async def _call_allowed(self, frame: ToolCall, decision: Allow) -> ToolAnswer:
        tool = self._registry.find(frame.tool)
        if tool is None:
            message = "the policy allowed a tool that is not registered"
            raise RuntimeError(message)
        try:
            args = frame.args
            if args is None:
                raise _malformed_arguments(tool)
            tool.check(args)
            args_digest = digest(args)
        except (Refusal, rfc8785.CanonicalizationError) as error:
            await self._recorder.fact(
                Event.TOOL_FAILED,
                **self._common(frame),
                outcome="refused",
                reason="malformed_arguments",
                details=self._details(frame) | {"code": ProblemCode.INVALID_REQUEST.value},
            )
            raise (error if isinstance(error, Refusal) else _malformed_arguments(tool)) from None
        common = self._common(frame) | {"args_digest": args_digest}
        details = self._details(frame)
        await self._recorder.fact(
            Event.POLICY_ALLOWED,
            **common,
            outcome="allowed",
            reason=decision.reason.value,
            details=details | {"matched_capability": decision.capability},
        )
        await self._active.journal.append("decision", {"id": frame.id, "tool": tool.name, "allowed": True})
        intent = await self._recorder.intent(Event.TOOL_CALLED, **common, details=details)
        wait = self._wait(frame.id, tool.name, args)
        permit = Permit(self._active.run.id, self._active.agent.name, tool.name, args_digest, intent, wait)
        try:
            async with self._active.time.limit(TOOL_SECONDS):
                answer = await tool.call(permit, args)
        except TimeoutError:
            refusal = Refusal(ProblemCode.UPSTREAM_TIMEOUT, "The tool did not answer in time", "Try again later.")
            await self._record_outcome(intent, common, details, refusal)
            raise refusal from None
        except Refusal as refusal:
            await self._record_outcome(intent, common, details, refusal)
            raise
        except Exception:
            await self._recorder.outcome(
                Event.TOOL_CALLED, intent, **common, outcome="failed", reason="internal", details=details
            )
            raise
        await self._recorder.outcome(
            Event.TOOL_CALLED, intent, **common, outcome="ok", details=details | {"size": len(answer.content)}
        )
        return answer

    async def _record_outcome(
        self, intent: AppendReceipt, common: dict[str, str], details: dict[str, str], refusal: Refusal
    ) -> None:
        code = refusal.problem.code.value
        await self._recorder.outcome(
            Event.TOOL_CALLED, intent, **common, outcome="refused", reason=code, details=details | {"code": code}
        )

    async def _record_denial(self, frame: ToolCall, reason: str) -> None:
        await self._recorder.fact(
            Event.POLICY_DENIED,
            **self._common(frame),
            outcome="denied",
            reason=reason,
            details=self._details(frame),
        )
        await self._active.journal.append(
            "decision", {"id": frame.id, "tool": frame.tool[:_NAME_SHOWN], "allowed": False, "reason": reason}
        )

    def _wait(self, step: str, tool: str, args: dict[str, Any]) -> ApprovalWait:
        active = self._active
        return ApprovalWait(active.journal, active.time, {"id": step, "tool": tool, "args": args})

    def _decide(self, tool: str) -> Allow | Ask | Deny:
        return decide(self._active.agent.capabilities, tool, registered=self._registry.names)

    def _common(self, frame: ToolCall) -> dict[str, str]:
        active = self._active
        return {"run": active.run.id, "agent": active.agent.name, "subject": frame.tool[:_NAME_SHOWN]}

    def _details(self, frame: ToolCall) -> dict[str, str]:
        return {"tool": frame.tool[:_NAME_SHOWN], "agent_id": self._active.agent.id, "call_id": frame.id[:_NAME_SHOWN]}


def _silent_runner() -> RunFailure:
    return RunFailure("runner_silent", "The runner did not go on", "Send the message again.")


def _malformed_arguments(tool: Tool) -> Refusal:
    return Refusal(
        ProblemCode.INVALID_REQUEST,
        "The arguments are not a JSON object that can be recorded exactly",
        f"Call {tool.name} with the arguments of its schema.",
    )


def _over_limit(limit: str) -> RunFailure:
    return RunFailure(
        limit,
        f"The run used more {limit.replace('_', ' ')} than it may",
        f"Ask for less at once, or raise runs.{limit} in gateway.toml.",
    )
