from __future__ import annotations

import os
import stat

import pytest
from ledger_keys import note_of

from mycelos.configuration.head_file import HeadFile, write_head_file
from mycelos.proxy.ledger.heads import (
    COMMAND_LINE,
    COMMAND_LINE_OUTSIDE,
    GATEWAY,
    PROXY_OUTSIDE,
    Outside,
    outside_of,
    remember,
    remembered_heads,
)

NOTE, NEWER = note_of(8), note_of(10)


def test_a_remembered_head_is_read_back_and_is_for_this_user_alone(layout):
    remember(layout.command_line_head, NOTE)
    assert remembered_heads(layout).notes == {COMMAND_LINE: NOTE.encode()}
    assert stat.S_IMODE(layout.command_line_head.stat().st_mode) == 0o600
    assert [path.name for path in layout.command_line_head.parent.iterdir()] == ["command-line.json"]


def test_the_gateway_s_head_is_read_as_the_gateway_writes_it(layout):
    write_head_file(layout.gateway_head, HeadFile(NOTE))
    assert remembered_heads(layout).notes == {GATEWAY: NOTE.encode()}


def test_nobody_remembers_at_first(layout):
    found = remembered_heads(layout)
    assert (found.notes, found.unreadable) == ({}, ())


@pytest.mark.parametrize("content", ["", '{"note": "x", "more": 1}', "\x00" * 9000])
def test_a_head_that_cannot_be_read_is_named_and_not_taken_for_absent(layout, content):
    layout.command_line_head.parent.mkdir()
    layout.command_line_head.write_text(content)
    found = remembered_heads(layout)
    assert (found.notes, found.unreadable) == ({}, (COMMAND_LINE,))


def test_what_lies_there_and_is_no_file_cannot_be_read_and_keeps_nobody_waiting(layout):
    layout.gateway.mkdir(parents=True)
    os.mkfifo(layout.gateway_head)
    found = remembered_heads(layout)
    assert (found.notes, found.unreadable) == ({}, (GATEWAY,))


def test_what_lies_outside_is_read_with_the_generation_of_the_vault(layout, tmp_path):
    outside = Outside(tmp_path / "heads")
    remember(outside.proxy, NOTE, 7)
    remember(outside.command_line, NEWER)
    found = remembered_heads(layout, outside)
    assert found.notes == {PROXY_OUTSIDE: NOTE.encode(), COMMAND_LINE_OUTSIDE: NEWER.encode()}
    assert found.paths[PROXY_OUTSIDE] == outside.proxy
    assert found.vault_generation == 7


def test_there_is_no_outside_without_a_name_or_a_place(layout, tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    assert outside_of(layout, environ, "ab" * 16) == Outside(tmp_path / "mycelos" / "heads" / ("ab" * 16))
    assert outside_of(layout, environ, None) is None
    assert outside_of(layout, {}, "ab" * 16) is None
