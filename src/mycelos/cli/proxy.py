"""`mycelos proxy`: the proxy's role alone."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from cyclopts import App

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.checks import ServeRefusedError, find_proxy_token

app = App(name="proxy", help="The proxy's role alone.")


@app.command
def serve() -> NoReturn:
    """Run the proxy in the foreground, for a gateway that finds it at MYCELOS_PROXY_LISTEN.

    Example: MYCELOS_PROXY_LISTEN=unix:/run/mycelos/proxy.sock mycelos proxy serve
    """
    settings = settings_of(os.environ)
    if settings.proxy_listen is None:
        message = "MYCELOS_PROXY_LISTEN is not set."
        raise CommandError(message, "Set it to host:port or unix:/path.", ExitCode.WRONG_USAGE)
    # Nobody waits for this process's word that it serves; whoever needs to know asks /healthz.
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.set_inheritable(nobody, True)
    data = ("--data-dir", str(settings.data_directory))
    listen = ("--listen", settings.proxy_listen, "--ready-fd", str(nobody))
    try:
        token = find_proxy_token(settings, DataLayout(settings.data_directory))
    except ServeRefusedError as error:
        raise CommandError(str(error), exit_code=ExitCode(error.exit_code)) from None
    command = [sys.executable, "-I", "-m", "mycelos.proxy", *data, *listen]
    os.execve(sys.executable, command, {**os.environ, "MYCELOS_PROXY_TOKEN": token})  # noqa: S606 - our own program
