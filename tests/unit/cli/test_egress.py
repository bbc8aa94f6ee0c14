import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mycelos.cli.main import run
from mycelos.configuration.layout import DataLayout

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(layout: DataLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(("egress", *arguments))
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


@pytest.mark.parametrize("arguments", [("list",), ("allow", "a.example"), ("remove", "a.example"), ("web", "on")])
def test_when_nothing_runs_every_command_says_so(command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert "is not running" in err


def test_the_list_says_how_the_question_of_web_was_answered(operator_system: Any, command: Command) -> None:
    assert "web: not answered yet (off); answer with: mycelos egress web on" in command("list")[1]
    for answer in ("off", "on", "off"):
        assert command("web", answer)[0] == 0
        assert f"web: {answer}\n" in command("list")[1]


def test_rules_are_allowed_listed_and_removed(operator_system: Any, command: Command) -> None:
    assert "nothing is asked for without a credential" in command("list")[1]
    code, out, _ = command("allow", "https://a.example", "--method", "GET", "--method", "HEAD")
    assert code == 0
    assert out.count("https://a.example") == 2
    assert command("allow", "b.example:8443", "--json")[0] == 0
    rules = json.loads(command("list", "--json")[1])
    assert [(rule["method"], rule["host"], rule["port"]) for rule in rules] == [
        ("GET", "a.example", 443), ("HEAD", "a.example", 443), ("GET", "b.example", 8443),
    ]  # fmt: skip
    assert command("remove", "https://a.example", "--method", "HEAD")[0] == 0
    assert command("remove", rules[2]["id"])[0] == 0
    assert [rule.host for rule in operator_system.rules.list()] == ["a.example"]
    assert command("remove", "a.example")[0] == 0
    assert operator_system.rules.list() == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://10.0.0.1", "https://localhost"])
def test_a_rule_for_a_host_that_the_guard_refuses_says_so(operator_system: Any, command: Command, url: str) -> None:
    code, _, err = command("allow", url)
    assert (code, err.count(f"nothing will go to {url} all the same: ")) == (0, 1)
    assert command("allow", "https://example.com")[2] == ""


def test_a_host_that_was_opened_by_name_needs_no_warning(
    operator_system: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYCELOS_EGRESS_OPEN", "127.0.0.1:8080")
    assert command("allow", "http://127.0.0.1:8080")[2] == ""


def test_reading_the_whole_web_is_turned_on_and_off(operator_system: Any, command: Command) -> None:
    code, out, _ = command("web", "on")
    assert code == 0
    assert (out.count("every public host, by https\n"), out.count("every public host, by http\n")) == (2, 2)
    assert {rule.method for rule in operator_system.rules.list()} == {"GET", "HEAD"}
    assert command("web", "off")[0] == 0
    assert operator_system.rules.list() == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("allow", "https://a.example/path"), "url: expected"),
        (("allow", "*.example"), "url: expected"),
        (("allow", "a.example", "--method", "FETCH"), "methods: expected"),
        (("web", "perhaps"), "state"),
        (("allow",), "url"),
    ],
)
def test_wrong_usage_ends_with_two_and_says_what_to_correct(
    operator_system: Any, command: Command, arguments: tuple[str, ...], text: str
) -> None:
    code, _, err = command(*arguments)
    assert code == 2
    assert text.lower() in err.lower()
    assert operator_system.rules.list() == []


@pytest.mark.parametrize("arguments", [("-",), ("-", "--json"), ("--json", "-")])
def test_check_reads_urls_from_standard_input(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("http://10.0.0.1/\nhttps://93.184.216.34/\n"))
    code, out, _ = command("check", *arguments)
    assert code == 0
    assert [json.loads(line)["allowed"] for line in out.splitlines()] == [False, True]


def test_an_option_of_check_that_does_not_exist_is_still_refused(command: Command) -> None:
    assert command("check", "--bogus")[0] == 2
    assert command("check", "https://a.example/", "--bogus")[0] == 2


@pytest.mark.parametrize("url", ["a.example", "nope"])
def test_a_rule_that_does_not_exist_cannot_be_removed(operator_system: Any, command: Command, url: str) -> None:
    code, out, err = command("remove", url)
    assert (code, out) == (1, "")
    assert "There is no such rule. See which" in err


def test_check_needs_no_running_system(command: Command) -> None:
    code, out, _ = command("check", "http://169.254.169.254/latest", "--json")
    assert (code, json.loads(out)["allowed"]) == (5, False)
