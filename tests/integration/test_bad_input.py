"""The same bad input at every way in, by command, door and page: its field is named, nothing of it is kept."""

from __future__ import annotations

import http.client
import importlib.util
import io
import json
import re
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from vault_page import served_vault_page

from mycelos.cli.main import run
from mycelos.wire.operator import SECRET_LIMIT

MARK = "canary-bad-7d1c"
GOOD = MARK.encode()

SECRETS = {
    "empty": (b"", "empty"),
    "short": (b"abcdefg", "shorter than 8 bytes"),
    "huge": (b"a" * (SECRET_LIMIT + 1), "longer than 65536 bytes"),
    "huge in two-byte letters": ("é".encode() * (SECRET_LIMIT // 2 + 1), "longer than 65536 bytes"),
    "with a line break": (f"{MARK}\n{MARK}".encode(), "line break"),
    "with a carriage return": (f"{MARK}\r{MARK}".encode(), "line break"),
    "with a NUL": (f"{MARK}\0".encode(), "NUL"),
    "with an escape": (f"{MARK}\x1b[2J".encode(), "control character"),
    "with a C1 control": (f"{MARK}\x85".encode(), "control character"),
    "with a space before": (f" {MARK}".encode(), "space"),
    "with a space behind": (f"{MARK}\u00a0".encode(), "space"),
}
"""What a secret cannot be, and what the error says of it."""

NAMES = (
    "",
    "Git Hub",
    "a" * 65,
    "git\nhub",
    "gıthub",
    "ｇithub",
    "github\0",
    "../github",
    "-github",
    "0github",
    "gitʰub",
)
LABELS = ("a\u202eb", "a\u200bb", "a\nb", "x" * 129, "a\0b", "a\x9bb")
LOOK_ALIKES = ("mai1-box", "mailb0x", "mail_box", "rnailbox", "ma1lbox")


def load_operator_system():
    """The module beside the tests' root conftest; test folders are no packages."""
    path = Path(__file__).resolve().parents[1] / "operator_system.py"
    spec = importlib.util.spec_from_file_location("operator_system", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def system(layout):
    running = load_operator_system().OperatorSystem(layout)
    running.start()
    yield running
    running.close()


@pytest.fixture
def by_command(system, monkeypatch, capsys):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(system.layout.root))

    def store(service=b"mailbox", label=b"", secret=GOOD):
        words = ["credential", "add", f"--label={label.decode()}", "--host", "a.example", "--stdin"]
        with io.TextIOWrapper(io.BytesIO(secret)) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            code = run([*words, "--", service.decode()])
        written = capsys.readouterr()
        return code == 0, written.out + written.err

    return store


@pytest.fixture
def by_door(system):
    bindings = [
        {
            "v": 1, "scheme": "https", "host": "a.example", "port": 443, "methods": ["GET"], "path": ["v1"],
            "query": "none", "inject": {"form": "bearer"}, "confirm": False, "quota": None,
            "response": {"set_cookie": "drop", "location_query": "redact"},
        }
    ]  # fmt: skip

    def store(service=b"mailbox", label=b"", secret=GOOD):
        message = {
            "service": service.decode(),
            "label": label.decode(),
            "secret": secret.decode(),
            "bindings": bindings,
        }
        connection = http.client.HTTPConnection("operator", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(system.layout.operator_socket))
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {system.layout.operator_token.read_text()}",
        }
        with closing(connection):
            with suppress(BrokenPipeError):
                connection.request("POST", "/credential/store", json.dumps(message), headers)
            answer = connection.getresponse()
            return answer.status == 201, answer.read().decode()

    return store


@pytest.fixture
def by_page(system):
    with served_vault_page(system.layout) as page:
        assert page.sign_in(system.client.create_link().code).status_code == 303

        def store(service=b"mailbox", label=b"", secret=GOOD):
            fields = {
                "form_token": page.form_token(), "service": service, "label": label, "secret": secret, "template": "",
                "host": "a.example", "path_prefix": "", "methods": "GET", "inject": "bearer", "inject_name": "",
            }  # fmt: skip
            body = "&".join(f"{name}={quote(value)}" for name, value in fields.items())
            answer = page.browser.post(
                f"{page.home}/credentials/new",
                content=body,
                headers={
                    "Origin": page.base,
                    "Sec-Fetch-Site": "same-origin",
                    "Content-Type": "application/x-www-form-urlencoded",
                },
            )
            # What stands at a field, behind the field's name; a conflict stands above the form.
            at_fields = re.findall(r'id="(\w+)-error"[^>]*>([^<]*)', answer.text)
            told = "\n".join(f"{name}: {why}" for name, why in at_fields)
            assert MARK not in answer.text
            return answer.status_code == 303, told or answer.text

        yield store


WAYS = ["by_command", "by_door", "by_page"]


def stored(system):
    return [one.service for one in system.client.credentials().credentials]


@pytest.fixture
def store(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("store", WAYS, indirect=True)
def test_a_bad_secret_is_refused_by_its_field_and_not_quoted(system, store):
    for name, (secret, why) in SECRETS.items():
        is_stored, told = store(secret=secret)
        assert not is_stored, name
        assert "secret: " in told, name
        assert why in told, name
        assert MARK not in told, name
    assert stored(system) == []
    assert store()[0]
    assert stored(system) == ["mailbox"]


@pytest.mark.parametrize("store", WAYS, indirect=True)
def test_bytes_that_are_no_text_are_refused(system, store, request):
    for raw in (b"\xff\xfe" + bytes(range(128, 200)), b"\xed\xa0\x80-surrogate", MARK.encode("utf-16")):
        try:
            is_stored, told = store(secret=raw)
        except UnicodeDecodeError:
            # JSON is text: such a request cannot be made by a client, and by hand it is no JSON.
            assert request.node.callspec.params["store"] == "by_door"
            continue
        assert not is_stored
        assert MARK not in told
    assert stored(system) == []


@pytest.mark.parametrize("store", WAYS, indirect=True)
def test_a_bad_name_or_label_is_refused_by_its_field(system, store):
    for name in NAMES:
        is_stored, told = store(service=name.encode())
        assert not is_stored, name
        assert "service: " in told, name
        assert MARK not in told
    for label in LABELS:
        is_stored, told = store(label=label.encode())
        assert not is_stored, label
        assert "label: " in told, label
        assert MARK not in told
    assert stored(system) == []


@pytest.mark.parametrize("store", WAYS, indirect=True)
def test_a_name_that_exists_or_looks_like_one_is_refused_and_the_first_is_kept(system, store):
    assert store()[0]
    for name in ("mailbox", *LOOK_ALIKES):
        is_stored, told = store(service=name.encode(), secret=b"another-secret")
        assert not is_stored, name
        assert "mailbox" in told, name
        assert "another-secret" not in told
    assert stored(system) == ["mailbox"]
    with system.vault.open_secret(system.vault.find("mailbox")) as secret:
        assert secret.matches(GOOD)


@pytest.mark.parametrize("store", WAYS, indirect=True)
def test_the_largest_secret_and_the_longest_name_and_label_are_taken(system, store):
    largest, name, label = b"\\" * SECRET_LIMIT, b"a" * 64, "ü".encode() * 128
    is_stored, told = store(service=name, label=label, secret=largest)
    assert is_stored, told[:500]
    with system.vault.open_secret(system.vault.find(name.decode())) as secret:
        assert secret.matches(largest)
