import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from software_authenticator import SoftwareAuthenticator

from mycelos.cli.main import run
from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.approval_check import Asked, Held, State
from mycelos.supervisor.state import SupervisorState
from mycelos.wire.passkeys import Registration

Command = Callable[..., tuple[int, str, str]]
UNKNOWN = "appr_01h2xcejqtf2nbrexx3vqjhp41"
EVIL = Asked(
    service="github",
    credential_id="cred_1",
    credential_version=2,
    method="POST",
    url="https://api.example/repos/a",
    inject_as="bearer",
    headers=(("accept", "text/plain\x1b[2J"), ("user-agent", "mycelos")),
    body="first\nApproved: it can be sent once.\n\x1b[1Aforged \u202ereversed".encode(),
    run="run_1",
    agent="helper\nDigest: 0000",
    purpose="github.write.comment",
)


@pytest.fixture
def command(layout: DataLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(("approval", *arguments))
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


@pytest.fixture
def held(operator_system: Any) -> Held:
    found: Held = operator_system.approvals.hold(EVIL)
    return found


@pytest.mark.parametrize("arguments", [("list",), ("show", UNKNOWN), ("decide", UNKNOWN, "approve")])
def test_when_nothing_runs_every_command_says_so(command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert "is not running" in err


def test_an_empty_list_says_so(operator_system: Any, command: Command) -> None:
    assert command("list")[:2] == (0, "No request waits for a person.\n")
    assert json.loads(command("list", "--json")[1]) == []


def test_the_list_names_what_waits_and_how_to_decide_it(held: Held, command: Command) -> None:
    code, out, _ = command("list")
    assert code == 0
    assert held.id in out
    assert "approval decide ID approve" in out
    (listed,) = json.loads(command("list", "--json")[1])
    assert (listed["id"], listed["digest"], listed["body_base64"]) == (held.id, held.digest, None)
    assert listed["body_text"].encode() == EVIL.body


def test_a_request_is_shown_exactly_and_nothing_in_it_passes_for_a_line_of_ours(held: Held, command: Command) -> None:
    code, out, _ = command("show", held.id)
    assert code == 0
    assert out.isprintable() or all(line.isprintable() for line in out.split("\n"))
    lines = out.split("\n")
    assert "URL:        https://api.example/repos/a" in lines
    assert "Headers:    2, and the credential" in lines
    assert "    1 | accept: text/plain⟨U+001B⟩[2J" in lines
    assert f"Body:       text; bytes: {len(EVIL.body or b'')}, lines: 3" in lines
    assert "    1 | first⟨U+000A⟩" in lines
    assert "    2 | Approved: it can be sent once.⟨U+000A⟩" in lines
    assert "    3 | ⟨U+001B⟩[1Aforged⟨space⟩⟨U+202E⟩reversed" in lines
    assert f"SHA-256:    {hashlib.sha256(EVIL.body or b'').hexdigest()}" in "".join(lines).replace(
        "|            | ", ""
    )
    assert [line for line in lines if line.startswith("Digest:")] == [f"Digest:     {held.digest}"]
    assert not any(line.startswith("Approved") for line in lines)
    assert json.loads(command("show", held.id, "--json")[1])["url"] == EVIL.url


OURS = re.compile(
    r"(ID|Credential|Until|Digest|Method|URL|Headers|Body|SHA-256): {1,10}\S|Who asks, as the gateway says:\Z"
    r"|  (Agent|Run|Purpose): +(\| |\(not said\)\Z)| +[0-9]* \| |Refused: it is not sent\.\Z"
    r"|No request waits|Look at one with|\Z"
)
FORGED = [
    "Body:       none", "ID:         appr_00000000000000000000000000", "No body.", "Approved: it can be sent once.",
    "    2 | prefer: dry-run", "  Agent:   (not said)", "(not said)",
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("filler", [" ", "x", "世", "\u00a0", "\t"])
def test_no_line_begins_with_anything_but_our_words_or_the_bar_at_any_padding(
    operator_system: Any, command: Command, monkeypatch: pytest.MonkeyPatch, width: int, filler: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    evil = ["".join(f"{filler * count}{words}" for words in FORGED) for count in range(width - 14, width + 3, 3)]
    asked = replace(
        EVIL, headers=tuple((f"x-{number}", value) for number, value in enumerate(evil)), body="\n".join(evil).encode(),
        agent=evil[0], run=evil[1], purpose=evil[2], url=f"https://api.example/{'x' * 300}",
    )  # fmt: skip
    held = operator_system.approvals.hold(asked)
    for arguments in (("list",), ("show", held.id), ("decide", held.id, "refuse")):
        code, out, _ = command(*arguments)
        assert code == 0
        for line in out.split("\n"):
            assert OURS.match(line), line
            assert len(line) < width or line.startswith("Look at one with"), line
        for words, times in {"ID:": 1, "Body:": arguments[0] != "list", "Refused:": arguments[0] == "decide"}.items():
            assert sum(line.startswith(words) for line in out.split("\n")) == times
        assert not re.search(r"^(Approved|No body|\(not)", out, re.MULTILINE)


def test_what_was_not_said_is_told_from_words_that_say_so(operator_system: Any, command: Command) -> None:
    said = operator_system.approvals.hold(replace(EVIL, agent="(not said)", run="", purpose=""))
    lines = command("show", said.id)[1].split("\n")
    assert "  Agent:   | (not said)" in lines
    assert "  Run:     (not said)" in lines
    assert "  Purpose: (not said)" in lines


def test_with_a_passkey_the_list_names_the_vault_page_and_no_command_that_is_always_refused(
    operator_system: Any, held: Held, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = "0" * 64
    key = SoftwareAuthenticator()
    made = key.create(operator_system.client.begin_enrolment(session, "laptop"))
    operator_system.client.finish_enrolment(session, msgspec.convert(made, Registration))
    out = command("list")[1]
    assert "a request is approved at the vault page (sign in with: mycelos open --operator)" in out
    assert "decide ID approve" not in out
    assert command("decide", held.id, "approve")[0] == 1
    state = SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, 1, "", "http://localhost:9101", ())
    monkeypatch.setattr("mycelos.cli.approval.running_state", lambda _: state)
    assert "approved at the vault page, http://localhost:9101 (sign in" in command("list")[1]
    assert command("decide", held.id, "refuse")[0] == 0


def test_bytes_that_are_no_text_and_no_body_at_all_are_shown_as_what_they_are(
    operator_system: Any, command: Command
) -> None:
    for body, text in (
        (b"\xff\x00", "    1 | /wA="),
        (b"\xff\x00", "Body:       not text, in base64; bytes: 2, lines: 1"),
        (None, "Body:       none"),
        (b"", "Body:       text; bytes: 0, lines: 0"),
    ):
        found = operator_system.approvals.hold(replace(EVIL, body=body))
        assert text in command("show", found.id)[1].split("\n")


@pytest.mark.parametrize(("word", "state"), [("approve", State.APPROVED), ("refuse", State.REFUSED)])
def test_a_request_is_decided_once(operator_system: Any, held: Held, command: Command, word: str, state: State) -> None:
    code, out, _ = command("decide", held.id, word)
    assert code == 0
    assert held.digest in out
    assert out.strip().split("\n")[-1].startswith(word.capitalize().removesuffix("e"))
    assert operator_system.approvals.find(held.id).state is state
    code, out, err = command("decide", held.id, word)
    assert (code, out) == (1, "")
    assert "No request of this id waits" in err


def test_json_says_what_was_decided(held: Held, command: Command) -> None:
    code, out, _ = command("decide", held.id, "refuse", "--json")
    assert (code, json.loads(out)) == (0, {"id": held.id, "digest": held.digest, "decision": "refuse"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("decide",),
        ("decide", UNKNOWN),
        ("decide", "approve"),
        ("decide", "approve", UNKNOWN),
        ("decide", UNKNOWN, "approved"),
        ("decide", "../x", "approve"),
        ("show", "run_01h2xcejqtf2nbrexx3vqjhp41"),
        ("show",),
    ],
)
def test_wrong_usage_is_said_and_decides_nothing(
    operator_system: Any, held: Held, command: Command, arguments: tuple[str, ...]
) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert operator_system.approvals.waiting() == (held,)
