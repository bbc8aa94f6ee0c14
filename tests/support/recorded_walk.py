"""Using every route and command of a running installation, each with the event that it has to leave."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
from running_system import PATIENCE_SECONDS, RunningSystem, stand_in_for_the_outside, wait_until

from mycelos.cli.main import run
from mycelos.operator.client import OperatorClient
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader

Act = Callable[["Walk"], object]


class Walk:
    """A running system, its owner at the command line and in a browser, and what they made last."""

    def __init__(self, system: RunningSystem, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.made: dict[str, str] = {}
        self.base = f"http://localhost:{system.port}"
        self.browser = httpx2.Client(base_url=self.base, trust_env=False, timeout=PATIENCE_SECONDS)
        self.browser.headers["Origin"] = self.base

    def newest(self) -> int:
        with LedgerReader(self.system.layout.ledger) as reader:
            return max((entry.seq for entry in reader.newest(1)), default=-1)

    def events_after(self, seq: int) -> list[str]:
        with LedgerReader(self.system.layout.ledger) as reader:
            return [entry.event for entry in reader.after(seq, READ_LIMIT)]

    def expect(self, event: str, act: Act, *, in_another_ledger: bool = False) -> None:
        """Do it; its event stands in the ledger afterwards. What a run does is waited for."""
        before = -1 if in_another_ledger else self.newest()
        act(self)
        if event.startswith("run."):
            wait_until(lambda: event in self.events_after(before), event)
        left = self.events_after(before)
        assert event in left, (event, left)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return self.system.api(method, path, body)

    def attempt(self, method: str, path: str, **options: Any) -> int:
        """The status of a request that may be refused, by nobody in particular."""
        url = f"http://127.0.0.1:{self.system.port}{path}"
        return httpx2.request(method, url, trust_env=False, timeout=PATIENCE_SECONDS, **options).status_code

    def sign_in(self) -> None:
        code = self.api("POST", "/api/auth/link")["code"]
        assert self.browser.post("/login", data={"code": code}).status_code == 303

    def submit(self, path: str, *, status: int = 303, **fields: str) -> Any:
        """A form of the page, with its session's token; where the answer leads is kept."""
        token = self.browser.get("/agents").text.partition('name="form_token" value="')[2].partition('"')[0]
        answer = self.browser.post(path, data={"form_token": token, **fields})
        assert answer.status_code == status, (path, answer.status_code, answer.text[:400])
        self.made["chat"] = answer.headers.get("location", "").rpartition("/")[2]
        return answer

    def make(self, name: str, path: str, body: Any) -> None:
        found = self.api("POST", path, body)
        self.made[name] = found["run_id"] if "run_id" in found else found["id"]

    def open_run(self) -> str:
        return next(str(one["id"]) for one in self.api("GET", "/api/runs") if not one["finished_at"])

    def settle(self) -> None:
        """Every run has ended."""
        wait_until(lambda: all(one["finished_at"] for one in self.api("GET", "/api/runs")), "the runs end")

    def mycelos(self, *words: str, code: int | None = 0, stdin: str = "") -> str:
        """One command in this process; its output."""
        environment = {"MYCELOS_DATA_DIR": str(self.system.data), "NO_COLOR": "1", **self.system.environment}
        output = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with (
            mock.patch.dict("os.environ", environment),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
            contextlib.redirect_stdout(output),
        ):
            done = run(words)
            output.flush()
        text = output.buffer.getvalue().decode()  # type: ignore[attr-defined]  # it is a BytesIO
        assert code is None or done == code, (words, done, text)
        return text

    def held(self) -> str:
        """The id of a request that waits for a person."""
        self.mycelos(
            "credential", "bind", "github", "--host", f"http://{self.system.outside['api']}", "--method", "GET",
            "--confirm",
        )  # fmt: skip
        self.system.begin("what are the open issues?")
        waiting = wait_until(OperatorClient(self.system.layout).approvals, "a request waits for a person")
        return str(waiting[0].id)


@contextlib.contextmanager
def walked_system(folder: Path) -> Iterator[Walk]:
    """A furnished installation with a model that never answers, which a run waits for until it is cancelled."""
    data = folder / "data"
    data.mkdir(mode=0o711)
    with stand_in_for_the_outside() as outside, socket.create_server(("127.0.0.1", 0)) as silent:
        system = RunningSystem(data, {**outside, "silent": f"127.0.0.1:{silent.getsockname()[1]}"})
        system.must("init")
        walk = Walk(system, folder)
        try:
            system.start()
            system.furnish("github.read")
            walk.mycelos("egress", "allow", f"http://{system.outside['silent']}", "--method", "POST")
            yield walk
        finally:
            walk.browser.close()
            system.stop()
            if system.supervisor and system.supervisor.poll() is None:
                system.supervisor.kill()
