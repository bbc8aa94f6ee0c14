"""A running system whose every process writes all that its loggers can say, and a keeper of all that it says."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from running_system import PATIENCE_SECONDS, RunningSystem, clean_environment, free_port

_LOUD = """
import logging, sys
logging.Logger.getEffectiveLevel = lambda _logger: 1
logging.basicConfig(stream=sys.stderr, level=1)
"""
"""Each logger is on at its lowest level, whatever level somebody gives it; one that is disabled stays so."""

LOUD_SERVE = f"""
from dataclasses import replace
from mycelos.supervisor import child_output, main as supervisor

planned = supervisor.plan_children

def louder(plan):
    run = f"import runpy; runpy.run_module({{plan.program[1]!r}}, run_name='__main__', alter_sys=True)"
    return replace(plan, program=("-c", {_LOUD!r} + globals().get("IN_EACH", "") + run))

# No line is dropped: all of them are looked through.
child_output.BURST = 2**40
supervisor.plan_children = lambda *given: tuple(map(louder, planned(*given)))
{_LOUD}
from mycelos.cli.main import main
main()
"""


@dataclass
class LoudSystem(RunningSystem):
    """``said`` keeps every output of a command, answer, event and page, with where it came from."""

    program: tuple[str, ...] = ("-c", LOUD_SERVE)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    browsers: list[Browser] = field(default_factory=list)

    def stop(self) -> None:
        """End the browsers and the supervisor."""
        for browser in self.browsers:
            browser.client.close()
        super().stop()

    def keep(self, where: str, what: Any) -> None:
        data = (
            what if isinstance(what, bytes) else what.encode() if isinstance(what, str) else json.dumps(what).encode()
        )
        self.said.append((where, data))

    def mycelos(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = super().mycelos(*words, stdin=stdin)
        self.keep(f"output of mycelos {' '.join(words[:2])}", done.stdout + done.stderr)
        return done

    def api(self, method: str, path: str, body: Any = None) -> Any:
        found = super().api(method, path, body)
        self.keep(f"answer of {path.split('?', maxsplit=1)[0]}", found)
        return found

    def attempt(self, method: str, path: str, body: Any = None) -> int:
        """The same for what may be refused; the status."""
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = httpx2.request(method, url, json=body, headers=self.bearer(), timeout=PATIENCE_SECONDS)
        self.keep(f"answer of {path}", answer.text + str(answer.headers))
        return answer.status_code

    def ask(self, text: str, agent: str = "gardener") -> list[dict[str, Any]]:
        events = super().ask(text, agent)
        self.keep("events of a run", events)
        return events

    def at_a_terminal(self, *words: str, typed: str) -> None:
        """Run a command of ours at a terminal of its own, and type a line when it asks."""
        pid, terminal = pty.fork()
        if pid == 0:
            environment = clean_environment(MYCELOS_DATA_DIR=str(self.data), **self.environment)
            os.execve(sys.executable, [sys.executable, "-I", "-m", "mycelos.cli.main", *words], environment)
        shown = b""
        is_asked = False
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if not is_asked and b"Secret for" in shown:
                is_asked = True
                os.write(terminal, typed.encode() + b"\n")
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        self.keep(f"terminal of mycelos {' '.join(words[:2])}", shown)
        assert os.waitstatus_to_exitcode(status) == 0, shown
        assert is_asked, shown


class Browser:
    """Somebody who is signed in at one of the two pages. Everything that is shown is kept."""

    def __init__(self, system: LoudSystem, *flags: str) -> None:
        self._system = system
        self.client = httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS)
        system.browsers.append(self)
        link = system.must("open", "--print", *flags).strip()
        self.base, _, code = link.partition("/login?code=")
        answer = self.client.post(f"{self.base}/login", data={"code": code}, headers={"Origin": self.base})
        assert answer.status_code == 303, answer.text
        self.home = self.base + answer.headers["location"].removesuffix("/")

    def see(self, path: str) -> str:
        answer = self.client.get(f"{self.home}{path}", headers={"Accept": "text/html"}, follow_redirects=True)
        self._system.keep(f"page {path}", answer.text + str(answer.headers))
        return answer.text

    def submit(self, path: str, **fields: Any) -> int:
        token = self.see(path).partition('name="form_token" value="')[2].partition('"')[0]
        answer = self.client.post(
            f"{self.home}{path}", data={"form_token": token, **fields}, headers={"Origin": self.base}
        )
        self._system.keep(f"answer of the form {path}", answer.text + str(answer.headers))
        return answer.status_code


def make_loud_system(data: Path, patch: str = "") -> LoudSystem:
    """Installed, and not started. ``patch`` is run by the supervisor, and its ``IN_EACH`` by each process."""
    system = LoudSystem(data, {}, free_port(), free_port(), program=("-c", patch + LOUD_SERVE))
    system.must("init")
    return system
