"""A larger checkpoint is proven before it is remembered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from grown_tree import GrownTree

from mycelos.gateway.proxy_client.head import RememberedHead
from mycelos.gateway.proxy_client.head_follower import PROVE_SECONDS, HeadFollower
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

TREE = GrownTree(40)


def receipt(seq: int) -> AppendReceipt:
    return AppendReceipt(seq=seq, leaf_hash="a" * 64, checkpoint=TREE.note(seq + 1))


class Proxy:
    """Gives proofs of a tree, or refuses; and tells what it was asked."""

    def __init__(self, tree: GrownTree = TREE) -> None:
        self.tree = tree
        self.refusal: ProblemCode | None = None
        self.asked: list[tuple[int, int]] = []

    async def consistency(self, old: int, new: int) -> list[bytes]:
        self.asked.append((old, new))
        if self.refusal is not None:
            raise Refusal(self.refusal, "no", "no")
        return self.tree.consistency(old, new)


@pytest.fixture
async def head(anyio_backend: str, tmp_path: Path) -> RememberedHead:
    head = RememberedHead(tmp_path / "head.json")
    head.remember(receipt(4), -1)
    return head


def size(head: RememberedHead) -> int:
    assert head.kept is not None
    return head.kept.size


async def test_the_newest_of_many_is_proven_at_once(head: RememberedHead) -> None:
    proxy = Proxy()
    for seq in range(5, 12):
        head.remember(receipt(seq), head.floor)
    await HeadFollower(head, proxy.consistency).prove()
    assert (size(head), proxy.asked) == (12, [(5, 12)])
    await HeadFollower(head, proxy.consistency).prove()
    assert proxy.asked == [(5, 12)], "nothing is asked where nothing is new"


async def test_another_tree_is_an_alarm(head: RememberedHead) -> None:
    head.remember(receipt(8), head.floor)
    await HeadFollower(head, Proxy(GrownTree(40, "b")).consistency).prove()
    assert head.alarm is not None
    assert size(head) == 5


async def test_a_proxy_that_says_that_there_are_not_so_many_entries_is_an_alarm(head: RememberedHead) -> None:
    proxy = Proxy()
    proxy.refusal = ProblemCode.INVALID_REQUEST
    head.remember(receipt(8), head.floor)
    await HeadFollower(head, proxy.consistency).prove()
    assert head.alarm is not None


@pytest.mark.parametrize("code", [ProblemCode.PROXY_UNAVAILABLE, ProblemCode.UPSTREAM_TIMEOUT, ProblemCode.INTERNAL])
async def test_a_proxy_that_is_away_is_asked_later(head: RememberedHead, code: ProblemCode) -> None:
    proxy = Proxy()
    proxy.refusal = code
    follower = HeadFollower(head, proxy.consistency)
    head.remember(receipt(8), head.floor)
    await follower.prove()
    assert (head.alarm, size(head)) == (None, 5)
    proxy.refusal = None
    await follower.prove()
    assert size(head) == 9


async def test_two_proofs_at_a_time_are_no_alarm(head: RememberedHead) -> None:
    follower = HeadFollower(head, Proxy().consistency)
    head.remember(receipt(8), head.floor)
    await asyncio.gather(follower.prove(), follower.prove())
    assert (head.alarm, size(head)) == (None, 9)


async def test_it_follows_what_is_offered_with_a_pause_between_two_proofs(head: RememberedHead) -> None:
    pauses: list[float] = []
    proxy, pausing = Proxy(), asyncio.Semaphore(0)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            pausing.release()
            await asyncio.Event().wait()
        # An entry that comes meanwhile.
        head.remember(receipt(20), head.floor)

    head.remember(receipt(8), head.floor)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(HeadFollower(head, proxy.consistency).run(pause))
        await pausing.acquire()
        following.cancel()
    assert proxy.asked == [(5, 9), (9, 21)]
    assert pauses == [PROVE_SECONDS] * 2
