from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.configuration.environment import (
    ConfigurationError,
    OpenedHost,
    parse_master_key,
    parse_opened_hosts,
    parse_proxy_token,
    read_environment,
)
from mycelos.configuration.variables import VARIABLES

KEY = base64.b64encode(bytes(range(32))).decode()
TOKEN = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    environment = read_environment({"HOME": "/home/ada"})
    assert environment.data_directory == Path("/home/ada/.local/share/mycelos")
    assert (environment.bind, environment.port, environment.operator_port) == ("127.0.0.1", 9100, 9101)
    assert environment.binds_loopback
    assert environment.egress_open == ()
    assert environment.master_key is None
    assert environment.proxy_token is None


def test_the_platforms_data_folder_is_respected() -> None:
    environment = read_environment({"HOME": "/home/ada", "XDG_DATA_HOME": "/srv/share"})
    assert environment.data_directory == Path("/srv/share/mycelos")


def test_each_value_is_read() -> None:
    environment = read_environment(
        {
            "MYCELOS_DATA_DIR": "/srv/data",
            "MYCELOS_MASTER_KEY": KEY,
            "MYCELOS_PROXY_TOKEN": TOKEN,
            "MYCELOS_PROXY_URL": "fd:5",
            "MYCELOS_PROXY_LISTEN": "127.0.0.1:9110",
            "MYCELOS_BIND": "::1",
            "MYCELOS_PORT": "1",
            "MYCELOS_OPERATOR_PORT": "65535",
            "MYCELOS_PASSWORD": "correct horse",
            "MYCELOS_PASSWORD_HASH": "$argon2id$x",
            "MYCELOS_PUBLIC_URL": "https://mycelos.example.org:8443/",
            "MYCELOS_TRUSTED_PROXIES": "10.0.0.1, 192.168.0.0/24",
            "MYCELOS_EGRESS_OPEN": "ollama.lan:11434,[::1]:8080",
            "MYCELOS_WITNESS": "/srv/witness",
            "MYCELOS_CA_FILE": __file__,
            "MYCELOS_DNS": "[::1]:53",
            "MYCELOS_DATABASE_URL": "sqlite://",
        }
    )
    assert environment.data_directory == Path("/srv/data")
    assert environment.master_key == bytes(range(32))
    assert environment.proxy_token == TOKEN
    assert (environment.proxy_url, environment.proxy_listen) == ("fd:5", "127.0.0.1:9110")
    assert (environment.bind, environment.port, environment.operator_port) == ("::1", 1, 65535)
    assert (environment.password, environment.password_hash) == ("correct horse", "$argon2id$x")
    assert environment.public_url == "https://mycelos.example.org:8443"
    assert environment.trusted_proxies == ("10.0.0.1/32", "192.168.0.0/24")
    assert environment.egress_open == (OpenedHost("ollama.lan", 11434), OpenedHost("::1", 8080))
    assert (environment.witness, environment.ca_file) == ("/srv/witness", Path(__file__))
    assert (environment.dns, environment.database_url) == (("::1", 53), "sqlite://")


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_environment({"MYCELOS_DATA_DIR": "data"}).data_directory == tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MYCELOS_PROT", "MYCELOS_PORT"),
        ("MYCELOS_MASTERKEY", "MYCELOS_MASTER_KEY"),
        ("MYCELOS_EGRES_OPEN", "MYCELOS_EGRESS_OPEN"),
        ("MYCELOS_PORT_", "MYCELOS_PORT"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_that_exists(name: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown variable {name}; .* is {nearest}$"):
        read_environment({name: "1"})


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=30))
def test_every_unknown_name_is_refused_and_answered_with_a_real_name(suffix: str) -> None:
    names = {variable.name for variable in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.is_secret}
    name = f"MYCELOS_{suffix}"
    if name in names or suffix.startswith("TEST_"):
        return
    with pytest.raises(ConfigurationError) as caught:
        read_environment({name: "1"})
    assert str(caught.value).rsplit(" ", 1)[1] in names


def test_variables_of_others_and_test_switches_are_left_alone() -> None:
    assert read_environment({"PATH": "/bin", "MYCELOS_TEST_DEPTH": "small"}).port == 9100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MYCELOS_PORT", "0"),
        ("MYCELOS_PORT", "65536"),
        ("MYCELOS_PORT", "-1"),
        ("MYCELOS_PORT", " 80"),
        ("MYCELOS_PORT", "080"),
        ("MYCELOS_PORT", "\u0669\u0661\u0660\u0660"),
        ("MYCELOS_PORT", "9" * 5000),
        ("MYCELOS_OPERATOR_PORT", "http"),
        ("MYCELOS_BIND", "example.org"),
        ("MYCELOS_BIND", "127.1"),
        ("MYCELOS_PUBLIC_URL", "mycelos.example.org"),
        ("MYCELOS_PUBLIC_URL", "https://mycelos.example.org/path"),
        ("MYCELOS_PUBLIC_URL", "https://mycelos.example.org:99999"),
        ("MYCELOS_PUBLIC_URL", "https://user@mycelos.example.org"),
        ("MYCELOS_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MYCELOS_TRUSTED_PROXIES", "proxy.lan"),
        ("MYCELOS_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("MYCELOS_TRUSTED_PROXIES", "::/0"),
        ("MYCELOS_TRUSTED_PROXIES", "10.0.0.1,0.0.0.0/1,128.0.0.0/1"),
        ("MYCELOS_TRUSTED_PROXIES", "::ffff:0:0/96"),
        ("MYCELOS_CA_FILE", "/nowhere/ca.pem"),
        ("MYCELOS_DNS", "1.1.1.1"),
        ("MYCELOS_DNS", "resolver.lan:53"),
        ("MYCELOS_DNS", "1.1.1.1:0"),
        ("MYCELOS_WITNESS", "a\nb"),
        ("MYCELOS_MASTER_KEY", ""),
        ("MYCELOS_PROXY_TOKEN", ""),
        ("MYCELOS_PASSWORD", ""),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_environment({name: value})


def test_an_empty_value_that_is_no_secret_means_the_default() -> None:
    assert read_environment({"MYCELOS_PORT": "", "MYCELOS_EGRESS_OPEN": ""}).port == 9100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        KEY[:-1],
        f"{KEY[:10]} {KEY[10:]}",
        "\u00e9" * 44,
    ],
)
def test_a_master_key_of_another_form_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes in base64") as caught:
        parse_master_key(text)
    assert not text or text not in str(caught.value)


