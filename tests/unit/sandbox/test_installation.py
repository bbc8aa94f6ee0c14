import os
import sys
from pathlib import Path

import pytest

import mycelos
from mycelos.sandbox.installation import Installation, _interpreter_paths, _without_nested, find_installation


def covers(paths: tuple[str, ...], wanted: str) -> bool:
    return any(f"{wanted}/".startswith(f"{path}/") for path in paths)


def test_it_covers_the_interpreter_its_library_the_environment_and_mycelos() -> None:
    readable = find_installation().readable(with_programs=False)
    for wanted in (sys.executable, os.path.realpath(sys.executable), os.__file__, str(Path(mycelos.__file__).parent)):
        assert covers(readable, wanted), wanted
    assert not covers(readable, "/etc/passwd")
    assert not covers(readable, os.path.expanduser("~"))


def test_programs_are_there_only_where_they_are_wanted() -> None:
    installation = Installation("/usr/bin/python3", ("/usr/lib",), ("/usr",), ())
    assert installation.readable(with_programs=False) == ("/usr/lib",)
    assert installation.readable(with_programs=True) == ("/usr",)


def test_every_link_on_the_way_to_the_interpreter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "middle").symlink_to("real")
    (tmp_path / "python").symlink_to(tmp_path / "middle")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert _interpreter_paths()[-3:] == [str(tmp_path / name) for name in ("python", "middle", "real")]


def test_a_path_inside_another_is_left_out() -> None:
    assert _without_nested(["/usr/lib", "/usr", "/usrlocal", "/usr"]) == ("/usr", "/usrlocal")
