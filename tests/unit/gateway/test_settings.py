"""`gateway.toml`: defaults, values, and errors that name the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.settings import MEANINGS, GatewaySettings, RunSettings, read_settings


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "gateway.toml") == GatewaySettings()


def test_values_are_taken_and_told_to_the_runner(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, "[runs]\nmodel_requests = 3\nat_once = 2\n"))
    assert (settings.runs.limits.model_requests, settings.runs.at_once) == (3, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[run]\n", "unknown key run; the nearest one that exists is runs"),
        (
            "[runs]\nmodel_request = 3\n",
            "unknown key [runs] model_request; the nearest one that exists is model_requests",
        ),
        ("[runs]\nmodel_requests = 0\n", "in the file.runs.model_requests"),
        ("[runs]\nmodel_requests = 'many'\n", "in the file.runs.model_requests"),
        ("runs = 3\n", "in the file.runs"),
        ("[runs\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        ("#" * 300_000, "is larger than"),
    ],
)
def test_what_cannot_be_used_names_the_key(tmp_path: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(write(tmp_path, text))
    assert expected in str(refused.value)


def test_each_key_has_its_meaning() -> None:
    assert set(MEANINGS) == {f"runs.{name}" for name in RunSettings.__struct_fields__}


def test_the_file_is_named_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "[runs]\nsecond = 3\n")
    with pytest.raises(ConfigurationError, match=f"^{path}: unknown key"):
        read_settings(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "gateway.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(write(tmp_path, "").rename(tmp_path / "other"))
    with pytest.raises(ConfigurationError, match="plain file"):
        read_settings(path)
