"""``mycelos credential``: secrets and where they may go, through the operator's door."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.operator_command import operator_door, wrong_usage
from mycelos.cli.output import CommandError, ExitCode, complain, error_of, print_json, say
from mycelos.cli.secret_input import read_secret
from mycelos.operator.client import OperatorClient
from mycelos.operator.forms import FieldError, build_bindings
from mycelos.operator.wording import address, describe
from mycelos.wire.operator import (
    BindCredential,
    CredentialView,
    RotateCredential,
    StoreCredential,
    check_label,
    check_service,
)

app = App(name="credential", help="Store secrets and say where they may go. Agents use them without seeing them.")

_FIRST_ERROR_STATUS = 300

Hosts = Annotated[list[str] | None, Parameter(name="--host", help="host[:port], or http://host:port for an opened one")]
Methods = Annotated[list[str] | None, Parameter(name="--method", help="HTTP method; GET where none is named")]
Prefixes = Annotated[list[str] | None, Parameter(name="--path-prefix", help="whole segments, such as /v1/items")]
InjectAs = Annotated[str, Parameter(help="bearer, header:NAME, basic:USER or url_path")]
Service = Annotated[str, Parameter(help="the name that agents and tools ask for")]
Label = Annotated[str, Parameter(help="a note for you")]
Template = Annotated[str | None, Parameter(help="bindings for a well-known service; see mycelos credential templates")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]
Stdin = Annotated[bool, Parameter(negative="", help="read the secret from standard input")]
FromFile = Annotated[Path | None, Parameter(help="read the secret from this file")]
_GIVES_AWAY: Final = (
    "This gives the secret of {0}, in plain, to whoever asks first with the gateway's bearer: once, within five "
    "minutes. From then on no wall of Mycelos guards it, and only the service can take it back."
)
Confirm = Annotated[bool, Parameter(negative="", help="a person confirms each use")]


@app.command
def add(
    service: Service,
    *,
    template: Template = None,
    host: Hosts = None,
    method: Methods = None,
    path_prefix: Prefixes = None,
    inject_as: InjectAs = "bearer",
    label: Label = "",
    confirm: Confirm = False,
    stdin: Stdin = False,
    from_file: FromFile = None,
    json: Json = False,
) -> int:
    """Store a new credential.

    Example: mycelos credential add github --template github
    """
    with operator_door() as client:
        _check_service(service)
        _check_label(label)
        if template is not None and (host or method or path_prefix or inject_as != "bearer"):
            raise wrong_usage(
                detail="--template says it all; leave --host, --method, --path-prefix and --inject-as out"
            )
        if template is None and not host:
            raise wrong_usage(
                detail="say where the secret may go: --template NAME (see mycelos credential templates) or --host HOST"
            )
        bindings = (
            build_bindings(
                hosts=host or (),
                methods=method or (),
                path_prefixes=path_prefix or (),
                inject_as=inject_as,
                confirm=confirm,
            )
            if template is None
            else ()
        )
        client.status()
        secret = read_secret(stdin=stdin, from_file=from_file, prompt=f"Secret for {service}: ")
        wanted = StoreCredential(
            service=service, secret=secret, label=label, template=template, bindings=bindings, confirm=confirm
        )
        stored = client.store(wanted)
        _show(stored, json, "Stored")
    _say_where_nothing_goes(stored)
    return ExitCode.DONE


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """List the credentials.

    Example: mycelos credential list
    """
    with operator_door() as client:
        found = client.credentials()
        if json:
            print_json(found)
            return ExitCode.DONE
        if not found.credentials and not found.damaged:
            say("No credential is stored yet. Add one with: mycelos credential add SERVICE --template NAME")
        for credential in found.credentials:
            used = f"last used {credential.last_used_at}" if credential.last_used_at else "not used yet"
            hosts = ", ".join(sorted({binding.host for binding in credential.bindings}))
            say(f"{credential.service}  {credential.label}  for {hosts}  stored {credential.created_at}, {used}")
            _show_parked(credential)
        for service in found.damaged:
            say(f"{service}  DAMAGED: altered outside Mycelos; delete it and store it again")
    return ExitCode.DONE


@app.command
def show(service: Service, *, json: Json = False) -> int:
    """Show one credential's bindings, never its secret.

    Example: mycelos credential show github
    """
    with operator_door() as client:
        _show(_find(client, service), json, "")
    return ExitCode.DONE


@app.command
def bind(
    service: Service,
    *,
    host: Hosts = None,
    method: Methods = None,
    path_prefix: Prefixes = None,
    inject_as: InjectAs = "bearer",
    label: Annotated[str | None, Parameter(help="a new note; without it the old one stays")] = None,
    confirm: Confirm = False,
    add: Annotated[bool, Parameter(negative="", help="keep the present bindings and add these")] = False,
    json: Json = False,
) -> int:
    """Say anew where a credential may go. The bindings given replace the present ones.

    Example: mycelos credential bind github --host api.github.com --method GET --path-prefix /repos
    """
    with operator_door() as client:
        _check_label(label or "")
        bindings = build_bindings(
            hosts=host or (),
            methods=method or (),
            path_prefixes=path_prefix or (),
            inject_as=inject_as,
            confirm=confirm,
        )
        present = _find(client, service).bindings if add else ()
        together = tuple(dict.fromkeys((*present, *bindings)))
        bound = client.bind(BindCredential(service=service, bindings=together, label=label))
        _show(bound, json, "Bound")
    _say_where_nothing_goes(bound)
    return ExitCode.DONE


@app.command(name="test")
def try_out(
    service: Service,
    *,
    path: Annotated[str | None, Parameter(help="the path to ask for, instead of what its template says")] = None,
    json: Json = False,
) -> int:
    """Send one harmless GET with a credential, through the same gates as an agent's request, and show the status.

    Exit code 0 where the service took it, 1 where it did not or did not answer, 4 where a person must confirm.

    Example: mycelos credential test github
    """
    with operator_door() as client:
        _check_service(service)
        try:
            tested = client.test(service, path)
        except ValueError as error:
            raise FieldError(field="path", message=str(error).removeprefix("path: ")) from None
        if json:
            print_json(tested)
        if tested.refused is not None:
            raise error_of(tested.refused)
        is_taken = tested.status is not None and tested.status < _FIRST_ERROR_STATUS
        if not json:
            say(f"GET {tested.url}: status {tested.status}, {'taken' if is_taken else 'not taken'}")
    return ExitCode.DONE if is_taken else ExitCode.FAILED


@app.command
def rotate(service: Service, *, stdin: Stdin = False, from_file: FromFile = None, json: Json = False) -> int:
    """Put a new secret in the old one's place, with the same bindings.

    Example: mycelos credential rotate github --from-file new-token.txt
    """
    with operator_door() as client:
        _find(client, service)
        secret = read_secret(stdin=stdin, from_file=from_file, prompt=f"New secret for {service}: ")
        _show(client.rotate(RotateCredential(service=service, secret=secret)), json, "Replaced the secret of")
    return ExitCode.DONE


@app.command
def delete(service: Service, *, yes: Annotated[bool, Parameter(negative="", help="do not ask, delete")] = False) -> int:
    """Remove a credential and its secret. At a terminal it is asked whether that is meant; elsewhere it takes --yes.

    Example: mycelos credential delete github --yes
    """
    with operator_door() as client:
        _check_service(service)
        client.status()
        question = f"Delete {service}, its secret and its bindings? Type the name to go on: "
        if not yes:
            _demand_terminal(f"Without it nothing is deleted, {service} neither.")
            if not _is_meant(question, service):
                raise CommandError(detail="Nothing was deleted.")
        client.delete(service)
        say(f"Deleted {service}. Revoke it at the service too, if it should be good nowhere.")
    return ExitCode.DONE


@app.command
def arm(
    service: Service,
    *,
    yes: Annotated[bool, Parameter(negative="", help="do not ask, arm")] = False,
    json: Json = False,
) -> int:
    """Let the gateway have a credential in plain, once, within five minutes. Only telegram; nothing needs it.

    Example: mycelos credential arm telegram
    """
    with operator_door() as client:
        _find(client, service)
        if not yes:
            _demand_terminal(_GIVES_AWAY.format(service))
            if not _is_meant(f"{_GIVES_AWAY.format(service)} Type the name to go on: ", service):
                raise CommandError(detail="Nothing was armed.")
        armed = client.arm(service)
        if json:
            print_json(armed)
            return ExitCode.DONE
        say(f"Armed {service}, version {armed.credential_version}: it can be given out once, until {armed.expires_at}.")
        say("Undo it by restarting the proxy, or with: mycelos lockdown")
    return ExitCode.DONE


@app.command
def confirm(
    service: Annotated[str | None, Parameter(help="the one to confirm")] = None,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="confirm every parked one")] = False,
    yes: Annotated[bool, Parameter(negative="", help="do not ask, confirm")] = False,
    json: Json = False,
) -> int:
    """Let a credential that a restore brought back be used again: it is shown, and asked for.

    Where there is no terminal to ask at, it takes --yes.

    Example: mycelos credential confirm github
    """
    if (service is None) != all_:
        raise wrong_usage(detail="name one credential, or --all", next_step="See: mycelos credential list")
    with operator_door() as client:
        if service is not None:
            wanted = [_find(client, service)]
        else:
            wanted = [credential for credential in client.credentials().credentials if credential.parked_at]
        if not yes:
            _demand_terminal("Look first at where each may go: mycelos credential list")
        confirmed = []
        for credential in wanted:
            if not json:
                _show(credential, False, "To confirm:")
            if not yes and not _is_meant(f"Confirm {credential.service}? Type the name to go on: ", credential.service):
                continue
            confirmed.append(client.confirm(credential.service))
        if json:
            print_json(confirmed)
        else:
            say(f"Confirmed: {', '.join(credential.service for credential in confirmed) or 'none'}")
    return ExitCode.DONE


@app.command
def templates(*, json: Json = False) -> int:
    """List the templates: what each allows and what it leaves out.

    Example: mycelos credential templates
    """
    with operator_door() as client:
        found = client.templates()
        if json:
            print_json(found)
            return ExitCode.DONE
        for template in found:
            say(f"{template.name}: {template.title}")
            for binding in template.bindings:
                say(f"  {describe(binding)}")
            say(f"  Left out: {template.leaves_out}")
    return ExitCode.DONE


def _find(client: OperatorClient, service: str) -> CredentialView:
    _check_service(service)
    for credential in client.credentials().credentials:
        if credential.service == service:
            return credential
    message = f"There is no credential {service}."
    raise CommandError(message, "See which there are with: mycelos credential list")


def _demand_terminal(why: str) -> None:
    if not sys.stdin.isatty():
        raise wrong_usage(detail=f"--yes: expected, since there is no terminal to ask at. {why}")


def _is_meant(question: str, service: str) -> bool:
    say(question, end="", stream=sys.stderr)
    return sys.stdin.readline().strip() == service


def _show(credential: CredentialView, json: bool, verb: str) -> None:
    if json:
        print_json(credential)
        return
    say(f"{verb} {credential.service} ({credential.label}), version {credential.version}".strip())
    _show_parked(credential)
    say("It may go here, and nowhere else:")
    for binding in credential.bindings:
        say(f"  {describe(binding)}")


def _say_where_nothing_goes(credential: CredentialView) -> None:
    from mycelos.cli.egress_check import refused_anyway

    for origin in dict.fromkeys(address(one.scheme, one.host, one.port) for one in credential.bindings):
        if why := refused_anyway(origin, settings_of(os.environ)):
            complain(f"the binding is there, and nothing will go to {origin} all the same: {why}")


def _show_parked(credential: CredentialView) -> None:
    if credential.parked_at:
        how = f"mycelos credential confirm {credential.service}"
        say(f"  PARKED since {credential.parked_at} by a restore: not used until you confirm it with: {how}")


def _check_service(service: str) -> None:
    try:
        check_service(service)
    except ValueError as error:
        raise wrong_usage(detail=f"{error}.") from None


def _check_label(label: str) -> None:
    try:
        check_label(label)
    except ValueError as error:
        raise FieldError(field="label", message=str(error).removeprefix("label: ")) from None
