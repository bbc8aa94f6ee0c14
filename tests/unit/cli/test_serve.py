from __future__ import annotations

import os
import subprocess
import sys

import pytest
from scripted_gateway import running_state

from mycelos.cli import serve
from mycelos.supervisor.checks import ServeRefusedError

CODE = "c" * 43
LINK = {"code": CODE, "expires_at": "2026-01-01T00:10:00.000000Z"}


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (1, 1), (2, 2), (3, 3), (77, 1), (139, 1)])
def test_the_supervisors_code_is_the_commands_and_an_unknown_one_is_a_failure(
    mycelos, monkeypatch, code, shown
) -> None:
    monkeypatch.setattr(serve, "run_supervisor", lambda _environ, _announce, _log: code)
    assert mycelos("serve")[0] == shown


def test_a_refusal_is_one_line_with_its_exit_code(mycelos, monkeypatch) -> None:
    def refuse(_environ, _announce, _log):
        message = "no master key; run: mycelos init"
        raise ServeRefusedError(message, 1)

    monkeypatch.setattr(serve, "run_supervisor", refuse)
    assert mycelos("serve") == (1, "", "mycelos: no master key; run: mycelos init\n")


def test_what_is_needed_after_the_start_is_not_loaded_before_it() -> None:
    script = "import sys, mycelos.cli.serve; print([name for name in ('http.client', 'ssl') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_what_came_up_is_printed_with_a_link_at_the_end(mycelos, gateway, monkeypatch) -> None:
    gateway.answers["POST /api/auth/link"] = (200, LINK)

    def announce(_environ, say, _log):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        say(running_state(gateway.port))
        return 0

    monkeypatch.setattr(serve, "run_supervisor", announce)
    code, out, _ = mycelos("serve")
    assert code == 0
    assert out.splitlines() == [
        f"proxy      process {os.getpid()}",
        f"gateway    process {os.getpid()}",
        "vault page http://localhost:9101 (sign in with: mycelos open --operator)",
        f"page       http://localhost:{gateway.port}",
        f"open once  http://localhost:{gateway.port}/login?code={CODE}",
    ]


def test_a_link_that_cannot_be_made_does_not_stop_the_system(mycelos, gateway, monkeypatch) -> None:
    def announce(_environ, say, _log):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        say(running_state(gateway.port))
        return 0

    monkeypatch.setattr(serve, "run_supervisor", announce)
    code, out, err = mycelos("serve")
    assert code == 0
    assert out.splitlines()[-1].endswith("mycelos open")
    assert "no one-time link" in err


def test_what_is_no_terminal_is_never_told_a_link(mycelos, gateway, monkeypatch) -> None:
    gateway.answers["POST /api/auth/link"] = (200, LINK)

    def announce(_environ, say, _log):
        say(running_state(gateway.port))
        return 0

    monkeypatch.setattr(serve, "run_supervisor", announce)
    out = mycelos("serve")[1]
    assert CODE not in out
    assert out.splitlines()[-1] == "open once  get a link with: mycelos open"
    assert gateway.asked == []
