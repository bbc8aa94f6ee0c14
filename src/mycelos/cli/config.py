"""`mycelos config`: the settings in force."""

from __future__ import annotations

import dataclasses
import os
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, print_json, print_table, say
from mycelos.configuration.environment import ConfigurationError, Environment
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import OperatorFile, read_operator_file
from mycelos.gateway.settings import GatewaySettings, read_settings
from mycelos.supervisor.checks import ServeRefusedError, check_master_key, check_settings, find_proxy_token
from mycelos.supervisor.value_checks import check_witness

app = App(name="config", help="The settings in force, and whether they can be used.")

Json = Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")]


@app.command
def check(
    *,
    settings_only: Annotated[bool, Parameter(help="Without token and key, before they are made.", negative="")] = False,
    as_json: Json = False,
) -> int:
    """Check environment, operator.toml, gateway.toml, token and key as `mycelos serve` does, and start nothing.

    Example: mycelos config check
    """
    try:
        _check(settings_only=settings_only)
    except CommandError as error:
        if not as_json:
            raise
        print_json({"usable": False, "reason": str(error)})
        return error.exit_code
    if as_json:
        print_json({"usable": True, "reason": ""})
    else:
        say("the settings can be used")
    return ExitCode.DONE


def _check(*, settings_only: bool) -> None:
    try:
        settings = check_settings(os.environ, resolve=True)
        layout = DataLayout(settings.data_directory)
        if not settings_only:
            find_proxy_token(settings, layout)
            check_master_key(settings, layout)
    except ServeRefusedError as error:
        raise CommandError(str(error), exit_code=ExitCode(error.exit_code)) from None
    _witness(settings, _operator_file(layout), layout)
    _gateway_file(layout)


@app.command
def show(*, as_json: Json = False) -> int:
    """Show every setting as it is understood; of a secret only whether it is set.

    Example: mycelos config show --json
    """
    settings = settings_of(os.environ)
    layout = DataLayout(settings.data_directory)
    values = describe(settings, _operator_file(layout), _gateway_file(layout))
    if as_json:
        print_json(values)
    else:
        print_table(("setting", "value"), [(name, _text(value)) for name, value in values.items()])
    return ExitCode.DONE


def describe(settings: Environment, operator_file: OperatorFile, gateway_file: GatewaySettings) -> dict[str, Any]:
    """The settings by name. Fields that are kept out of `repr` are secrets and appear as set or not set."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        values[field.name] = value if field.repr else "not set" if value is None else "set"
    values["data_directory"] = str(settings.data_directory)
    values["ca_file"] = None if settings.ca_file is None else str(settings.ca_file)
    values["egress_open"] = [f"{opened.host}:{opened.port}" for opened in settings.egress_open]
    values["operator.toml: sandbox.accept_missing"] = list(operator_file.sandbox.accept_missing)
    for name, value in msgspec.structs.asdict(operator_file.witness).items():
        values[f"operator.toml: witness.{name}"] = value
    for name, value in msgspec.structs.asdict(gateway_file.runs).items():
        values[f"gateway.toml: runs.{name}"] = value
    return values


def _operator_file(layout: DataLayout) -> OperatorFile:
    try:
        return read_operator_file(layout.operator_file)
    except ConfigurationError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None


def _witness(settings: Environment, operator_file: OperatorFile, layout: DataLayout) -> None:
    try:
        check_witness(settings, operator_file, layout)
    except ConfigurationError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None


def _gateway_file(layout: DataLayout) -> GatewaySettings:
    try:
        return read_settings(layout.gateway_file)
    except ConfigurationError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) or "-" if isinstance(value, list | tuple) else str(value)
