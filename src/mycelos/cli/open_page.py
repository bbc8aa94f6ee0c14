"""`mycelos open`: one-time links."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.gateway_answers import Link
from mycelos.cli.gateway_client import client_of, not_running, running_state
from mycelos.cli.output import CommandError, ExitCode, error_of, print_json, say
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import replace_plain_file
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.supervisor.state import SupervisorState
from mycelos.wire.problems import Refusal


def open_page(
    *,
    operator: Annotated[bool, Parameter(help="The vault page instead.", negative="")] = False,
    only_print: Annotated[bool, Parameter(name="--print", help="Start no browser.", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON; start no browser.", negative="")] = False,
) -> int:
    """Print a link that signs in once, and open it where there is a desktop.

    Example: mycelos open --operator
    """
    layout = DataLayout(settings_of(os.environ).data_directory)
    state = running_state(layout)
    if state is None:
        raise not_running(layout)
    if operator:
        link = _vault_link(layout)
        url = address_of(state.operator_url, link)
    else:
        link = page_link(layout, state)
        url = address_of(state.page_url, link)
    if as_json:
        print_json({"url": url, "expires_at": link.expires_at})
        return ExitCode.DONE
    say(url)
    if not only_print and sys.stdout.isatty():
        _open_in_browser(layout, url)
    return ExitCode.DONE


def page_link(layout: DataLayout, state: SupervisorState) -> Link:
    """A fresh link to the page: of the gateway's answer nothing but a code of the one form that a code has."""
    return client_of(layout, state).post("api", "auth", "link", answer=Link)


def address_of(page: str, link: Link) -> str:
    """The link as an address. Where the page is, the supervisor says, and never who answers there."""
    return f"{page}/login?code={link.code}"


def _vault_link(layout: DataLayout) -> Link:
    try:
        link = OperatorClient(layout).create_link()
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except OperatorUnavailableError as error:
        raise CommandError(error.detail, error.next_step) from None
    try:
        return msgspec.convert({"code": link.code, "expires_at": link.expires_at}, Link)
    except msgspec.ValidationError:
        message = "The proxy's answer is not of the form that this version knows."
        raise CommandError(message, "Restart the system: mycelos stop, then mycelos serve") from None


def _open_in_browser(layout: DataLayout, url: str) -> None:
    opener = shutil.which("xdg-open")
    if opener is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    # Arguments of a process can be read by every user of the machine: the code goes by a file of this user's.
    page = layout.run / "open.html"
    text = f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(url)}">\n'
    replace_plain_file(page, text.encode())
    with subprocess.Popen([opener, str(page)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        pass
