"""`mycelos demo`: the whole house in a temporary folder, with a stand-in for the outside, in a few minutes' reading.

Each step is a command that a person could type, shown with what it printed. What is claimed at the end is looked
up where it cannot be pretended: in what the stand-in saw, and in the ledger.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mycelos.configuration.layout import STATE_VARIABLE
from mycelos.demo.findings import Evidence, judge
from mycelos.supervisor.supervise import LAUNCHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

_PATIENCE_SECONDS: Final = 60.0
_ENDED_BY_SIGTERM: Final = 128 + signal.SIGTERM
_COMMAND: Final = (sys.executable, "-I", "-m", "mycelos.cli.main")


class TourError(Exception):
    """A step did not go as it must; the text says which and what it printed."""


class Tour:
    """One installation in a temporary folder, and the commands given to it."""

    def __init__(self, data: Path, outside: Mapping[str, str], token: str, say: Callable[[str], None]) -> None:
        self._outside = outside
        self._token = token
        self._say = say
        self._log = data.parent / "serve.log"
        variables = {
            "MYCELOS_DATA_DIR": str(data),
            "MYCELOS_PORT": str(_free_port()),
            "MYCELOS_OPERATOR_PORT": str(_free_port()),
            "MYCELOS_EGRESS_OPEN": ",".join(outside.values()),
            # What the proxy remembers beside the data folder goes with the demo.
            STATE_VARIABLE: str(data.parent / "state"),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MYCELOS_")}
        self._environment = kept | variables

    def show(self, *words: str, stdin: str = "") -> str:
        """Run one command, show it and what it printed, and return that.

        Raises:
            TourError: it failed.
        """
        self._say(f"\n$ mycelos {shlex.join(words)}")
        text = self._run(*words, stdin=stdin)
        self._say(text.rstrip())
        return text

    def _run(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [*_COMMAND, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=self._environment,
        )
        if done.returncode:
            message = f"mycelos {words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
            raise TourError(message)
        return done.stdout

    @contextlib.contextmanager
    def serve(self) -> Iterator[None]:
        """The running system."""
        self._say("\n$ mycelos serve")
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*_bound_to_this_process(), *_COMMAND, "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        try:
            self._wait_for_health(process)
            self._say("proxy, operator page, spawner and gateway are up")
            yield
        finally:
            process.terminate()
            process.wait(_PATIENCE_SECONDS)

    def _wait_for_health(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        url = f"http://127.0.0.1:{self._environment['MYCELOS_PORT']}/healthz"
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"the system did not start:\n{self._log.read_text(errors='replace')}"
                raise TourError(message)
            time.sleep(0.05)

    def furnish(self) -> None:
        """A credential, a model, an agent that may read and not write."""
        api, model = f"http://{self._outside['api']}", f"http://{self._outside['model']}"
        self.show("credential", "add", "github", "--host", api, "--method", "GET", "--stdin", stdin=self._token)
        self.show("egress", "allow", model, "--method", "POST")
        self.show("model", "add", "scripted", "--format", "openai", "--url", f"{model}/v1", "--model", "scripted")
        self.show("agent", "add", "gardener", "--model", "scripted", "--capability", "github.read")
        self.show("agent", "edit", "gardener", "--capability", "github.read", "--capability", "web.read")

    def talk(self) -> Evidence:
        """Three conversations and a look at the ledger; what they left behind."""
        answer = self.show("chat", "--agent", "gardener", "--once", "What are the open issues?")
        write = self.show("chat", "--agent", "gardener", "--once", "Write a comment on the first one.")
        theft = self.show("chat", "--agent", "gardener", "--once", "Now do the theft.")
        self.show("db", "audit", "--suspicious")
        verified = self.show("db", "audit", "verify")
        ledger = self._run("db", "audit", "--json", "--limit", "1000")
        return Evidence(
            token=self._token,
            answer=answer,
            refusals=write + theft,
            ledger=ledger,
            verified=verified,
            seen_by_model=json.dumps(self._seen("model")),
            seen_by_api=self._seen("api"),
            seen_by_thief=self._seen("thief"),
        )

    def _seen(self, what: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://{self._outside[what]}/seen", timeout=20) as response:
            remembered: list[dict[str, Any]] = json.load(response)
        return remembered


def say_at_once(line: str) -> None:
    """Print a line now, also where the output goes to a file or another program."""
    print(line, flush=True)  # noqa: T201 - the tour is what it says


def run_tour(*, keep: bool, say: Callable[[str], None] = say_at_once) -> int:
    """Give the tour; 0 when everything was as it must be, 1 otherwise.

    Args:
        keep: leave the page open afterwards, until the person ends the command.
        say: where each line goes.
    """
    token = f"ghp-demo-{secrets.token_urlsafe(24)}"
    folder = Path(tempfile.mkdtemp(prefix="mycelos-demo-"))
    # The sandbox's users pass through the folder to their workspaces; what is in it guards itself.
    folder.chmod(0o711)
    try:
        with _ended_in_order(), _stand_in(token) as outside:
            say("The outside is a stand-in on loopback: a scripted model (no intelligence), an API in the shape of")
            say("GitHub's, and a thief. Everything else is the real thing.")
            return _give(Tour(folder / "data", outside, token, say), keep=keep, say=say)
    except TourError as error:
        say(f"\nThe tour stopped: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give(tour: Tour, *, keep: bool, say: Callable[[str], None]) -> int:
    tour.show("init")
    with tour.serve():
        tour.furnish()
        findings = judge(tour.talk())
        say("")
        for finding in findings:
            say(f"{'shown ' if finding.holds else 'FAILED'}  {finding.title}: {finding.text}")
        if keep:
            tour.show("open")
            say("The page stays open. End it with Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    return 0 if all(finding.holds for finding in findings) else 1


@contextlib.contextmanager
def _stand_in(token: str) -> Iterator[dict[str, str]]:
    reading, writing = os.pipe()
    module = ("-I", "-m", "mycelos.demo.outside", "--ready-fd", str(writing))
    command = [*_bound_to_this_process(), sys.executable, *module]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,)) as process:
        try:
            os.close(writing)
            if process.stdin is None:
                message = "the stand-in has no standard input"
                raise TourError(message)
            process.stdin.write(token.encode() + b"\n")
            process.stdin.close()
            with os.fdopen(reading, "rb") as stream:
                addresses: dict[str, str] = json.loads(stream.readline())
            yield addresses
        finally:
            process.terminate()


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Within the block SIGTERM unwinds the tour as Ctrl-C does, so that folder and processes go."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(_ENDED_BY_SIGTERM)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _bound_to_this_process() -> tuple[str, ...]:
    # What the tour starts ends with it, also where it is killed.
    return (sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
