from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.operator_file import (
    MEANINGS,
    OperatorFile,
    keys,
    parse_operator_file,
    read_operator_file,
)


def _write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_operator_file(tmp_path / "operator.toml")
    assert settings == OperatorFile()
    assert settings.sandbox.accept_missing == ()


def test_each_key_is_read(tmp_path: Path) -> None:
    text = '[sandbox]\naccept_missing = ["user_namespaces"]\n'
    settings = read_operator_file(_write(tmp_path / "operator.toml", text))
    assert settings.sandbox.accept_missing == ("user_namespaces",)


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("[sandbox]\naccept_mising = []\n", "sandbox.accept_mising", "sandbox.accept_missing"),
        ("[sandboxes]\na = 1\n", "sandboxes", "sandbox.accept_missing"),
        ("accept_missing = []\n", "accept_missing", "sandbox.accept_missing"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_that_exists(text: str, unknown: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown key {unknown}; .* is {nearest}$"):
        parse_operator_file(text.encode(), "operator.toml")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("sandbox = 'none'\n", "sandbox"),
        ("[sandbox]\naccept_missing = 'landlock'\n", "sandbox.accept_missing"),
        ("[sandbox]\naccept_missing = [1]\n", "sandbox.accept_missing"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_key(text: str, field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"operator\.toml: .*{field}"):
        parse_operator_file(text.encode(), "operator.toml")


@pytest.mark.parametrize("data", [b"[", b"a = ", b"\xff", b"a = 1\na = 2"])
def test_what_is_no_toml_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="is not TOML in UTF-8"):
        parse_operator_file(data, "operator.toml")


@given(st.binary(max_size=100))
def test_any_content_is_read_or_refused(data: bytes) -> None:
    try:
        settings = parse_operator_file(data, "operator.toml")
    except ConfigurationError:
        return
    assert isinstance(settings, OperatorFile)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_open_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = _write(tmp_path / "operator.toml", "", mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        read_operator_file(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "operator.toml", "")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        read_operator_file(path)


def test_a_link_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(_write(tmp_path / "real.toml", ""))
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe, 0o600)
    for path in (link, pipe, tmp_path):
        with pytest.raises(ConfigurationError, match="plain file"):
            read_operator_file(path)


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "operator.toml", "#" * (256 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="larger than 262144 bytes"):
        read_operator_file(path)


def test_each_key_has_its_meaning_written_down() -> None:
    assert keys() == list(MEANINGS)
