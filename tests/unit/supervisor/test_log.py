"""The log as a file: bounded, its owner's alone, and no reason to end where it cannot be written."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: the log takes standard output and error over.
SCRIPT = """
import os, resource, signal, sys
from pathlib import Path
from mycelos.supervisor.log import LogFileError, ServiceLog
try:
    log = ServiceLog(Path(sys.argv[1]), size_limit=2000)
except LogFileError as error:
    sys.exit(str(error))
exec(sys.argv[2])
"""


def log(path: Path, then: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, str(path), then]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_and_all_other_output_go_to_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(mode=0o644)
    done = log(path, "log.write('a', text='\\x1b\\n\\u202e'); print('said', flush=True); raise RuntimeError('end')")
    assert (done.stdout, done.stderr) == ("", "")
    first, said, *rest = path.read_text().splitlines()
    assert json.loads(first)["text"] == "\x1b\n\u202e"
    assert first.isascii()
    assert (said, rest[-1]) == ("said", "RuntimeError: end")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_put_aside_at_its_size_and_one_old_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log(path, "for number in range(500): log.write('a', number=number)").returncode == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1"]
    for each in tmp_path.iterdir():
        assert each.stat().st_size < 2200
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert lines(path)[-1]["number"] == 499
    assert lines(tmp_path / "log.1")[-1]["number"] == lines(path)[0]["number"] - 1


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log(path, "log.write('first')")
    log(path, "log.write('second')")
    assert [line["event"] for line in lines(path)] == ["first", "second"]


@pytest.mark.parametrize("make", ["mkdir", "symlink"])
def test_what_cannot_be_the_log_is_refused_by_name(tmp_path: Path, make: str) -> None:
    path = tmp_path / "log"
    if make == "mkdir":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "other")
    done = log(path, "")
    assert done.returncode == 1
    assert f"{path} cannot be the log" in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_disk_without_room_loses_lines_counts_them_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    limited = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log.write('before')
size = os.fstat(2).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
log.write('lost'); log.write('lost')
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write('after')
"""
    assert log(path, limited).returncode == 0
    assert [(line["event"], line.get("lines")) for line in lines(path)] == [
        ("before", None), ("log.lost", 2), ("after", None),
    ]  # fmt: skip
