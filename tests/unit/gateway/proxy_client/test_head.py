"""The remembered head: it grows, it is written down, and a ledger that went back is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.gateway.proxy_client.head import Head, RememberedHead
from mycelos.wire.audit import AppendReceipt

pytestmark = pytest.mark.anyio


def receipt(seq: int, leaf_hash: str = "a" * 64) -> AppendReceipt:
    return AppendReceipt(seq=seq, leaf_hash=leaf_hash, checkpoint=None)


async def test_the_highest_head_is_kept_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    head = RememberedHead(path)
    assert head.floor == -1
    # Two entries were sent at once; their receipts came in the other order.
    head.remember(receipt(6), -1)
    head.remember(receipt(5), -1)
    head.write()
    assert head.alarm is None
    assert RememberedHead(path).head == Head(6, "a" * 64)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("seq", [0, 4, 5])
async def test_a_place_that_was_taken_is_an_alarm_and_the_head_stays(tmp_path: Path, seq: int) -> None:
    path = tmp_path / "head.json"
    head = RememberedHead(path)
    head.remember(receipt(5), -1)
    head.write()
    after_restart = RememberedHead(path)
    after_restart.remember(receipt(seq), after_restart.floor)
    assert after_restart.alarm is not None
    assert after_restart.alarm.code == "ledger.verify_failed"
    assert after_restart.head == Head(5, "a" * 64)


async def test_one_place_given_twice_is_an_alarm(tmp_path: Path) -> None:
    head = RememberedHead(tmp_path / "head.json")
    head.remember(receipt(5, "a" * 64), -1)
    head.remember(receipt(5, "b" * 64), -1)
    head.write()
    assert head.alarm is not None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"seq": "5", "leaf_hash": "a"}', b"\xff"])
async def test_a_head_that_cannot_be_read_is_an_alarm_and_not_a_fresh_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.json"
    path.write_bytes(content)
    assert RememberedHead(path).alarm is not None
