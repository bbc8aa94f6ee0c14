"""A child's words: lines under its name, never the log itself."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from mycelos.supervisor.child_output import LINE_LIMIT, ChildOutput


@pytest.fixture
def heard() -> list[str]:
    return []


def read_all(output: ChildOutput) -> None:
    while select.select([output.reading], [], [], 20)[0]:
        if not output.read():
            return
    pytest.fail("the pipe did not end")


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"x" * (2 * LINE_LIMIT + 1) + b"\n", ["x" * LINE_LIMIT, "x" * LINE_LIMIT, "x"]),
    ],
)
def test_lines_come_whole_and_bounded(heard: list[str], written: bytes, lines: list[str]) -> None:
    output = ChildOutput(heard.append)
    os.write(output.writing, written)
    output.close_writing()
    read_all(output)
    assert [line for line in heard if line] == lines


def test_a_pipe_without_words_is_read_without_waiting(heard: list[str]) -> None:
    output = ChildOutput(heard.append)
    assert output.read()
    output.close_writing()
    output.finish()
    assert heard in ([], [""])


def test_what_is_left_is_passed_on_at_the_end_though_somebody_holds_the_pipe(heard: list[str]) -> None:
    output = ChildOutput(heard.append)
    os.write(output.writing, b"last words")
    output.finish()
    output.close_writing()
    assert heard == ["last words"]


def test_a_child_can_cut_a_log_that_it_holds_and_not_a_pipe(heard: list[str], tmp_path: os.PathLike[str]) -> None:
    cut = [sys.executable, "-c", "import os; os.ftruncate(1, 0)"]
    log = os.open(os.path.join(tmp_path, "log"), os.O_RDWR | os.O_CREAT)
    os.write(log, b"what another zone said")
    assert subprocess.run(cut, stdout=log, check=False).returncode == 0
    assert os.fstat(log).st_size == 0
    os.close(log)
    output = ChildOutput(heard.append)
    done = subprocess.run(cut, stdout=output.writing, stderr=subprocess.DEVNULL, check=False)
    output.close_writing()
    output.finish()
    assert done.returncode == 1
