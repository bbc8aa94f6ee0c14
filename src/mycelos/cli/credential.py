"""``mycelos credential``: secrets and where they may go, through the operator's door."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from mycelos.cli.operator_command import operator_door, wrong_usage
from mycelos.cli.output import CommandError, ExitCode, print_json
from mycelos.cli.secret_input import read_secret
from mycelos.operator.client import OperatorClient
from mycelos.operator.forms import FieldError, build_bindings
from mycelos.operator.wording import describe
from mycelos.wire.operator import (
    BindCredential,
    CredentialView,
    RotateCredential,
    StoreCredential,
    check_label,
    check_service,
)

app = App(name="credential", help="Store secrets and say where they may go. Agents use them without seeing them.")

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
        _show(client.store(wanted), json, "Stored")
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
            print("No credential is stored yet. Add one with: mycelos credential add SERVICE --template NAME")
        for credential in found.credentials:
            used = f"last used {credential.last_used_at}" if credential.last_used_at else "not used yet"
            hosts = ", ".join(sorted({binding.host for binding in credential.bindings}))
            print(f"{credential.service}  {credential.label}  for {hosts}  stored {credential.created_at}, {used}")
        for service in found.damaged:
            print(f"{service}  DAMAGED: altered outside Mycelos; delete it and store it again")
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
        _show(client.bind(BindCredential(service=service, bindings=together, label=label)), json, "Bound")
    return ExitCode.DONE


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
    """Remove a credential and its secret. At a terminal it is asked whether that is meant.

    Example: mycelos credential delete github
    """
    with operator_door() as client:
        _check_service(service)
        client.status()
        if not yes and sys.stdin.isatty() and not _is_meant(service):
            raise CommandError(detail="Nothing was deleted.")
        client.delete(service)
        print(f"Deleted {service}. Revoke it at the service too, if it should be good nowhere.")
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
            print(f"{template.name}: {template.title}")
            for binding in template.bindings:
                print(f"  {describe(binding)}")
            print(f"  Left out: {template.leaves_out}")
    return ExitCode.DONE


def _find(client: OperatorClient, service: str) -> CredentialView:
    _check_service(service)
    for credential in client.credentials().credentials:
        if credential.service == service:
            return credential
    message = f"There is no credential {service}."
    raise CommandError(message, "See which there are with: mycelos credential list")


def _is_meant(service: str) -> bool:
    question = f"Delete {service}, its secret and its bindings? Type the name to go on: "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == service


def _show(credential: CredentialView, json: bool, verb: str) -> None:
    if json:
        print_json(credential)
        return
    print(f"{verb} {credential.service} ({credential.label}), version {credential.version}".strip())
    print("It may go here, and nowhere else:")
    for binding in credential.bindings:
        print(f"  {describe(binding)}")


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
