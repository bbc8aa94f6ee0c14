import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from software_authenticator import SoftwareAuthenticator
from vault_page import ServedVaultPage as Page
from vault_page import page_text

from mycelos.proxy.egress.approval_check import Asked, State

ASKED = Asked(
    "github", "cred_1", 3, "POST", "https://api.example/repos/a/issues", "bearer",
    (("accept", "application/json"), ("content-type", "application/json")), b'{"title": "hello"}',
    "run_1", "helper", "github.write",
)  # fmt: skip
EVIL = replace(
    ASKED,
    url='https://api.example/"><script>alert(1)</script>',
    headers=(("accept", "text/plain\x1b[2J<script>"),),
    body="pay 1\u202e000,1\u202c <script>alert(2)</script>\r\n</code>⟨U+0041⟩\u200b".encode(),
    agent="helper</dd><form action='https://attacker.example'>",
    run="",
    purpose='" onmouseover="alert(3)',
)


def hold(operator_system: Any, asked: Asked = ASKED) -> Any:
    return operator_system.approvals.hold(asked)


def enrol(page: Page, key: SoftwareAuthenticator) -> None:
    made = key.create(options_of(page.submit("/passkeys/new", label="laptop")))
    assert page.submit("/passkeys/enrol", credential=json.dumps(made)).status_code == 303


def options_of(answer: Any) -> Any:
    found = re.search(r'data-options="([^"]+)"', answer.text)
    assert found
    return json.loads(unescape(found[1]))


def test_the_empty_page_says_what_comes_here(signed_in: Page) -> None:
    assert "Nothing waits for you." in page_text(signed_in.get("/approvals"))


def test_a_request_is_shown_exactly_as_it_will_be_sent(signed_in: Page, operator_system: Any) -> None:
    held = hold(operator_system)
    listed = signed_in.get("/approvals")
    assert f"/approvals/{held.id}" in listed.text
    shown = page_text(signed_in.get(f"/approvals/{held.id}"))
    for words in (
        "Method POST URL https://api.example/repos/a/issues",
        "Headers: 2, and the credential No. Name Value 1 accept application/json 2 content-type application/json",
        "Credential authorization Bearer (the secret)",
        f'Text: 18 bytes in 1 line. 1 {{"title": "hello"}} SHA-256 {hashlib.sha256(ASKED.body or b"").hexdigest()}',
        "Who asks, as the gateway says Agent helper Run run_1 Purpose github.write",
        "github (version 3)", held.digest, held.expires_at,
    ):  # fmt: skip
        assert words in shown, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"body": None}, "Body none"),
        ({"body": b""}, "Body empty"),
        ({"body": b"\xff\x00"}, "It is no text; here in base64: 2 bytes in 1 line. 1 /wA="),
        ({"inject_as": "header:X-Key"}, "Credential X-Key (the secret)"),
        ({"inject_as": "basic:me"}, "Credential authorization Basic me : (the secret)"),
        ({"body": b"to: alice\namount: 5\n"}, "20 bytes in 2 lines. 1 to: alice ⟨U+000A⟩ 2 amount: 5 ⟨U+000A⟩ SHA-256"),
        ({"agent": "", "run": "", "purpose": ""}, "Agent not said Run not said Purpose not said When"),
        ({"inject_as": "url_path", "url": "https://a.example/bot{credential}/x"}, "/bot{credential}/x"),
    ],
)
def test_every_form_of_a_request_is_shown(
    signed_in: Page, operator_system: Any, changes: dict[str, Any], words: str
) -> None:
    held = hold(operator_system, replace(ASKED, **changes))
    assert words in page_text(signed_in.get(f"/approvals/{held.id}"))


def test_a_hostile_request_is_inert_and_what_hides_in_it_is_written_out(signed_in: Page, operator_system: Any) -> None:
    held = hold(operator_system, EVIL)
    for path in ("/approvals", f"/approvals/{held.id}"):
        answer = signed_in.get(path)
        assert "<script" not in answer.text
        assert "attacker.example'" not in answer.text.replace("&#39;", "")
        assert not re.findall(r"<[^>]*\sonmouseover=", answer.text)
        assert not set(answer.text) & set("\x1b\r\u202e\u202c\u200b")
    assert answer.text.count("<form") == 3
    shown = page_text(answer)
    assert "pay 1 ⟨U+202E⟩ 000,1 ⟨U+202C⟩ ⟨space⟩ <script>alert(2)</script> ⟨U+000D⟩ ⟨U+000A⟩ 2 </code>" in shown
    # A bracket of the stranger's own does not pass for one of ours.
    assert "⟨U+27E8⟩ U+0041 ⟨U+27E9⟩" in shown


