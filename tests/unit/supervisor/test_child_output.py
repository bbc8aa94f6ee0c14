"""A child's words: lines under its name, never the log itself."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys

import pytest

from mycelos.supervisor.child_output import BURST, BYTES_PER_SECOND, LINE_LIMIT, ChildOutput, OutputBudget


@pytest.fixture
def heard() -> list[str]:
    return []


def no_drops(lines: int, size: int) -> None:
    pytest.fail(f"dropped {lines} lines of {size} bytes")


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
    output = ChildOutput(heard.append, no_drops, OutputBudget())
    os.write(output.writing, written)
    output.close_writing()
    read_all(output)
    assert [line for line in heard if line] == lines


def test_a_pipe_without_words_is_read_without_waiting(heard: list[str]) -> None:
    output = ChildOutput(heard.append, no_drops, OutputBudget())
    assert output.read()
    output.close_writing()
    output.finish()
    assert heard in ([], [""])


def test_what_is_left_is_passed_on_at_the_end_though_somebody_holds_the_pipe(heard: list[str]) -> None:
    output = ChildOutput(heard.append, no_drops, OutputBudget())
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
    output = ChildOutput(heard.append, no_drops, OutputBudget())
    done = subprocess.run(cut, stdout=output.writing, stderr=subprocess.DEVNULL, check=False)
    output.close_writing()
    output.finish()
    assert done.returncode == 1


class Flood:
    """A child's output with a clock that stands, and what became of it in the log."""

    def __init__(self) -> None:
        self.now = 0.0
        self.budget = OutputBudget(lambda: self.now)
        self.log: list[str] = []

    def write(self, *pieces: bytes) -> None:
        output = ChildOutput(lambda line: self.log.append(json.dumps(line)), self.tell, self.budget)
        for piece in pieces:
            os.write(output.writing, piece)
            output.read()
        output.close_writing()
        read_all(output)

    def tell(self, lines: int, size: int) -> None:
        self.log.append(f"dropped {lines} {size}")

    @property
    def size(self) -> int:
        return sum(len(line) for line in self.log)


@pytest.mark.parametrize("piece", [b"\0" * 4095 + b"\n", b"x" * 4095 + b"\n", b"\xff" * 4096, b"a\n" * 2048])
def test_a_flood_fills_no_more_than_the_burst_and_is_told_in_one_line(piece: bytes) -> None:
    flood = Flood()
    flood.write(*[piece] * 500)
    assert flood.size <= BURST + 100
    told = [line for line in flood.log if line.startswith("dropped")]
    assert len(told) == 1
    assert flood.log[-1] == told[0]
    kept = len("".join(json.loads(line) for line in flood.log[:-1]).encode())
    assert int(told[0].split()[2]) > 500 * 4096 * 0.9 - kept - 500 * 2048


def test_without_the_budget_the_same_flood_is_six_times_its_size_in_the_log() -> None:
    flood = Flood()
    flood.budget.take = lambda _amount: True  # type: ignore[method-assign] - the wall taken away
    flood.write(*[b"\0" * 4095 + b"\n"] * 500)
    assert flood.size > 6 * 500 * 4000


def test_after_a_flood_a_child_is_heard_again_when_its_budget_is_whole_and_first_what_was_dropped_is_told() -> None:
    flood = Flood()
    flood.write(*[b"x" * 4095 + b"\n"] * 100)
    before = len(flood.log)
    flood.now += BURST / BYTES_PER_SECOND / 2
    flood.write(b"not yet\n")
    assert flood.log[before:] == ["dropped 1 7"]
    flood.now += BURST / BYTES_PER_SECOND
    flood.write(b"again\n")
    assert flood.log[-1] == '"again"'


def test_a_new_process_of_the_same_child_gets_no_new_burst() -> None:
    flood = Flood()
    for _ in range(20):
        flood.write(*[b"x" * 4095 + b"\n"] * 40)
    assert sum(len(line) for line in flood.log if not line.startswith("dropped")) <= BURST
