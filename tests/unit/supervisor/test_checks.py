from __future__ import annotations

import base64
import os

import pytest

from mycelos.configuration.environment import read_environment
from mycelos.supervisor.checks import (
    ServeRefusedError,
    check_master_key,
    check_settings,
    find_proxy_token,
    require_master_key,
)

TOKEN = "a" * 43
KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()


def _refused(function, *arguments) -> ServeRefusedError:
    with pytest.raises(ServeRefusedError) as caught:
        function(*arguments)
    return caught.value


def test_plain_settings_pass():
    assert check_settings({"MYCELOS_DATA_DIR": "/d"}).port == 9100


def test_a_misspelt_variable_is_wrong_usage_and_names_the_nearest():
    refused = _refused(check_settings, {"MYCELOS_PROT": "9100"})
    assert refused.exit_code == 2
    assert "MYCELOS_PORT" in str(refused)


@pytest.mark.parametrize("name", ["MYCELOS_PROXY_URL", "MYCELOS_PROXY_LISTEN", "MYCELOS_DATABASE_URL"])
def test_a_variable_that_host_mode_would_ignore_is_refused(name):
    refused = _refused(check_settings, {name: "unix:/x"})
    assert refused.exit_code == 2
    assert name in str(refused)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::"])
def test_a_bind_that_others_reach_needs_a_password(address):
    assert "MYCELOS_PASSWORD" in str(_refused(check_settings, {"MYCELOS_BIND": address}))
    assert check_settings({"MYCELOS_BIND": address, "MYCELOS_PASSWORD": "correct horse"}).bind == address


def test_the_token_of_the_environment_is_taken(layout):
    assert find_proxy_token(read_environment({"MYCELOS_PROXY_TOKEN": TOKEN}), layout) == TOKEN


def test_the_token_of_the_file_is_taken(layout):
    layout.proxy_token.write_text(TOKEN + "\n")
    layout.proxy_token.chmod(0o600)
    assert find_proxy_token(read_environment({}), layout) == TOKEN


def test_without_a_token_the_way_to_one_is_named(layout):
    refused = _refused(find_proxy_token, read_environment({}), layout)
    assert "scripts/install.sh" in str(refused)
    assert "mycelos init" in str(refused)


@pytest.mark.parametrize("content", ["", "short", "a" * 42, "a" * 42 + "!", "a" * 2000])
def test_a_bad_token_is_refused_without_showing_it(layout, content):
    layout.proxy_token.write_text(content)
    layout.proxy_token.chmod(0o600)
    refused = _refused(find_proxy_token, read_environment({}), layout)
    assert refused.exit_code == 1
    assert not content or content not in str(refused)


def test_a_token_that_others_may_read_is_refused(layout):
    layout.proxy_token.write_text(TOKEN)
    layout.proxy_token.chmod(0o640)
    assert "chmod 600" in str(_refused(find_proxy_token, read_environment({}), layout))


def test_a_token_behind_a_link_is_refused(layout, tmp_path):
    (tmp_path / "elsewhere").write_text(TOKEN)
    layout.proxy_token.symlink_to(tmp_path / "elsewhere")
    assert "cannot read" in str(_refused(find_proxy_token, read_environment({}), layout))


def test_two_pages_on_one_port_are_refused_with_both_names():
    for environ in (
        {"MYCELOS_PORT": "9101"},
        {"MYCELOS_OPERATOR_PORT": "9100"},
        {"MYCELOS_PORT": "7000", "MYCELOS_OPERATOR_PORT": "7000"},
    ):
        refused = _refused(check_settings, environ)
        assert refused.exit_code == 2
        assert "MYCELOS_PORT and MYCELOS_OPERATOR_PORT" in str(refused)


def test_what_a_zone_would_refuse_is_refused_before_one_is_started():
    refused = _refused(check_settings, {"MYCELOS_PASSWORD_HASH": "secret"})
    assert refused.exit_code == 2
    assert "mycelos password set" in str(refused)
    assert "secret" not in str(refused)


def test_without_a_master_key_the_way_to_one_is_named(layout):
    assert "mycelos init" in str(_refused(require_master_key, read_environment({}), layout))


def test_a_vault_without_its_key_is_not_told_to_make_another(layout):
    layout.proxy.mkdir()
    layout.vault.write_bytes(b"")
    for check in (require_master_key, check_master_key):
        refused = _refused(check, read_environment({}), layout)
        assert refused.exit_code == 1
        assert "Restore it" in str(refused)
        assert "mycelos init" not in str(refused)


def test_a_key_in_the_environment_or_in_the_folder_will_do(layout):
    require_master_key(read_environment({"MYCELOS_MASTER_KEY": KEY}), layout)
    layout.master_key.write_text("not looked at: the proxy reads it")
    require_master_key(read_environment({}), layout)


def test_two_different_keys_are_refused_and_two_equal_ones_are_not(layout):
    layout.master_key.write_text(KEY)
    layout.master_key.chmod(0o600)
    for check in (require_master_key, check_master_key):
        check(read_environment({"MYCELOS_MASTER_KEY": KEY}), layout)
        assert "two different keys" in str(_refused(check, read_environment({"MYCELOS_MASTER_KEY": OTHER_KEY}), layout))


def test_the_whole_check_reads_the_key_in_the_file_too(layout):
    layout.master_key.write_text("x")
    layout.master_key.chmod(0o600)
    assert "32 bytes" in str(_refused(check_master_key, read_environment({}), layout))
    layout.master_key.write_text(KEY)
    layout.master_key.chmod(0o644)
    assert "chmod 600" in str(_refused(check_master_key, read_environment({}), layout))


def test_a_fifo_in_the_place_of_the_token_is_not_waited_for(layout):
    os.mkfifo(layout.proxy_token, 0o600)
    assert "that it is a file" in str(_refused(find_proxy_token, read_environment({}), layout))
