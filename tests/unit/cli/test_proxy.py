from __future__ import annotations

import os
import sys

import pytest


class ReplacedError(Exception):
    """Stands for the moment at which the process becomes another program."""


@pytest.fixture
def replaced(monkeypatch):
    seen = []

    def execve(program, arguments, environment):
        seen.append((program, arguments, environment))
        raise ReplacedError

    monkeypatch.setattr(os, "execve", execve)
    return seen


def test_it_becomes_the_proxy_that_listens_where_it_is_told(mycelos, layout, replaced, monkeypatch) -> None:
    monkeypatch.setenv("MYCELOS_PROXY_LISTEN", "unix:/run/proxy.sock")
    mycelos("init")
    with pytest.raises(ReplacedError):
        mycelos("proxy", "serve")
    ((program, arguments, environment),) = replaced
    assert environment["MYCELOS_PROXY_TOKEN"] == layout.proxy_token.read_text().strip()
    assert program == sys.executable
    listen = ["--data-dir", str(layout.root), "--listen", "unix:/run/proxy.sock", "--ready-fd"]
    assert arguments[:-1] == [sys.executable, "-I", "-m", "mycelos.proxy", *listen]
    descriptor = int(arguments[-1])
    assert os.get_inheritable(descriptor)
    os.close(descriptor)


def test_without_a_place_to_listen_it_is_wrong_usage(mycelos, replaced) -> None:
    code, _, err = mycelos("proxy", "serve")
    assert code == 2
    assert "MYCELOS_PROXY_LISTEN" in err
    assert replaced == []


def test_without_a_token_it_says_how_to_make_one(mycelos, replaced, monkeypatch) -> None:
    monkeypatch.setenv("MYCELOS_PROXY_LISTEN", "unix:/run/proxy.sock")
    code, _, err = mycelos("proxy", "serve")
    assert code != 0
    assert "mycelos init" in err
    assert replaced == []
