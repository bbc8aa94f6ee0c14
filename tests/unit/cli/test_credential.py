import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mycelos.cli.main import run
from mycelos.configuration.layout import DataLayout

SECRET = "canary-cli-771f"
Command = Callable[..., tuple[int, str, str]]


class Terminal(io.TextIOWrapper):
    """Standard input at which a person sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def command(layout: DataLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``mycelos`` against the data folder; exit code, output, errors."""
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))

    def call(*arguments: str, stdin: str = SECRET, terminal: bool = False) -> tuple[int, str, str]:
        with (Terminal if terminal else io.TextIOWrapper)(io.BytesIO(stdin.encode())) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


ADD = ("credential", "add", "github", "--template", "github", "--stdin")
CALLS = [
    ("list",), ("show", "github"), ("templates",), ("delete", "github"), ("rotate", "github", "--stdin"),
    ("bind", "github", "--host", "a.example"), ("add", "github", "--template", "github", "--stdin"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", CALLS)
def test_when_nothing_runs_every_command_says_so(command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = command("credential", *arguments)
    assert (code, out) == (1, "")
    assert "is not running" in err
    assert "mycelos serve" in err


def test_a_credential_is_stored_listed_shown_and_deleted(operator_system: Any, command: Command) -> None:
    assert "No credential is stored yet" in command("credential", "list")[1]
    code, out, err = command(*ADD)
    assert (code, err) == (0, "")
    assert "Stored github (github), version 1" in out
    assert "https://api.github.com/repos" in out
    for shown in (command("credential", "list")[1], command("credential", "show", "github")[1]):
        assert "api.github.com" in shown
        assert SECRET not in shown
    with operator_system.vault.open_secret(operator_system.vault.find("github")) as secret:
        assert secret.matches(SECRET.encode())
    assert command("credential", "delete", "github")[0] == 0
    assert operator_system.vault.list() == []


def test_json_is_the_doors_own_answer(operator_system: Any, command: Command) -> None:
    added = json.loads(command(*ADD, "--json")[1])
    assert json.loads(command("credential", "list", "--json")[1]) == {"credentials": [added], "damaged": []}
    assert json.loads(command("credential", "show", "github", "--json")[1]) == added
    templates = json.loads(command("credential", "templates", "--json")[1])
    assert {"github", "telegram"} <= {template["name"] for template in templates}


def test_a_credential_for_a_host_takes_every_flag(operator_system: Any, command: Command, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    code, _, err = command(
        "credential", "add", "example", "--host", "a.example", "--host", "http://127.0.0.1:8080", "--method", "GET",
        "--method", "post", "--path-prefix", "/v1/items", "--inject-as", "header:X-Key", "--label", "mine",
        "--confirm", "--from-file", str(token),
    )  # fmt: skip
    assert (code, err) == (0, "")
    (stored,) = operator_system.vault.list()
    assert stored.label == "mine"
    assert [(b.scheme, b.host, b.port, b.path, b.confirm) for b in stored.bindings] == [
        ("https", "a.example", 443, ("v1", "items"), True),
        ("http", "127.0.0.1", 8080, ("v1", "items"), True),
    ]


def test_binding_replaces_or_adds(operator_system: Any, command: Command) -> None:
    command("credential", "add", "example", "--host", "a.example", "--stdin")
    assert command("credential", "bind", "example", "--host", "b.example", "--add", "--label", "two")[0] == 0
    assert [binding.host for binding in operator_system.vault.find("example").bindings] == ["a.example", "b.example"]
    assert command("credential", "bind", "example", "--host", "c.example")[0] == 0
    found = operator_system.vault.find("example")
    assert ([binding.host for binding in found.bindings], found.label, found.version) == (["c.example"], "two", 3)


def test_a_secret_is_rotated(operator_system: Any, command: Command) -> None:
    command(*ADD)
    assert command("credential", "rotate", "github", "--stdin", stdin="the-next-one\n")[0] == 0
    with operator_system.vault.open_secret(operator_system.vault.find("github")) as secret:
        assert secret.matches(b"the-next-one")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("add", "Git Hub", "--template", "github", "--stdin"), "service: expected"),
        (("add", "github", "--stdin"), "say where the secret may go"),
        (("add", "github", "--template", "github", "--host", "a.example", "--stdin"), "leave --host"),
        (("add", "github", "--template", "none", "--stdin"), "template: there is none"),
        (("add", "github", "--host", "*.example", "--stdin"), "host: expected"),
        (("add", "github", "--host", "a.example", "--method", "FETCH", "--stdin"), "methods: expected"),
        (("add", "github", "--host", "a.example", "--path-prefix", "/../x", "--stdin"), "path-prefix: expected"),
        (("add", "github", "--host", "a.example", "--inject-as", "cookie", "--stdin"), "inject-as: expected"),
        (("add", "github", "--host", "a.example", "--label", "a\u202eb", "--stdin"), "label: expected"),
        (("add", "github", "--template", "github"), "--stdin or --from-file"),
        (("add", "github", "--template", "github", "--secret", SECRET), "--secret"),
        (("bind", "github"), "host: expected at least one host"),
    ],
)
def test_wrong_usage_ends_with_two_and_says_what_to_correct(
    operator_system: Any, command: Command, arguments: tuple[str, ...], text: str
) -> None:
    code, out, err = command("credential", *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert operator_system.vault.list() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nothing"),
        ("rotate", "nothing", "--stdin"),
        ("bind", "nothing", "--host", "a.example"),
        ("bind", "nothing", "--add", "--host", "a.example"),
        ("delete", "nothing"),
    ],
)
def test_a_name_that_does_not_exist_fails(operator_system: Any, command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = command("credential", *arguments)
    assert (code, out) == (1, "")
    assert "nothing" in err


@pytest.mark.parametrize(("answer", "code"), [("github\n", 0), ("y\n", 1), ("\n", 1), ("", 1)])
def test_at_a_terminal_a_person_confirms_the_deletion(
    operator_system: Any, command: Command, answer: str, code: int
) -> None:
    command(*ADD)
    found, _, err = command("credential", "delete", "github", stdin=answer, terminal=True)
    assert found == code
    assert "Delete github" in err
    assert (operator_system.vault.find("github") is None) is (code == 0)


def test_yes_deletes_without_a_question(operator_system: Any, command: Command) -> None:
    command(*ADD)
    assert command("credential", "delete", "github", "--yes", stdin="", terminal=True)[0] == 0
    assert operator_system.vault.find("github") is None


@pytest.mark.parametrize("group", ["credential", "egress"])
def test_an_example_can_be_copied_as_it_is(command: Command, group: str) -> None:
    for name in ("add", "delete", "show") if group == "credential" else ("allow", "check", "web"):
        assert f"Example: mycelos {group} {name}" in command(group, name, "--help")[1]


def test_a_name_that_exists_fails_and_names_rotate(operator_system: Any, command: Command) -> None:
    command(*ADD)
    code, _, err = command(*ADD)
    assert code == 1
    assert "mycelos credential rotate github" in err


def test_no_command_takes_the_secret_as_an_argument(operator_system: Any, command: Command) -> None:
    for arguments in (("add", "github", SECRET, "--template", "github"), ("rotate", "github", SECRET)):
        assert command("credential", *arguments)[0] == 2
    for name in ("add", "rotate"):
        code, out, _ = command("credential", name, "--help")
        assert code == 0
        assert "Example" in out
        assert "--secret" not in out
