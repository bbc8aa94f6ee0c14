import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mycelos.cli.main import run
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient
from mycelos.proxy.vault.records import park_all
from mycelos.wire.operator import CredentialTested

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
    ("list",), ("show", "github"), ("templates",), ("delete", "github", "--yes"), ("rotate", "github", "--stdin"),
    ("bind", "github", "--host", "a.example"), ("test", "github"), ("add", "github", "--template", "github", "--stdin"),
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
    assert command("credential", "delete", "github", "--yes")[0] == 0
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
    token.chmod(0o600)
    code, _, err = command(
        "credential", "add", "example", "--host", "a.example", "--host", "http://127.0.0.1:8080", "--method", "GET",
        "--method", "post", "--path-prefix", "/v1/items", "--inject-as", "header:X-Key", "--label", "mine",
        "--confirm", "--from-file", str(token),
    )  # fmt: skip
    assert (code, err.count("\n")) == (0, 1)
    assert "nothing will go to http://127.0.0.1:8080 all the same" in err
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
        ("delete", "nothing", "--yes"),
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


@pytest.mark.parametrize(
    "words", [("delete", "github"), ("confirm", "github"), ("confirm", "--all"), ("arm", "github")]
)
def test_where_nobody_can_be_asked_it_takes_a_yes(
    operator_system: Any, command: Command, words: tuple[str, ...]
) -> None:
    command(*ADD)
    vault = operator_system.vault
    vault.database.run_now(lambda connection: park_all(connection, vault.keys.slot, "2026-11-26T12:00:00Z"))
    vault.adopt(*vault.database.run_now(vault.read))
    code, _, err = command("credential", *words, stdin="github\n")
    assert (code, "--yes: expected" in err) == (2, True)
    (credential,) = vault.list()
    assert credential.parked_at is not None


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "github", SECRET), ("add", "github", "--template", "github", SECRET), (SECRET,),
        ("rotate", "github", SECRET), ("add", "github", f"--secret={SECRET}"), ("add", "github", f"--stdin={SECRET}"),
        ("add", "github", f"--{SECRET}"),
        ("add", "github", "--template", "github", "--confirm", SECRET), ("list", SECRET), ("delete", "github", SECRET),
    ],
)  # fmt: skip
def test_a_secret_that_was_typed_as_an_argument_is_not_repeated(
    operator_system: Any, command: Command, arguments: tuple[str, ...]
) -> None:
    code, out, err = command("credential", *arguments)
    assert code == 2
    assert SECRET not in out + err
    assert "See: mycelos credential" in err


@pytest.mark.parametrize(
    ("secret", "flags", "why"),
    [
        ("ab", (), "shorter than 8 bytes"),
        ("pässwörd", (), "outside ASCII and cannot stand in a header"),
        ("two words", ("--inject-as", "header:X-Key"), "cannot stand in a header"),
    ],
)
def test_a_secret_that_could_never_be_used_is_refused_with_the_field(
    operator_system: Any, command: Command, secret: str, flags: tuple[str, ...], why: str
) -> None:
    code, _, err = command("credential", "add", "example", "--host", "a.example", "--stdin", *flags, stdin=secret)
    assert code == 2
    assert "secret: " in err
    assert why in err
    assert secret not in err
    assert operator_system.vault.list() == []


@pytest.mark.parametrize(
    ("tested", "code", "words"),
    [
        (CredentialTested(url="https://a.example/me", status=200), 0, "GET https://a.example/me: status 200, taken"),
        (CredentialTested(url="https://a.example/me", status=401), 1, "status 401, not taken"),
    ],
)
def test_a_test_shows_the_status_and_says_by_its_exit_code_whether_it_was_taken(
    command: Command, monkeypatch: pytest.MonkeyPatch, tested: CredentialTested, code: int, words: str
) -> None:
    monkeypatch.setattr(OperatorClient, "test", lambda *_: tested)
    assert command("credential", "test", "github")[::2] == (code, "")
    assert words in command("credential", "test", "github")[1]
    assert json.loads(command("credential", "test", "github", "--json")[1])["status"] == tested.status


