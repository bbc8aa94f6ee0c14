from __future__ import annotations

import os
import stat

import msgspec
import pytest

from mycelos.supervisor.state import (
    AlreadyRunningError,
    ChildState,
    SupervisorState,
    boot_id,
    hold_lock,
    read_state,
    remove_state,
    start_ticks,
    write_state,
)


@pytest.fixture
def running(layout):
    layout.run.mkdir()
    return SupervisorState(
        v=1,
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()) or 0,
        boot_id=boot_id(),
        started_at="2026-01-01T00:00:00Z",
        bind="127.0.0.1",
        port=9100,
        operator_port=9101,
        page_url="http://localhost:9100",
        operator_url="http://localhost:9101",
        children=(ChildState("proxy", 77, ready=True, restarts=0),),
    )


def test_what_is_written_is_read_back(layout, running):
    write_state(layout, running)
    assert read_state(layout) == running
    assert stat.S_IMODE(layout.supervisor_state.stat().st_mode) == 0o600


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(layout, running):
    write_state(layout, running)
    write_state(layout, msgspec.structs.replace(running, children=()))
    assert [path.name for path in layout.run.iterdir()] == ["supervisor.json"]
    assert read_state(layout) == msgspec.structs.replace(running, children=())


def test_without_a_file_nothing_runs(layout):
    assert read_state(layout) is None


def test_the_state_of_an_ended_process_is_stale(layout, running):
    ended = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(ended, 0)
    write_state(layout, msgspec.structs.replace(running, pid=ended))
    assert read_state(layout) is None


def test_a_process_that_has_ended_and_was_not_asked_about_is_no_process():
    ended = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    try:
        assert start_ticks(ended) is None
    finally:
        os.waitpid(ended, 0)


def test_the_state_of_an_earlier_process_with_the_same_number_is_stale(layout, running):
    write_state(layout, msgspec.structs.replace(running, start_ticks=running.start_ticks - 1))
    assert read_state(layout) is None


def test_the_state_of_an_earlier_boot_is_stale(layout, running):
    write_state(layout, msgspec.structs.replace(running, boot_id="00000000-0000-0000-0000-000000000000"))
    assert read_state(layout) is None


def test_a_file_that_is_not_ours_is_an_error(layout, running):
    layout.supervisor_state.write_text('{"v": 2}')
    with pytest.raises(msgspec.DecodeError):
        read_state(layout)


def test_removing_a_state_that_is_not_there_is_done(layout, running):
    write_state(layout, running)
    remove_state(layout)
    remove_state(layout)
    assert read_state(layout) is None


def test_only_one_holds_the_lock_and_its_end_frees_it(layout, running):
    first = hold_lock(layout)
    with pytest.raises(AlreadyRunningError):
        hold_lock(layout)
    os.close(first)
    os.close(hold_lock(layout))


def test_a_command_name_with_brackets_and_spaces_does_not_shift_the_start_time(tmp_path):
    odd = tmp_path / "a) b ("
    odd.symlink_to("/bin/sleep")
    pid = os.posix_spawn(odd, [str(odd), "60"], {})
    try:
        ticks = start_ticks(pid)
        mine = start_ticks(os.getpid())
        assert ticks is not None
        assert mine is not None
        assert ticks >= mine
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_neither_waited_for_nor_read(layout, make):
    layout.run.mkdir()
    make(layout.supervisor_state)
    with pytest.raises(OSError, match="not a regular file|symbolic links"):
        read_state(layout)


def test_a_fifo_where_a_draft_would_be_is_not_waited_for(layout, running):
    os.mkfifo(layout.supervisor_state.with_suffix(".new"))
    write_state(layout, running)
    assert read_state(layout) == running
