"""The remembered head: it grows, it is written down, and a ledger that went back is seen."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from grown_tree import GrownTree

from mycelos.gateway.proxy_client.head import WRITE_SECONDS, Kept, RememberedHead
from mycelos.wire.audit import AppendReceipt

pytestmark = pytest.mark.anyio

TREE = GrownTree(40)
OTHER = GrownTree(40, "b")


def receipt(seq: int, leaf_hash: str = "a" * 64, note: str | None = None) -> AppendReceipt:
    return AppendReceipt(seq=seq, leaf_hash=leaf_hash, checkpoint=note or TREE.note(seq + 1))


def kept_of(size: int) -> Kept:
    return Kept.read(TREE.note(size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head.json"


@pytest.fixture
async def head(anyio_backend: str, path: Path) -> RememberedHead:
    """What remembers five entries, from its file."""
    first = RememberedHead(path)
    first.remember(receipt(4), -1)
    await first.write()
    return RememberedHead(path)


async def test_the_first_checkpoint_is_kept_and_written_whole(path) -> None:
    head = RememberedHead(path)
    assert head.floor == -1
    head.remember(receipt(6), -1)
    # Sent before it, and its receipt came later.
    head.remember(receipt(5), -1)
    await head.write()
    assert (head.alarm, head.candidate) == (None, None)
    assert RememberedHead(path).kept == kept_of(7)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_larger_one_is_kept_once_it_is_proven_to_follow(head: RememberedHead, path) -> None:
    head.remember(receipt(8), head.floor)
    head.remember(receipt(7), 4)
    assert (head.kept, head.candidate, head.offered.is_set()) == (kept_of(5), kept_of(9), True)
    assert head.floor == 8
    head.prove(kept_of(9), TREE.consistency(5, 9))
    await head.write()
    assert (head.alarm, head.candidate, head.offered.is_set()) == (None, None, False)
    assert RememberedHead(path).kept == kept_of(9)


async def test_what_came_during_a_proof_is_still_to_be_proven(head: RememberedHead) -> None:
    head.remember(receipt(8), head.floor)
    head.remember(receipt(9), head.floor)
    head.prove(kept_of(9), TREE.consistency(5, 9))
    assert (head.kept, head.candidate, head.offered.is_set()) == (kept_of(9), kept_of(10), True)
    head.prove(kept_of(9), [])
    assert head.alarm is None, "a proof of what is known already is of no use and no harm"


async def test_a_ledger_that_was_written_anew_is_an_alarm_and_never_taken(head: RememberedHead, path) -> None:
    head.remember(receipt(8, note=OTHER.note(9)), head.floor)
    candidate = head.candidate
    assert candidate is not None
    head.prove(candidate, OTHER.consistency(5, 9))
    assert head.alarm is not None
    assert "do not begin with the 5" in head.alarm.detail
    head.remember(receipt(20), head.floor)
    assert head.candidate is None, "after an alarm nothing more is taken"
    head.prove(kept_of(9), TREE.consistency(5, 9))
    await head.write()
    assert RememberedHead(path).kept == kept_of(5)


async def test_what_cannot_be_shown_is_an_alarm(head: RememberedHead) -> None:
    head.remember(receipt(8), head.floor)
    head.deny(kept_of(9))
    assert head.alarm is not None
    assert head.kept == kept_of(5)


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ("none", "is none"),
        (TREE.note(8), "does not cover it"),
        (TREE.note(9, origin_number=1), "another ledger"),
        ("\ud800", "is none"),
    ],
    ids=["no note", "too small", "another log", "no text"],
)
async def test_a_checkpoint_that_cannot_follow_is_an_alarm(head: RememberedHead, note: str, told: str) -> None:
    head.remember(receipt(8, note=note), head.floor)
    assert head.alarm is not None
    assert told in head.alarm.detail
    assert (head.kept, head.candidate) == (kept_of(5), None)


async def test_two_ledgers_of_one_size_are_an_alarm(path) -> None:
    head = RememberedHead(path)
    head.remember(receipt(6), -1)
    head.remember(receipt(5, note=OTHER.note(7)), -1)
    assert head.alarm is not None
    assert "two ledgers" in head.alarm.detail


@pytest.mark.parametrize("seq", [0, 3, 4])
async def test_a_place_that_was_taken_is_an_alarm_and_what_is_kept_stays(head: RememberedHead, seq: int) -> None:
    head.remember(receipt(seq), head.floor)
    assert head.alarm is not None
    assert head.alarm.code == "ledger.verify_failed"
    assert head.kept == kept_of(5)


async def test_one_place_given_twice_is_an_alarm(path) -> None:
    head = RememberedHead(path)
    head.remember(receipt(5, "a" * 64), -1)
    head.remember(receipt(5, "b" * 64), -1)
    await head.write()
    assert head.alarm is not None


async def test_a_ledger_that_signs_nothing_is_followed_by_its_places_alone(path) -> None:
    head = RememberedHead(path)
    head.remember(AppendReceipt(5, "a" * 64, None), -1)
    await head.write()
    assert (head.floor, head.kept, head.alarm) == (5, None, None)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"note": 5}', b'{"note": "none"}', b"\xff"])
async def test_what_cannot_be_read_is_an_alarm_and_not_a_fresh_start(path, content: bytes) -> None:
    path.write_bytes(content)
    head = RememberedHead(path)
    assert head.alarm is not None
    head.remember(receipt(8), head.floor)
    await head.write()
    assert head.kept is None
    assert path.read_bytes() == content


async def test_a_place_that_refuses_is_said_and_taken_again_when_it_can(tmp_path: Path, caplog) -> None:
    place = tmp_path / "place"
    head = RememberedHead(place / "head.json")
    place.touch()
    head.remember(receipt(4), -1)
    await head.write()
    assert "head.json cannot be written (File exists)" in caplog.text
    place.unlink()
    await head.write()
    assert RememberedHead(place / "head.json").kept == kept_of(5)


async def test_it_is_on_the_disk_before_it_has_its_name_and_the_event_loop_does_not_wait(
    head: RememberedHead, path, monkeypatch
) -> None:
    done: list[tuple[str, bool]] = []

    def note(what: str, of: object, name: str) -> None:
        real = getattr(of, name)

        def noted(*arguments: object) -> object:
            done.append((what, threading.current_thread() is threading.main_thread()))
            return real(*arguments)

        monkeypatch.setattr(of, name, noted)

    note("synced", os, "fsync")
    note("named", Path, "replace")
    await head.write()
    assert done == [("synced", False), ("named", False)]


async def test_a_link_or_a_fifo_beside_it_is_neither_followed_nor_waited_for(head: RememberedHead, path) -> None:
    outside = path.with_name("outside")
    outside.write_bytes(b"theirs")
    path.with_suffix(".new").symlink_to(outside)
    await head.write()
    path.with_suffix(".new").unlink()
    os.mkfifo(path.with_suffix(".new"))
    await head.write()
    assert outside.read_bytes() == b"theirs"
    assert RememberedHead(path).kept == kept_of(5)


async def test_what_is_taken_is_written_by_itself_and_nothing_twice(path) -> None:
    head = RememberedHead(path)
    writes = []

    async def pause(seconds: float) -> None:
        writes.append((seconds, path.exists()))
        if len(writes) == 1:
            return
        raise asyncio.CancelledError

    head.remember(receipt(4), -1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await head.run(pause)
    assert writes == [(WRITE_SECONDS, False)]
    assert RememberedHead(path).kept == kept_of(5)