def test_a_test_that_was_refused_says_why(operator_system: Any, command: Command) -> None:
    command("credential", "add", "example", "--host", "a.example", "--path-prefix", "/v1", "--stdin")
    code, out, err = command("credential", "test", "example", "--path", "/v2")
    assert (code, out) == (1, "")
    assert "not bound to this request" in err
    assert command("credential", "test", "example")[0] == 2
    code, _, err = command("credential", "test", "example", "--path", "v2")
    assert (code, "path" in err) == (2, True)
    command("credential", "add", "asked", "--host", "a.example", "--confirm", "--stdin")
    assert command("credential", "test", "asked", "--path", "/x")[0] == 4


def test_arming_says_what_it_gives_away_and_wants_the_name_or_yes(operator_system: Any, command: Command) -> None:
    command("credential", "add", "telegram", "--template", "telegram", "--stdin")
    code, out, err = command("credential", "arm", "telegram")
    assert (code, out) == (2, "")
    assert "--yes: expected" in err
    code, out, err = command("credential", "arm", "telegram", stdin="no\n", terminal=True)
    assert (code, out) == (1, "")
    for told in ("in plain", "once, within five minutes", "only the service can take it back", "Nothing was armed"):
        assert told in err
    assert operator_system.events("credential.armed") == []
    code, out, err = command("credential", "arm", "telegram", stdin="telegram\n", terminal=True)
    assert (code, "Armed telegram, version 1" in out) == (0, True)
    armed = json.loads(command("credential", "arm", "telegram", "--yes", "--json")[1])
    assert (armed["service"], armed["seconds"]) == ("telegram", 300)
    assert SECRET not in out + err + str(armed)


def test_what_cannot_be_armed_is_refused(operator_system: Any, command: Command) -> None:
    command(*ADD)
    code, out, err = command("credential", "arm", "github", "--yes")
    assert (code, out) == (1, "")
    assert "Only telegram" in err
    assert command("credential", "arm", "telegram", "--yes")[0] == 1
    assert command("credential", "arm", "Tele gram", "--yes")[0] == 2
    assert operator_system.events("proxy.credential_materialized") == []


def test_parked_credentials_are_shown_and_confirmed_with_what_they_are_for(
    operator_system: Any, command: Command
) -> None:
    command(*ADD)
    command("credential", "add", "other", "--host", "b.example", "--stdin")
    vault = operator_system.vault
    vault.database.run_now(lambda connection: park_all(connection, vault.keys.slot, "2026-11-26T12:00:00Z"))
    vault.adopt(*vault.database.run_now(vault.read))
    for shown in (command("credential", "list")[1], command("credential", "show", "github")[1]):
        assert "PARKED since 2026-11-26T12:00:00Z" in shown
        assert "mycelos credential confirm github" in shown
    # At a terminal it is asked for; another word leaves it.
    code, out, _ = command("credential", "confirm", "github", terminal=True, stdin="no\n")
    assert (code, "Confirmed: none" in out) == (0, True)
    code, out, _ = command("credential", "confirm", "github", terminal=True, stdin="github\n")
    assert (code, "Confirmed: github" in out) == (0, True)
    assert "https://api.github.com/repos" in out
    assert vault.find("github") is not None
    code, out, _ = command("credential", "confirm", "--all", "--yes", "--json")
    assert [one["service"] for one in json.loads(out)] == ["other"]
    assert "PARKED" not in command("credential", "list")[1]


@pytest.mark.parametrize("words", [(), ("github", "--all")])
def test_to_confirm_one_names_one_or_all(command: Command, words: tuple[str, ...]) -> None:
    code, _, err = command("credential", "confirm", *words)
    assert (code, "--all" in err) == (2, True)


@pytest.mark.parametrize(
    ("origin", "opened"), [("http://127.0.0.1:8080", "127.0.0.1:8080"), ("https://10.0.0.1", "10.0.0.1:443")]
)
def test_a_binding_to_a_host_that_the_guard_refuses_says_so_and_an_opened_one_does_not(
    operator_system: Any, command: Command, monkeypatch: pytest.MonkeyPatch, origin: str, opened: str
) -> None:
    added = ("credential", "add", "inside", "--host", origin, "--host", "api.example", "--stdin")
    bound = ("credential", "bind", "inside", "--host", origin)
    for arguments in (added, bound):
        code, out, err = command(*arguments)
        assert (code, err.count(f"nothing will go to {origin} all the same: ")) == (0, 1)
        assert "api.example" not in err
        assert "It may go here" in out
    assert command("credential", "bind", "inside", "--host", "api.example")[2] == ""
    monkeypatch.setenv("MYCELOS_EGRESS_OPEN", opened)
    assert command(*bound)[2] == ""
