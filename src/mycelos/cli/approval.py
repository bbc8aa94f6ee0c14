"""``mycelos approval``: requests that wait for a person, shown exactly, decided once, through the operator's door."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.framed import say_framed
from mycelos.cli.gateway_client import running_state
from mycelos.cli.operator_command import operator_door, wrong_usage
from mycelos.cli.output import CommandError, ExitCode, print_json, say
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient
from mycelos.operator.shown_body import Body
from mycelos.wire.approvals import ApprovalView, DecideApproval
from mycelos.wire.identifiers import IdentifierError, Kind, parse_identifier

app = App(name="approval", help="Decide requests that wait for a person, each once.")

Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]
Approval = Annotated[str, Parameter(help="the request's id, from mycelos approval list")]
Decision = Annotated[Literal["approve", "refuse"], Parameter(help="approve or refuse")]


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """List the requests that wait, the oldest first.

    Example: mycelos approval list
    """
    with operator_door() as client:
        waiting = client.approvals()
        if json:
            print_json(waiting)
            return ExitCode.DONE
        if not waiting:
            say("No request waits for a person.")
            return ExitCode.DONE
        for one in waiting:
            for name, value in (
                ("ID", one.id),
                ("Credential", one.service),
                ("Until", one.expires_at),
                ("Method", one.method),
                ("URL", one.url),
            ):
                _say_value(name, value)
            _say_said("Agent", one.agent)
            say()
        say(_how_to_decide(client))
    return ExitCode.DONE


@app.command
def show(approval: Approval, *, json: Json = False) -> int:
    """Show one request exactly as it will be sent, with {credential} for the secret.

    Example: mycelos approval show appr_01h2xcejqtf2nbrexx3vqjhp41
    """
    with operator_door() as client:
        found = _find(client, approval)
        if json:
            print_json(found)
        else:
            _print_request(found)
    return ExitCode.DONE


@app.command
def decide(approval: Approval, decision: Decision, *, json: Json = False) -> int:
    """Approve one request, which is then sent once, or refuse it. Prints what was decided.

    Example: mycelos approval decide appr_01h2xcejqtf2nbrexx3vqjhp41 approve
    """
    with operator_door() as client:
        found = _find(client, approval)
        # The digest is that of what is printed here: nothing else is decided.
        client.decide_approval(DecideApproval(id=found.id, digest=found.digest, decision=decision))
        if json:
            print_json({"id": found.id, "digest": found.digest, "decision": decision})
            return ExitCode.DONE
        _print_request(found)
        say("Approved: it can be sent once." if decision == "approve" else "Refused: it is not sent.")
    return ExitCode.DONE


def _find(client: OperatorClient, approval: str) -> ApprovalView:
    try:
        parse_identifier(Kind.APPROVAL, approval)
    except IdentifierError as error:
        raise wrong_usage(detail=f"ID: {error}.", next_step="See: mycelos approval list") from None
    for found in client.approvals():
        if found.id == approval:
            return found
    message = "No request of this id waits: it was decided, has ended, or never was."
    raise CommandError(message, "See: mycelos approval list, and mycelos db audit --type confirm")


def _print_request(found: ApprovalView) -> None:
    for name, value in (
        ("ID", found.id),
        ("Credential", f"{found.service}, version {found.credential_version}, put in as {found.inject_as}"),
        ("Until", found.expires_at),
        ("Digest", found.digest),
        ("Method", found.method),
        ("URL", found.url),
    ):
        _say_value(name, value)
    _say_value("Headers", f"{len(found.headers)}, and the credential")
    # A header's name holds no colon (RFC 9110, section 5.1).
    _say_numbered([f"{name}: {value}" for name, value in found.headers])
    body = Body.of(found)
    if body is None:
        _say_value("Body", "none")
    else:
        form = "text" if body.is_text else "not text, in base64"
        _say_value("Body", f"{form}; bytes: {body.size}, lines: {len(body.lines)}")
        _say_numbered(body.lines)
        _say_value("SHA-256", body.sha256)
    say("Who asks, as the gateway says:")
    for name, value in (("Agent", found.agent), ("Run", found.run), ("Purpose", found.purpose)):
        _say_said(name, value)


def _say_value(name: str, value: str) -> None:
    say_framed(f"{name + ':':11} ", value)


def _say_said(name: str, value: str) -> None:
    """What the gateway said behind a bar, so that nothing that it says passes for our word that it said nothing."""
    if value:
        say_framed(f"  {name + ':':8} | ", value)
    else:
        say(f"  {name + ':':8} (not said)")


def _say_numbered(values: Sequence[str]) -> None:
    width = max(3, len(str(len(values))))
    for number, value in enumerate(values, 1):
        say_framed(f"  {number:{width}} | ", value)


def _how_to_decide(client: OperatorClient) -> str:
    if not client.status().passkeys:
        return "Look at one with: mycelos approval show ID - then: mycelos approval decide ID approve, or refuse"
    state = running_state(DataLayout(settings_of(os.environ).data_directory))
    page = "the vault page" if state is None else f"the vault page, {state.operator_url}"
    return (
        f"Since a passkey is enrolled, a request is approved at {page} (sign in with: mycelos open --operator).\n"
        "Look at one with: mycelos approval show ID - refuse it with: mycelos approval decide ID refuse"
    )
