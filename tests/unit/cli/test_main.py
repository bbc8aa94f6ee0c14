from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from mycelos import __version__
from mycelos.cli import main
from mycelos.cli.output import CommandError, ExitCode

HEAVY = ("sqlalchemy", "cryptography", "starlette", "fastapi", "uvicorn", "openai", "anthropic", "xllamacpp", "asyncio")


def test_help_names_every_command(mycelos) -> None:
    code, out, _ = mycelos("--help")
    assert code == ExitCode.DONE
    assert all(f"  {name}: " in out for name, _, _ in main._COMMANDS)


def test_every_command_can_be_imported_and_explains_itself_with_an_example(mycelos) -> None:
    for words in commands():
        code, out, err = mycelos(*words, "--help")
        assert code == ExitCode.DONE, (words, err)
        assert out.strip(), words


def commands() -> list[tuple[str, ...]]:
    found = []
    for name, _, _ in main._COMMANDS:
        app = main.make_app()[name]
        inner = [each for each in app if not each.startswith("-")]
        found += [(name, each) for each in inner] or [(name,)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_help_of_a_command_shows_an_example(mycelos, words: tuple[str, ...]) -> None:
    if words == ("db", "audit"):
        words = ("db", "audit", "verify")
    _, out, _ = mycelos(*words, "--help")
    assert "Example: " in out


def test_help_loads_no_zone() -> None:
    script = f"""
import sys
from mycelos.cli.main import run
run(["--help"])
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr


def test_the_version_is_told(mycelos) -> None:
    assert mycelos("--version")[:2] == (0, f"{__version__}\n")


@pytest.mark.parametrize("words", [("stauts",), ("status", "--jsn"), ("agent", "add"), ("open", "x", "y")])
def test_wrong_usage_is_one_line_and_code_two(mycelos, words: tuple[str, ...]) -> None:
    code, out, err = mycelos(*words)
    assert (code, out) == (ExitCode.WRONG_USAGE, "")
    assert err.startswith("mycelos: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("model", "add", "x", "--model", "y"), "--url is required. See: mycelos model add --help"),
        (("model", "add"), "NAME is required."),
        (("model", "add", "x", "--url"), "--url requires an argument."),
    ],
)
def test_what_is_absent_is_told_from_what_has_no_value(mycelos, words: tuple[str, ...], text: str) -> None:
    code, _, err = mycelos(*words)
    assert code == ExitCode.WRONG_USAGE
    assert text in err


@pytest.mark.parametrize(
    "words",
    [
        ("agent", "show", "\udcff"),
        ("model", "remove", "\udcff"),
        ("db", "audit", "--type", "\udcff"),
        ("sandbox", "run", "--", "\udcff"),
        ("status", "--data-dir", "\udcff"),
    ],
)
def test_an_argument_that_is_not_utf8_is_wrong_usage(mycelos, words: tuple[str, ...]) -> None:
    code, out, err = mycelos(*words)
    assert (code, out) == (ExitCode.WRONG_USAGE, "")
    assert f"Argument {words.index(next(w for w in words if not w.isprintable())) + 1} is not UTF-8" in err


@pytest.mark.parametrize("words", [("status",), ("stop",), ("db", "audit"), ("db", "audit", "verify")])
def test_a_data_folder_that_can_be_none_is_one_line(mycelos, tmp_path, words: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below", "x" * 5000):
        code, out, err = mycelos(*words, "--data-dir", str(place))
        assert (code, out) == (ExitCode.FAILED, "")
        assert err.startswith("mycelos: ")
        assert err.count("\n") == 1
        assert len(err) < 500


def test_what_the_system_refuses_is_one_line_with_the_place(mycelos, monkeypatch) -> None:
    def action():
        raise OSError(errno.EIO, "Input/output error", "/data/x")

    _app_that(monkeypatch, action)
    assert mycelos("x") == (1, "", "mycelos: /data/x: Input/output error.\n")


@pytest.mark.parametrize(
    ("number", "next_step"), [(errno.EROFS, "mount it so"), (errno.EACCES, "owner"), (errno.ENOSPC, "Make room")]
)
def test_what_a_person_can_mend_comes_with_the_next_step(mycelos, monkeypatch, number, next_step) -> None:
    def action():
        raise OSError(number, os.strerror(number), "/data/x")

    _app_that(monkeypatch, action)
    code, out, err = mycelos("x")
    assert (code, out, err.count("\n"), next_step in err) == (1, "", 1, True)


def test_the_folder_of_the_option_reaches_the_command(mycelos, tmp_path) -> None:
    code, _, err = mycelos("status", "--data-dir", str(tmp_path / "elsewhere"))
    assert code == ExitCode.FAILED
    assert str(tmp_path / "elsewhere") in err


def _app_that(monkeypatch, action) -> None:
    monkeypatch.setattr(main, "make_app", lambda _wanted: lambda _rest: action())


def test_an_error_of_a_command_is_its_line_and_its_exit_code(mycelos, monkeypatch) -> None:
    refusal = CommandError("It is so.", "Do this.", ExitCode.WALL_MISSING)

    def action():
        raise refusal

    _app_that(monkeypatch, action)
    assert mycelos("x") == (3, "", "mycelos: It is so. Do this.\n")


@pytest.mark.parametrize("end", [KeyboardInterrupt, EOFError])
def test_an_interrupted_command_ends_with_the_shells_code(mycelos, monkeypatch, end) -> None:
    def action():
        raise end

    _app_that(monkeypatch, action)
    assert mycelos("x")[0] == 130


def test_a_reader_that_goes_away_is_no_crash() -> None:
    command = f"{sys.executable} -I -m mycelos.cli.main --help | true"
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_entry_point_ends_with_the_exit_code(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mycelos", "nothing-like-this"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == ExitCode.WRONG_USAGE
