"""`mycelos policy`: decisions without doing anything."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from mycelos.cli.gateway_answers import Agent
from mycelos.cli.gateway_client import connect
from mycelos.cli.output import ExitCode, one_line, print_json, say
from mycelos.gateway.tools.catalogue import make_registry
from mycelos.policy.decision import Allow, Ask, Decision, Deny, decide
from mycelos.wire.egress import CredentialSummary, HttpAnswer, HttpCall
from mycelos.wire.problems import joined

app = App(name="policy", help="What an agent may do, decided without doing it.")


@app.command
def check(
    agent: str,
    tool: str,
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """Decide as the broker would. Exit code 0 allows, 5 denies, 4 asks a person.

    Example: mycelos policy check assistant github.read.issues
    """
    capabilities = connect().get("api", "agents", agent, answer=Agent).capabilities
    decision = decide(capabilities, tool, registered=make_registry(_nowhere, _no_credentials).names)
    word, why, code = _in_words(decision)
    if as_json:
        print_json({"agent": agent, "tool": tool, "decision": word, "reason": decision.reason.value, "detail": why})
    else:
        say(one_line(f"{word}: {why}"))
    return code


def _in_words(decision: Decision) -> tuple[str, str, ExitCode]:
    match decision:
        case Allow():
            return "allow", f"capability {decision.capability}", ExitCode.DONE
        case Ask():
            return "ask", f"capability {decision.capability}; a person decides", ExitCode.PERSON_DECIDES
        case Deny():
            return "deny", joined(decision.detail, decision.next_step), ExitCode.DENIED


async def _nowhere(_call: HttpCall) -> HttpAnswer:
    message = "a decision calls no tool"
    raise AssertionError(message)


async def _no_credentials() -> list[CredentialSummary]:
    return []
