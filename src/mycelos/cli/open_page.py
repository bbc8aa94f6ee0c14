"""`mycelos open`: one-time links."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
from typing import Annotated

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.gateway_client import client_of, not_running, running_state
from mycelos.cli.output import CommandError, ExitCode, error_of, print_json
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
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
        url, expires_at = _vault_link(layout, state.operator_url)
    else:
        link = client_of(layout, state).post("api", "auth", "link")
        url, expires_at = link["url"], link["expires_at"]
    if as_json:
        print_json({"url": url, "expires_at": expires_at})
        return ExitCode.DONE
    print(url)
    if not only_print and sys.stdout.isatty():
        _open_in_browser(layout, url)
    return ExitCode.DONE


def _vault_link(layout: DataLayout, operator_url: str) -> tuple[str, str]:
    try:
        link = OperatorClient(layout).create_link()
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except OperatorUnavailableError as error:
        raise CommandError(error.detail, error.next_step) from None
    return f"{operator_url}/login?code={link.code}", link.expires_at


def _open_in_browser(layout: DataLayout, url: str) -> None:
    opener = shutil.which("xdg-open")
    if opener is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    # Arguments of a process can be read by every user of the machine: the code goes by a file of this user's.
    page = layout.run / "open.html"
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(url)}">\n')
    with subprocess.Popen([opener, str(page)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        pass
