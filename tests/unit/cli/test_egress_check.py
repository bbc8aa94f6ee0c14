import io
import json
import os
import sys
from dataclasses import replace

import pytest

from mycelos.cli.egress_check import check_all
from mycelos.cli.output import CommandError
from mycelos.configuration.environment import Environment, OpenedHost, read_environment


@pytest.fixture
def settings() -> Environment:
    return read_environment(os.environ)


def test_a_private_address_is_denied_and_a_public_one_allowed(
    settings: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_all("http://10.0.0.1/", resolve=False, as_json=False, settings=settings) == 5
    assert "denied (ssrf_blocked)" in capsys.readouterr().out
    assert check_all("https://1.1.1.1/", resolve=False, as_json=False, settings=settings) == 0
    assert capsys.readouterr().out.splitlines() == ["https://1.1.1.1/: allowed: public", "addresses: 1.1.1.1"]


def test_lines_of_standard_input_are_answered_one_by_one(
    settings: Environment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("http://127.0.0.1/\n\nhttps://1.1.1.1/\nnot a url\n"))
    assert check_all("-", resolve=False, as_json=False, settings=settings) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [verdict["allowed"] for verdict in verdicts] == [False, True, False]
    assert {frozenset(verdict) for verdict in verdicts} == {
        frozenset({"url", "allowed", "code", "reason", "addresses"})
    }


def test_an_opened_host_is_allowed_at_its_port_alone(settings: Environment) -> None:
    opened = replace(settings, egress_open=(OpenedHost("127.0.0.1", 8080),))
    for url, code in {"http://127.0.0.1:8080/": 0, "http://127.0.0.1:8081/": 5, "http://127.0.0.1/": 5}.items():
        assert check_all(url, resolve=False, as_json=True, settings=opened) == code


def test_an_opening_that_can_never_be_is_wrong_usage(settings: Environment) -> None:
    opened = replace(settings, egress_open=(OpenedHost("169.254.169.254", 80),))
    with pytest.raises(CommandError, match="cannot be opened") as caught:
        check_all("https://1.1.1.1/", resolve=False, as_json=True, settings=opened)
    assert caught.value.exit_code == 2
