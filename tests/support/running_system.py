"""A whole installation of its own for a test: `mycelos serve` with its processes, beside a stand-in for the outside."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from mycelos.configuration.layout import DataLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 60.0
"""How long anything is waited for: a bound against hanging, never a measurement."""

TOKEN = "ghp-stand-in-7Qm2xV9sLr4TzK8w"
"""The credential of the stand-in for GitHub. No test may find it outside of the stand-in and the vault."""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer of ``condition``; fails with ``what`` when none comes in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return answer


def command_line(data: Path, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `mycelos WORDS` against one data folder."""
    return subprocess.run(
        [sys.executable, "-I", "-m", "mycelos.cli.main", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env=clean_environment(MYCELOS_DATA_DIR=str(data), **environment),
    )


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without a Mycelos setting, and ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYCELOS_")}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "200", **variables}


@contextlib.contextmanager
def stand_in_for_the_outside(token: str = TOKEN) -> Iterator[dict[str, str]]:
    """Addresses `host:port` of `model`, `api` and `thief`, served by a process on loopback."""
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-m", "mycelos.demo.outside", "--ready-fd", str(writing)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,)) as process:
        try:
            os.close(writing)
            assert process.stdin
            process.stdin.write(token.encode() + b"\n")
            process.stdin.close()
            with os.fdopen(reading, "rb") as stream:
                addresses: dict[str, str] = json.loads(stream.readline())
            yield addresses
        finally:
            process.kill()


def free_port() -> int:
    """A loopback port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class RunningSystem:
    """One installation. `start` and `stop` may be called again: the data folder stays."""

    data: Path
    outside: dict[str, str]
    port: int = field(default_factory=free_port)
    operator_port: int = field(default_factory=free_port)
    variables: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "mycelos.cli.main")
    supervisor: subprocess.Popen[bytes] | None = None

    @property
    def layout(self) -> DataLayout:
        return DataLayout(self.data)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MYCELOS_PORT": str(self.port),
            "MYCELOS_OPERATOR_PORT": str(self.operator_port),
            "MYCELOS_EGRESS_OPEN": ",".join(self.outside.values()),
            **self.variables,
        }

    def mycelos(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command of ours."""
        return command_line(self.data, *words, stdin=stdin, **self.environment)

    def must(self, *words: str, stdin: str = "") -> str:
        """Run one command that has to succeed; its standard output."""
        done = self.mycelos(*words, stdin=stdin)
        assert done.returncode == 0, f"mycelos {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start and wait until all processes are ready and the page answers."""
        self.supervisor = self.launch()
        wait_until(self.is_healthy, f"start; the log says:\n{self.log()}")

    def launch(self) -> subprocess.Popen[bytes]:
        """Start, and wait for nothing."""
        log = (self.data / "serve.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-I", *self.program, "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(MYCELOS_DATA_DIR=str(self.data), **self.environment),
            )

    def log(self) -> str:
        """What the processes wrote so far."""
        path = self.data / "serve.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def is_healthy(self) -> bool:
        """Whether every process is ready and the page answers."""
        assert self.supervisor
        assert self.supervisor.poll() is None, f"mycelos serve ended: {self.supervisor.returncode}\n{self.log()}"
        children = self.state().get("children", [])
        if not children or not all(child["ready"] for child in children):
            return False
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def state(self) -> dict[str, Any]:
        """The supervisor's state file."""
        try:
            state: dict[str, Any] = json.loads(self.layout.supervisor_state.read_bytes())
        except FileNotFoundError:
            return {}
        return state

    def pid(self, name: str) -> int | None:
        """The process id of one zone."""
        return next(child["pid"] for child in self.state()["children"] if child["name"] == name)

    def stop(self) -> None:
        """End the supervisor as a person would, and wait."""
        if self.supervisor and self.supervisor.poll() is None:
            self.supervisor.terminate()
            self.supervisor.wait(PATIENCE_SECONDS)

    def furnish(self, *capabilities: str) -> None:
        """A model, a credential, rules for the stand-in, and an agent `gardener` with these capabilities."""
        self.must(
            "credential", "add", "github", "--host", f"http://{self.outside['api']}", "--method", "GET",
            "--method", "POST", "--stdin", stdin=TOKEN,
        )  # fmt: skip
        self.must("egress", "allow", f"http://{self.outside['model']}", "--method", "POST")
        self.must(
            "model", "add", "scripted", "--format", "openai", "--url", f"http://{self.outside['model']}/v1",
            "--model", "scripted",
        )  # fmt: skip
        flags = [flag for capability in capabilities for flag in ("--capability", capability)]
        self.must("agent", "add", "gardener", "--model", "scripted", *flags)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the gateway's API as the command line does; the answer's JSON."""
        response = httpx2.request(
            method, f"http://127.0.0.1:{self.port}{path}", json=body, headers=self.bearer(), timeout=PATIENCE_SECONDS
        )
        assert response.status_code < 300, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def bearer(self) -> dict[str, str]:
        """The command line's token as a header."""
        return {"Authorization": f"Bearer {self.layout.command_line_token.read_text().strip()}"}

    def begin(self, text: str, agent: str = "gardener") -> str:
        """Open a chat, say ``text``, and return the run's id."""
        chat = self.api("POST", "/api/chats", {"agent": agent})["id"]
        run: str = self.api("POST", f"/api/chats/{chat}/messages", {"text": text})["run_id"]
        return run

    def follow(self, run: str) -> Iterator[dict[str, Any]]:
        """The run's events as ``{"kind": …, **data}`` until it ends."""
        url = f"http://127.0.0.1:{self.port}/api/runs/{run}/events"
        with httpx2.stream("GET", url, headers=self.bearer(), timeout=PATIENCE_SECONDS) as response:
            assert response.status_code == 200, response.read()
            kind = ""
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield {"kind": kind, **json.loads(value)}

    def ask(self, text: str, agent: str = "gardener") -> list[dict[str, Any]]:
        """Say ``text`` and return all events of the run."""
        return list(self.follow(self.begin(text, agent)))

    def audit(self, *flags: str, run: str | None = None) -> list[dict[str, Any]]:
        """The newest entries of the ledger, of one run or of all, in the order of the log."""
        entries: list[dict[str, Any]] = json.loads(self.must("db", "audit", "--json", "--limit", "1000", *flags))
        return sorted((entry for entry in entries if run in {None, entry["run"]}), key=lambda entry: entry["seq"])

    def seen(self, what: str) -> list[dict[str, Any]]:
        """What a part of the stand-in remembers."""
        remembered: list[dict[str, Any]] = httpx2.get(f"http://{self.outside[what]}/seen", timeout=20).json()
        return remembered


@contextlib.contextmanager
def running_system(data: Path, **variables: str) -> Iterator[RunningSystem]:
    """A fresh installation that runs, and its stand-in for the outside; both end with the block."""
    with stand_in_for_the_outside() as outside:
        system = RunningSystem(data, outside, variables=variables)
        system.must("init")
        try:
            system.start()
            yield system
        finally:
            system.stop()
            if system.supervisor and system.supervisor.poll() is None:
                system.supervisor.kill()
