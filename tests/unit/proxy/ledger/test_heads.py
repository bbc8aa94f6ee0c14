from __future__ import annotations

import stat

import pytest

from mycelos.ledger.chain import Head
from mycelos.proxy.ledger.heads import COMMAND_LINE, GATEWAY, remember, remembered_heads

HEAD = Head(7, "ab" * 32)


def test_a_remembered_head_is_read_back_and_is_for_this_user_alone(layout):
    remember(layout.command_line_head, HEAD)
    assert remembered_heads(layout).heads == {COMMAND_LINE: HEAD}
    assert stat.S_IMODE(layout.command_line_head.stat().st_mode) == 0o600
    assert [path.name for path in layout.command_line_head.parent.iterdir()] == ["command-line.json"]


def test_the_gateway_s_head_is_read_as_the_gateway_writes_it(layout):
    layout.gateway.mkdir()
    layout.gateway_head.write_text('{"seq": 7, "leaf_hash": "' + "ab" * 32 + '"}')
    assert remembered_heads(layout).heads == {GATEWAY: HEAD}


def test_nobody_remembers_at_first(layout):
    found = remembered_heads(layout)
    assert (found.heads, found.unreadable) == ({}, ())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"seq": -1, "leaf_hash": "' + "ab" * 32 + '"}',
        '{"seq": 1, "leaf_hash": "xy"}',
        '{"seq": 1, "leaf_hash": "' + "ab" * 32 + '", "more": 1}',
        "\x00" * 9000,
    ],
)
def test_a_head_that_cannot_be_read_is_named_and_not_taken_for_absent(layout, content):
    layout.command_line_head.parent.mkdir()
    layout.command_line_head.write_text(content)
    found = remembered_heads(layout)
    assert (found.heads, found.unreadable) == ({}, (COMMAND_LINE,))


def test_a_write_that_fails_leaves_the_old_head(layout, monkeypatch):
    remember(layout.command_line_head, HEAD)

    def refuse(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        remember(layout.command_line_head, Head(9, "cd" * 32))
    assert remembered_heads(layout).heads == {COMMAND_LINE: HEAD}
    assert len(list(layout.command_line_head.parent.iterdir())) == 1
