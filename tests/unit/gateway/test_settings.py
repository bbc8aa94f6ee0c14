"""`gateway.toml`: defaults, values, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.settings import GatewaySettings, read_settings


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