@given(st.binary(min_size=32, max_size=32))
def test_a_master_key_survives_being_written(key: bytes) -> None:
    assert parse_master_key(base64.b64encode(key).decode() + "\n") == key


@pytest.mark.parametrize("text", ["x" * 42, "x" * 42 + "!", "x" * 43 + "\n", "x" * 43 + "===", "Bearer " + "x" * 43])
def test_a_short_or_odd_proxy_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes of base64url or more") as caught:
        parse_proxy_token(text)
    assert text not in str(caught.value)


@given(st.binary(min_size=32, max_size=64))
def test_a_token_of_32_bytes_or_more_is_taken_as_it_is(raw: bytes) -> None:
    text = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert parse_proxy_token(text) == text


def test_secrets_do_not_show_in_the_representation() -> None:
    environment = read_environment(
        {
            "MYCELOS_MASTER_KEY": KEY,
            "MYCELOS_PROXY_TOKEN": TOKEN,
            "MYCELOS_PASSWORD": "correct horse",
            "MYCELOS_PASSWORD_HASH": "$argon2id$x",
        }
    )
    shown = repr(environment)
    for secret in (KEY, TOKEN, "correct horse", "$argon2id$x", repr(bytes(range(32)))):
        assert secret not in shown


@pytest.mark.parametrize(
    ("entry", "opened"),
    [
        ("ollama.lan:11434", OpenedHost("ollama.lan", 11434)),
        ("OLLAMA.lan.:80", OpenedHost("ollama.lan", 80)),
        ("127.0.0.1:8080", OpenedHost("127.0.0.1", 8080)),
        ("[0:0:0::1]:8080", OpenedHost("::1", 8080)),
        ("localhost:1", OpenedHost("localhost", 1)),
    ],
)
def test_an_opened_host_is_kept_in_one_form(entry: str, opened: OpenedHost) -> None:
    assert parse_opened_hosts(entry) == (opened,)


@pytest.mark.parametrize(
    "entry",
    [
        "*:80",
        "*.lan:80",
        "10.0.0.0/8:80",
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:1-9",
        "http://ollama.lan:80",
        "127.1:80",
        "0x7f000001:80",
        "2130706433:80",
        "0177.0.0.1:80",
        "999.1.1.1:80",
        "..:80",
        "a..b:80",
        "-a.lan:80",
        "[::1:80",
        "[::g]:80",
        "::1:80",
        "user@lan:80",
        "ollama.lan:80;evil:1",
    ],
)
def test_an_opened_host_that_is_not_exact_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="not an exact host:port"):
        parse_opened_hosts(entry)


@given(st.text(max_size=40))
def test_no_text_opens_more_than_exact_hosts(text: str) -> None:
    try:
        opened = parse_opened_hosts(text)
    except ConfigurationError:
        return
    for entry in opened:
        host = f"[{entry.host}]" if ":" in entry.host else entry.host
        assert parse_opened_hosts(f"{host}:{entry.port}") == (entry,)


def test_an_entry_given_twice_is_opened_once() -> None:
    assert len(parse_opened_hosts("a.lan:1, A.lan.:1 ")) == 1


@pytest.mark.parametrize("text", ["a:80,,b:80", "a:80,", ",a:80", ",", " , "])
def test_an_empty_entry_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="an entry is empty"):
        parse_opened_hosts(text)


def test_no_entry_at_all_opens_nothing() -> None:
    assert parse_opened_hosts("") == parse_opened_hosts(" ") == ()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    assert read_environment({"MYCELOS_PROXY_TOKEN_FILE": str(path)}).proxy_token == TOKEN


def test_a_secret_given_in_both_ways_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    with pytest.raises(ConfigurationError, match="both set"):
        read_environment({"MYCELOS_PROXY_TOKEN": TOKEN, "MYCELOS_PROXY_TOKEN_FILE": str(path)})


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * (64 * 1024 + 1), b"a\x00b"])
def test_a_secret_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="MYCELOS_PASSWORD"):
        read_environment({"MYCELOS_PASSWORD_FILE": str(path)})


def test_a_secret_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MYCELOS_MASTER_KEY_FILE"):
        read_environment({"MYCELOS_MASTER_KEY_FILE": str(tmp_path / "absent")})


@pytest.mark.parametrize(
    ("bind", "loopback"), [("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False), ("::", False)]
)
def test_whether_the_page_is_reachable_from_outside_is_known(bind: str, loopback: bool) -> None:
    assert read_environment({"MYCELOS_BIND": bind}).binds_loopback is loopback


def test_the_environment_of_this_process_is_not_read_by_itself() -> None:
    os.environ["MYCELOS_PORT"] = "1"
    try:
        assert read_environment({}).port == 9100
    finally:
        del os.environ["MYCELOS_PORT"]
