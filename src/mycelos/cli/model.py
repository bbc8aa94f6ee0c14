"""`mycelos model`: model endpoints by name, wire format and credential."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mycelos.cli.gateway_answers import Model, Tested
from mycelos.cli.gateway_client import connect
from mycelos.cli.output import ExitCode, one_line, print_json, print_table, say

app = App(name="model", help="Model endpoints by name.")

Json = Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")]


@app.command
def add(
    name: str,
    *,
    url: str,
    model: str,
    format: Literal["openai", "anthropic"] = "openai",  # noqa: A002 - the option's name
    credential: str | None = None,
    as_json: Json = False,
) -> int:
    """Add an endpoint. The first one serves the agents that name none.

    Example: mycelos model add big --url https://api.openai.com/v1 --model gpt-5 --credential openai

    Parameters
    ----------
    name
        What agents call it.
    url
        The address before `/chat/completions` (openai) or `/v1/messages` (anthropic).
    model
        The model's name at the provider.
    format
        The wire format.
    credential
        The service in the vault whose secret is injected; none where the endpoint wants none.
    """
    body = {"name": name, "format": format, "base_url": url, "model": model, "credential": credential}
    added = connect().post("api", "models", answer=Model, body=body)
    if as_json:
        print_json(added)
        return ExitCode.DONE
    # What a person may copy from here into a shell is the person's own words, not the gateway's.
    say(f"added {name}: {one_line(model)} at {one_line(url)}")
    if credential is None:
        say(f"Its requests need a rule: mycelos egress allow {shlex.quote(one_line(url))} --method POST")
    say(f"Try it with: mycelos model test {name}")
    return ExitCode.DONE


@app.command(name="list")
def list_(*, as_json: Json = False) -> int:
    """Show all endpoints, oldest first.

    Example: mycelos model list
    """
    models = connect().get("api", "models", answer=list[Model])
    if as_json:
        print_json(models)
    else:
        heads = ("name", "format", "model", "address", "credential")
        rows = [(model.name, model.format, model.model, model.base_url, model.credential or "-") for model in models]
        print_table(heads, rows)
    return ExitCode.DONE


@app.command(name="test")
def try_out(name: str, *, as_json: Json = False) -> int:
    """Ask the endpoint for one short answer.

    Example: mycelos model test claude
    """
    answer = connect().post("api", "models", name, "test", answer=Tested)
    if as_json:
        print_json(answer)
    else:
        say(f"{name} answers: {answer.answer}")
    return ExitCode.DONE


@app.command
def remove(name: str) -> int:
    """Remove an endpoint.

    Example: mycelos model remove claude
    """
    connect().delete("api", "models", name)
    say(f"removed {name}")
    return ExitCode.DONE
