from __future__ import annotations

from typing import Any

import pytest
from signed_log import SignedLog, grown

from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.web.audit_proof import Standing, prove_entry
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import Frontier, inclusion_proof
from mycelos.proxy.vault.signing import verifies
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


class Proxy:
    """Gives the paths of one log; the gateway remembers what another, or the same, has signed."""

    def __init__(self, log: SignedLog, remembered: bytes | None) -> None:
        self.log = log
        self.kept = None if remembered is None else Kept.read(remembered.decode())

    async def remembered(self) -> Kept | None:
        return self.kept

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        if size > self.log.size:
            raise Refusal(ProblemCode.INVALID_REQUEST, "There are not so many.", "no")
        tree, nodes = Frontier(), {}
        for entry in self.log.entries:
            for level, place, found in tree.append(bytes.fromhex(entry.leaf_hash)):
                nodes[level, place] = found
        return inclusion_proof(seq, size, lambda level, place: nodes[level, place])


def columns(log: SignedLog, seq: int) -> dict[str, Any]:
    return log.entries[seq].as_dict()


@pytest.mark.parametrize("seq", [0, 3, 8])
async def test_an_entry_is_shown_to_be_there_and_the_file_says_so_to_others(seq: int) -> None:
    log = grown(8)
    found = await prove_entry(Proxy(log, log.note()), columns(log, seq))
    assert found.standing is Standing.HOLDS
    assert found.proof is not None
    leaf = bytes.fromhex(log.entries[seq].leaf_hash)
    assert found.proof.verify(leaf, log.origin, [log.vkey()], verifies).size == 9


async def test_what_came_after_the_checkpoint_is_not_shown_yet() -> None:
    log = grown(8)
    assert (await prove_entry(Proxy(log, log.note(5)), columns(log, 5))).standing is Standing.UNSIGNED
    assert (await prove_entry(Proxy(log, None), columns(log, 5))).standing is Standing.UNSIGNED


@pytest.mark.parametrize("change", [{"agent": "x"}, {"leaf_hash": "0" * 64}, {"details": {"port": 1}}, {"v": 2}])
async def test_a_changed_entry_is_broken_whatever_the_proxy_proves(change: dict[str, Any]) -> None:
    log = grown(8)
    found = await prove_entry(Proxy(log, log.note()), columns(log, 3) | change)
    assert (found.standing, found.proof) == (Standing.BROKEN, None)


async def test_a_ledger_that_was_written_anew_is_broken_although_each_entry_has_its_hash() -> None:
    log, other = grown(8), grown(3)
    other.append(Event.PROXY_STARTED)
    other.fill(5)
    found = await prove_entry(Proxy(other, log.note()), columns(other, 6))
    assert (found.standing, found.proof) == (Standing.BROKEN, None)
    assert "not the one that this gateway remembers" in found.reason


async def test_without_a_proof_nothing_holds() -> None:
    log = grown(8)
    proxy = Proxy(grown(2), log.note())
    assert (await prove_entry(proxy, columns(log, 1))).standing is Standing.UNAVAILABLE
