from __future__ import annotations

import base64
import json

import pytest

SECRETS = {
    "MYCELOS_MASTER_KEY": base64.b64encode(b"0123456789abcdef0123456789abcdef").decode(),
    "MYCELOS_PROXY_TOKEN": "t" * 43,
    "MYCELOS_PASSWORD": "correct horse battery",
    "MYCELOS_PASSWORD_HASH": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
}


def test_settings_are_shown_and_of_secrets_only_whether_they_are_set(mycelos, monkeypatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MYCELOS_EGRESS_OPEN", "ollama.lan:11434")
    _, table, _ = mycelos("config", "show")
    _, text, _ = mycelos("config", "show", "--json")
    shown = json.loads(text)
    assert shown["egress_open"] == ["ollama.lan:11434"]
    assert [shown[name] for name in ("master_key", "proxy_token", "password", "password_hash")] == ["set"] * 4
    for value in (*SECRETS.values(), "0123456789abcdef"):
        assert value not in table + text


def test_a_witness_is_shown_and_checked_with_what_the_operators_file_says(mycelos, monkeypatch, layout) -> None:
    mycelos("init")
    monkeypatch.setenv("MYCELOS_WITNESS", "https://w.example")
    layout.operator_file.write_text('[witness]\nkey = "nonsense"\n')
    layout.operator_file.chmod(0o600)
    shown = json.loads(mycelos("config", "show", "--json")[1])
    assert (shown["witness"], shown["operator.toml: witness.key"]) == ("https://w.example", "nonsense")
    code, _, err = mycelos("config", "check")
    assert (code, "witness.key in operator.toml" in err) == (2, True)
    layout.operator_file.write_text('[witness]\nurl = "https://other.example"\n')
    assert "MYCELOS_WITNESS and witness.url in operator.toml are both set" in mycelos("config", "check")[2]


def test_settings_that_can_be_used_are_said_to_be(mycelos) -> None:
    mycelos("init")
    assert mycelos("config", "check")[:2] == (0, "the settings can be used\n")
    assert json.loads(mycelos("config", "check", "--json")[1]) == {"usable": True, "reason": ""}


@pytest.mark.parametrize(
    "variables",
    [
        {"MYCELOS_OPERATOR_PORT": "9100"},
        {"MYCELOS_PASSWORD_HASH": "x"},
        {"MYCELOS_CA_FILE": __file__},
        {"MYCELOS_EGRESS_OPEN": "127.0.0.1:9101"},
        {"MYCELOS_WITNESS": "notes"},
        {"MYCELOS_MASTER_KEY": SECRETS["MYCELOS_MASTER_KEY"]},
    ],
)
def test_serve_refuses_with_the_same_words(mycelos, monkeypatch, variables) -> None:
    mycelos("init")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checked = mycelos("config", "check")
    assert mycelos("serve") == checked
    assert checked[0] != 0


@pytest.mark.parametrize(
    ("variables", "code", "word"),
    [
        ({"MYCELOS_PROT": "1"}, 2, "MYCELOS_PORT"),
        ({"MYCELOS_BIND": "0.0.0.0"}, 2, "MYCELOS_PASSWORD"),
        ({"MYCELOS_PROXY_LISTEN": "127.0.0.1:9110"}, 2, "MYCELOS_PROXY_LISTEN"),
        ({"MYCELOS_OPERATOR_PORT": "9100"}, 2, "MYCELOS_PORT and MYCELOS_OPERATOR_PORT"),
        ({"MYCELOS_PASSWORD": "correct", "MYCELOS_PASSWORD_HASH": "x"}, 2, "both set"),
        ({"MYCELOS_PASSWORD_HASH": "x"}, 2, "mycelos password set"),
        ({"MYCELOS_CA_FILE": __file__}, 2, "MYCELOS_CA_FILE"),
        ({"MYCELOS_EGRESS_OPEN": "169.254.169.254:80"}, 2, "cannot be opened"),
        ({"MYCELOS_EGRESS_OPEN": "localhost:9101"}, 2, "Mycelos itself listens"),
        ({"MYCELOS_MASTER_KEY": SECRETS["MYCELOS_MASTER_KEY"]}, 1, "two different keys"),
    ],
)
def test_settings_that_cannot_be_used_are_named(mycelos, monkeypatch, variables, code, word) -> None:
    mycelos("init")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found, _, err = mycelos("config", "check")
    assert found == code
    assert word in err
    found, out, _ = mycelos("config", "check", "--json")
    assert found == code
    told = json.loads(out)
    assert told["usable"] is False
    assert err == f"mycelos: {told['reason']}\n"


def test_a_missing_key_is_named(mycelos) -> None:
    code, _, err = mycelos("config", "check")
    assert code == 1
    assert "mycelos init" in err


def test_the_settings_alone_can_be_checked_before_a_key_is_made(mycelos, monkeypatch, layout) -> None:
    assert mycelos("config", "check", "--settings-only")[0] == 0
    monkeypatch.setenv("MYCELOS_OPERATOR_PORT", "9100")
    assert mycelos("config", "check", "--settings-only")[0] == 2
    assert not layout.master_key.exists()


def test_a_bad_operator_file_is_named_with_the_key(mycelos, layout) -> None:
    mycelos("init")
    layout.operator_file.write_text("[sandbox]\naccept_mising = []\n")
    layout.operator_file.chmod(0o600)
    for words in (("config", "check"), ("config", "show")):
        code, _, err = mycelos(*words)
        assert code == 2
        assert "accept_missing" in err


def test_a_bad_gateway_file_is_named_with_the_key_and_the_fix(mycelos, layout) -> None:
    mycelos("init")
    layout.gateway_file.parent.mkdir()
    layout.gateway_file.write_text("[runs]\nsecond = 60\n")
    for words in (("config", "check"), ("config", "show")):
        code, _, err = mycelos(*words)
        assert code == 2
        assert f"{layout.gateway_file}: unknown key [runs] second; the nearest one that exists is seconds" in err
    layout.gateway_file.write_text("[runs]\nseconds = 60\n")
    assert mycelos("config", "check")[0] == 0
    assert json.loads(mycelos("config", "show", "--json")[1])["gateway.toml: runs.seconds"] == 60
