"""`mycelos chat`: an agent in the terminal, streaming, with its tool calls and what was refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter

from mycelos.cli.chat_display import ChatDisplay
from mycelos.cli.event_stream import Event, EventStreamError
from mycelos.cli.gateway_answers import Cancelled, Chat, Model, StartedRun
from mycelos.cli.gateway_client import BrokenOffError, GatewayClient, connect
from mycelos.cli.output import CommandError, ExitCode, complain, print_json, say

RECONNECT_SECONDS: Final = 20.0
"""How long a chat waits for a gateway that went away in the middle of an answer."""
_RECONNECT_PAUSE: Final = 0.25
_LAST_KINDS: Final = frozenset({"done", "error"})


def chat(
    *,
    agent: Annotated[str, Parameter(help="The agent to talk to.")] = "assistant",
    model: Annotated[str | None, Parameter(help="A model endpoint other than the agent's own.")] = None,
    once: Annotated[str | None, Parameter(help="Say this, print the answer and end.")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", help="With --once: print all events as JSON.", negative="")
    ] = False,
) -> int:
    """Talk to an agent. Ctrl-D ends; Ctrl-C during an answer cancels it.

    Example: mycelos chat --agent assistant --once "What are the open issues of ada/garden?"
    """
    if as_json and once is None:
        message = "--json needs --once."
        raise CommandError(message, exit_code=ExitCode.WRONG_USAGE)
    client = connect()
    if model is not None and model not in {known.name for known in client.get("api", "models", answer=list[Model])}:
        message = f"There is no model {model}."
        raise CommandError(message, "See: mycelos model list", ExitCode.WRONG_USAGE)
    chat_id = client.post("api", "chats", answer=Chat, body={"agent": agent}).id
    if once is not None:
        return _say_once(client, chat_id, once, model, as_json)
    say(f"{agent} listens. Ctrl-D ends.")
    while (text := _read_line()) is not None:
        if text.strip():
            try:
                _say(client, chat_id, text, model)
            except CommandError as error:
                # One message that failed does not end the conversation.
                complain(str(error))
    return ExitCode.DONE


def _say_once(client: GatewayClient, chat_id: str, text: str, model: str | None, as_json: bool) -> int:
    if not as_json:
        return ExitCode.DONE if _say(client, chat_id, text, model) else ExitCode.FAILED
    run_id = _start(client, chat_id, text, model)
    events = list(follow(client, run_id))
    print_json({"run_id": run_id, "events": [{"event": event.kind, **event.data} for event in events]})
    return ExitCode.DONE if events[-1].kind == "done" else ExitCode.FAILED


def _say(client: GatewayClient, chat_id: str, text: str, model: str | None) -> bool:
    """Send one message and show what comes of it; whether it was answered."""
    run_id = _start(client, chat_id, text, model)
    display = ChatDisplay(sys.stdout)
    answered = False
    try:
        for event in follow(client, run_id):
            display.show(event)
            answered = event.kind == "done"
    except KeyboardInterrupt:
        client.post("api", "runs", run_id, "cancel", answer=Cancelled)
        display.note("cancelled")
    return answered


def _start(client: GatewayClient, chat_id: str, text: str, model: str | None) -> str:
    body: dict[str, Any] = {"text": text} if model is None else {"text": text, "model": model}
    return client.post("api", "chats", chat_id, "messages", answer=StartedRun, body=body).run_id


def follow(client: GatewayClient, run_id: str) -> Iterator[Event]:
    """The run's events to the last one. A gateway that restarts in between is waited for and asked for the rest.

    Raises:
        CommandError: it did not come back in time, or its stream cannot be read.
    """
    after = 0
    deadline: float | None = None
    while True:
        try:
            for event in client.events(run_id, after):
                after = event.sequence
                deadline = None
                yield event
                if event.kind in _LAST_KINDS:
                    return
        except BrokenOffError:
            pass
        except EventStreamError as error:
            message = f"The run cannot be followed: {error}."
            raise CommandError(message, "See: mycelos status") from None
        deadline = deadline or time.monotonic() + RECONNECT_SECONDS
        if time.monotonic() > deadline:
            message = "The gateway went away in the middle of the answer."
            raise CommandError(message, "See: mycelos status - and the page for the rest")
        time.sleep(_RECONNECT_PAUSE)


def _read_line() -> str | None:
    try:
        return input("> ")
    except EOFError:
        say()
        return None
