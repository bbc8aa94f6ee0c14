import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.operator import main as module
from mycelos.sandbox.errors import Layer, SandboxRefused

WAIT = 60.0


@contextmanager
def running(layout: DataLayout, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """The process as the supervisor starts it; gives its port and the read end of the ready pipe."""
    ready, announce = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "mycelos.operator", "--data-dir", str(layout.root),
             "--listen-fd", str(listener.fileno()), "--ready-fd", str(announce),
             "--public-url", f"http://localhost:{port}"],
            pass_fds=[listener.fileno(), announce], env={"PATH": os.environ["PATH"], **environment},
            stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(announce)
        try:
            yield process, port, ready
        finally:
            process.kill()
            process.communicate(timeout=WAIT)
            os.close(ready)


def first_line(descriptor: int) -> bytes:
    readable, _, _ = select.select([descriptor], [], [], WAIT)
    assert readable, "nothing was said in time"
    return os.read(descriptor, 100)


def test_the_confined_process_says_that_it_is_ready_and_serves_the_page_over_the_door(operator_system: Any) -> None:
    with running(operator_system.layout) as (process, port, ready):
        assert first_line(ready) == b"ready\n"
        base = f"http://localhost:{port}"
        with httpx2.Client(base_url=base, timeout=WAIT, trust_env=False) as browser:
            code = operator_system.client.create_link().code
            signed = browser.post("/login", data={"code": code}, headers={"Origin": base})
            assert signed.status_code == 303
            assert "No credential is stored yet." in browser.get(signed.headers["location"]).text
        with socket.create_connection(("127.0.0.1", port), WAIT) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert raw.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) in {0, -signal.SIGTERM}


def test_what_is_loaded_at_the_start_is_not_looked_through_after_each_form(layout: DataLayout) -> None:
    before = gc.get_freeze_count()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        module._make_server(layout, listener, "http://localhost:9101", None)
    assert gc.get_freeze_count() > before


@pytest.mark.parametrize("name", ["MYCELOS_MASTER_KEY", "MYCELOS_MASTER_KEY_FILE"])
def test_with_the_master_key_in_its_environment_it_does_not_start(operator_system: Any, name: str) -> None:
    with running(operator_system.layout, **{name: "c2VjcmV0LWNhbmFyeQ=="}) as (process, _, ready):
        assert process.wait(WAIT) == 1
        assert first_line(ready) == b""
        error = process.stderr.read() if process.stderr else b""
        assert b"the master key is in the environment" in error
        assert b"c2VjcmV0" not in error


def test_a_wall_that_is_missing_ends_the_process(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_arguments: object) -> None:
        raise SandboxRefused(Layer.LANDLOCK, "this kernel has none", "Use another kernel")

    monkeypatch.setattr(module, "confine_operator", refuse)
    arguments = ["--data-dir", str(layout.root), "--listen-fd", "99", "--public-url", "http://localhost:1"]
    assert module.main(arguments) == 3
    assert "landlock" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--data-dir", "x"], ["--data-dir", "x", "--listen-fd", "no"]])
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        module.main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
