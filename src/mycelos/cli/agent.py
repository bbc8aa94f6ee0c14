"""`mycelos agent`: agents and what they may do."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from mycelos.cli.gateway_answers import Agent
from mycelos.cli.gateway_client import connect
from mycelos.cli.output import CommandError, ExitCode, print_json, print_table, say
from mycelos.policy.capabilities import NameRefusedError, check_capability

app = App(name="agent", help="Agents and what they may do.", default_parameter=Parameter(negative_iterable="no-"))

Capabilities = Annotated[
    list[str] | None, Parameter(name="--capability", help="A tool, or a namespace of tools such as github.read.")
]
_INDENT: Final = "\n" + " " * 14
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")]


@app.command(name="list")
def list_(*, as_json: Json = False) -> int:
    """Show all agents.

    Example: mycelos agent list
    """
    agents = connect().get("api", "agents", answer=list[Agent])
    if as_json:
        print_json(agents)
    else:
        rows = [(agent.name, agent.model or "-", ", ".join(agent.capabilities) or "none") for agent in agents]
        print_table(("agent", "model", "capabilities"), rows)
    return ExitCode.DONE


@app.command
def add(
    name: str,
    *,
    capability: Capabilities = None,
    instructions: str = "",
    model: str | None = None,
    as_json: Json = False,
) -> int:
    """Add an agent. Without a capability it may use no tool.

    Example: mycelos agent add gardener --capability github.read

    Parameters
    ----------
    name
        Lower-case letters, digits and hyphens.
    instructions
        What the model is told before each chat.
    model
        The name of a model endpoint; the first one where none is named.
    """
    body = {"name": name, "instructions": instructions, "capabilities": _checked(capability or []), "model": model}
    _show(connect().post("api", "agents", answer=Agent, body=body), as_json)
    return ExitCode.DONE


@app.command
def show(name: str, *, as_json: Json = False) -> int:
    """Show one agent.

    Example: mycelos agent show assistant
    """
    _show(connect().get("api", "agents", name, answer=Agent), as_json)
    return ExitCode.DONE


@app.command
def edit(
    name: str,
    *,
    capability: Capabilities = None,
    instructions: str | None = None,
    model: str | None = None,
    as_json: Json = False,
) -> int:
    """Change what is given; `--capability` replaces the whole set, `--no-capability` empties it.

    Example: mycelos agent edit assistant --capability github.read --capability web.read

    Parameters
    ----------
    instructions
        What the model is told before each chat.
    model
        The name of a model endpoint; an empty text means the first one.
    """
    given = {
        "capabilities": None if capability is None else _checked(capability),
        "instructions": instructions,
        "model": model,
    }
    change = {field: value for field, value in given.items() if value is not None}
    if not change:
        message = "Nothing to change was given."
        raise CommandError(message, "See: mycelos agent edit --help", ExitCode.WRONG_USAGE)
    _show(connect().patch("api", "agents", name, answer=Agent, body=change), as_json)
    return ExitCode.DONE


@app.command
def remove(name: str) -> int:
    """Remove an agent; its chats stay.

    Example: mycelos agent remove gardener
    """
    connect().delete("api", "agents", name)
    say(f"removed {name}")
    return ExitCode.DONE


def _checked(capabilities: list[str]) -> list[str]:
    for capability in capabilities:
        try:
            check_capability(capability)
        except NameRefusedError as error:
            message = f"--capability {capability}: {error}."
            raise CommandError(message, exit_code=ExitCode.WRONG_USAGE) from None
    return capabilities


def _show(agent: Agent, as_json: bool) -> None:
    if as_json:
        print_json(agent)
        return
    say(f"agent         {agent.name}")
    say(f"capabilities  {', '.join(agent.capabilities) or 'none: it may use no tool'}")
    say(f"model         {agent.model or 'the first one'}")
    # Further lines stand below the first one: none can look like a field of ours.
    say(f"instructions  {_INDENT.join(agent.instructions.splitlines()) or '-'}")
