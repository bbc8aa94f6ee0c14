from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.cli.data_directory import choose_data_directory, demand_folder, settings_of, take_data_directory
from mycelos.cli.output import CommandError, ExitCode


@pytest.mark.parametrize(
    ("arguments", "rest", "option"),
    [
        (["status"], ["status"], None),
        (["status", "--data-dir", "d"], ["status"], "d"),
        (["--data-dir=d", "status", "--json"], ["status", "--json"], "d"),
        (["sandbox", "run", "--", "ls", "--data-dir", "d"], ["sandbox", "run", "--", "ls", "--data-dir", "d"], None),
    ],
)
def test_the_option_is_taken_off_wherever_it_stands_before_the_end_of_options(arguments, rest, option) -> None:
    assert take_data_directory(arguments) == (rest, option)


@pytest.mark.parametrize("arguments", [["--data-dir"], ["--data-dir="], ["--data-dir", "a", "--data-dir", "b"]])
def test_without_exactly_one_value_it_is_wrong_usage(arguments) -> None:
    with pytest.raises(CommandError) as caught:
        take_data_directory(arguments)
    assert caught.value.exit_code is ExitCode.WRONG_USAGE


def test_the_option_wins_over_the_variable_and_the_variable_over_the_folder_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".master_key").write_text("x")
    environ = {"MYCELOS_DATA_DIR": "/from/variable"}
    assert choose_data_directory("/from/option", environ, tmp_path) == "/from/option"
    assert choose_data_directory(None, environ, tmp_path) == "/from/variable"
    assert choose_data_directory(None, {}, tmp_path) == str(tmp_path / "data")


def test_a_folder_here_without_a_key_is_not_an_installation(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert choose_data_directory(None, {}, tmp_path) is None


def test_settings_that_cannot_be_used_are_wrong_usage() -> None:
    with pytest.raises(CommandError, match="MYCELOS_PORT") as caught:
        settings_of({"MYCELOS_PORT": "nine"})
    assert caught.value.exit_code is ExitCode.WRONG_USAGE


def test_a_data_folder_is_a_folder_or_not_there_yet(tmp_path: Path) -> None:
    demand_folder(tmp_path)
    demand_folder(tmp_path / "new")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 5000)):
        with pytest.raises(CommandError, match="--data-dir"):
            demand_folder(place)