PAD = " " * 200
PAIRS = [
    ({"headers": (("accept", f"application/json{PAD}idempotency-key: 42{PAD}prefer: return=minimal, dry-run"),)},
     {"headers": (("accept", "application/json"), ("idempotency-key", "42"), ("prefer", "return=minimal, dry-run"))}),
    ({"body": f"to: alice{PAD}amount: 5".encode()}, {"body": b"to: alice\namount: 5"}),
    ({"body": b"pay=1"}, {"body": b"pay=1\n"}),
    ({"body": b"pay=1"}, {"body": b"pay=1   "}),
    ({"body": "a\ufffcc".encode()}, {"body": b"a c"}),
    ({"agent": "helper, in the run run_1"}, {"agent": "helper", "run": "run_1"}),
    ({"agent": ""}, {"agent": "not said"}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_different_requests_are_two_different_tables(
    signed_in: Page, operator_system: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    shown = []
    for changes in (one, other):
        held = hold(operator_system, replace(ASKED, **{"run": "", **changes}))
        page = signed_in.get(f"/approvals/{held.id}").text
        cells = re.findall(r"<(?:td|th)\b.*?</(?:td|th)>", page)
        shown.append([cell for cell in cells if held.digest not in cell])
        # The hash alone would tell them apart, and nobody compares it.
        shown[-1] = [cell for cell in shown[-1] if not re.search(r"\b[0-9a-f]{64}\b", cell)]
    assert shown[0] != shown[1]
    assert not any("  " in cell for cells in shown for cell in cells)


@pytest.mark.parametrize(("word", "state"), [("approve", State.APPROVED), ("refuse", State.REFUSED)])
def test_a_request_is_decided_once_by_what_was_shown(
    signed_in: Page, operator_system: Any, word: str, state: State
) -> None:
    held = hold(operator_system)
    answer = signed_in.submit(f"/approvals/{held.id}", digest=held.digest, decision=word)
    assert answer.headers["location"] == f"{signed_in.home}/approvals?done={word}"
    assert operator_system.approvals.find(held.id).state is state
    again = signed_in.submit(f"/approvals/{held.id}", digest=held.digest, decision="approve")
    assert again.status_code == 404
    assert operator_system.approvals.find(held.id).state is state


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"digest": "0" * 64, "decision": "approve"}, 409),
        ({"digest": "x", "decision": "approve"}, 400),
        ({"decision": "approve"}, 400),
        ({"decision": "maybe"}, 400),
        ({}, 400),
    ],
)
def test_what_was_not_shown_or_is_no_decision_is_refused(
    signed_in: Page, operator_system: Any, fields: dict[str, str], status: int
) -> None:
    held = hold(operator_system)
    assert signed_in.submit(f"/approvals/{held.id}", **fields).status_code == status
    assert operator_system.approvals.waiting() == (held,)


def test_with_a_passkey_enrolled_a_session_alone_approves_nothing(signed_in: Page, operator_system: Any) -> None:
    key = SoftwareAuthenticator()
    enrol(signed_in, key)
    first = hold(operator_system)
    second = hold(operator_system, replace(ASKED, run="run_2"))
    path = f"/approvals/{first.id}"
    shown = signed_in.get(path)
    assert "Approve it, once, with a passkey" in page_text(shown)
    fields = {"digest": first.digest, "decision": "approve"}
    assert signed_in.submit(path, **fields).status_code == 400
    of_another = key.get(options_of(signed_in.get(f"/approvals/{second.id}")))
    refused = signed_in.submit(path, **fields, credential=json.dumps(of_another))
    assert refused.status_code == 403
    assert "not asked" in page_text(refused)
    assert operator_system.approvals.waiting() == (first, second)
    signed = json.dumps(key.get(options_of(shown)))
    assert signed_in.submit(path, **fields, credential=signed).status_code == 303
    assert operator_system.approvals.find(first.id).state is State.APPROVED
    # To say no takes nothing but the session.
    answer = signed_in.submit(f"/approvals/{second.id}", digest=second.digest, decision="refuse")
    assert answer.status_code == 303
    assert operator_system.approvals.waiting() == ()


def test_without_a_session_nothing_is_shown_or_decided(page: Page, operator_system: Any) -> None:
    held = hold(operator_system)
    for path in ("/approvals", f"/approvals/{held.id}"):
        assert page.browser.get(f"/s/{'x' * 43}{path}").headers["location"] == "/login"
    page.post(f"/s/{'x' * 43}/approvals/{held.id}", {"digest": held.digest, "decision": "approve"})
    assert operator_system.approvals.waiting() == (held,)
