from __future__ import annotations

from pathlib import Path

from mycelos.cli.output import ExitCode


def test_a_log_that_is_no_vkey_is_refused_with_the_command_that_shows_it(mycelos, tmp_path: Path) -> None:
    code, _, err = mycelos("witness", "serve", "--folder", str(tmp_path / "w"), "--log", "nonsense")
    assert code == ExitCode.WRONG_USAGE
    assert "--log 'nonsense'" in err
    assert "mycelos db audit checkpoint --key" in err


def test_folder_and_log_are_required(mycelos, tmp_path: Path) -> None:
    assert mycelos("witness", "serve", "--folder", str(tmp_path))[0] == ExitCode.WRONG_USAGE
    assert mycelos("witness", "serve", "--log", "nonsense")[0] == ExitCode.WRONG_USAGE
