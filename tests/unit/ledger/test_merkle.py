from __future__ import annotations

import base64
import functools
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_vectors import FOLDER, published

from mycelos.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    frontier_places,
    hash_children,
    hash_pairs,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = 131
LEAVES = [hashlib.sha256(b"\x00" + number.to_bytes(2, "big")).digest() for number in range(SIZES)]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    power = 1
    while power * 2 < len(leaves):
        power *= 2
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:power]) + recursive_root(leaves[power:])).digest()


@functools.cache
def hash_of(start: int, end: int) -> bytes:
    """MTH(D[start:end]) of `LEAVES`."""
    return recursive_root(LEAVES[start:end])


def power_below(count: int) -> int:
    """k, the largest power of two smaller than n."""
    return 1 << (count - 1).bit_length() - 1


def recursive_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]), section 2.1.1, word by word."""
    if end - start == 1:
        return []
    middle = start + power_below(end - start)
    if index < middle:
        return [*recursive_path(index, start, middle), hash_of(middle, end)]
    return [*recursive_path(index, middle, end), hash_of(start, middle)]


def recursive_proof(old: int, start: int, end: int, *, is_whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[start:end], b), section 2.1.2, word by word; ``old`` counts from the first leaf of all."""
    if old == end:
        return [] if is_whole else [hash_of(start, end)]
    middle = start + power_below(end - start)
    if old <= middle:
        return [*recursive_proof(old, start, middle, is_whole=is_whole), hash_of(middle, end)]
    return [*recursive_proof(old, middle, end, is_whole=False), hash_of(start, middle)]


class StoredTree:
    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = Frontier()
        self.roots = [self.frontier.root()]
        for leaf in leaves:
            for level, place, found in self.frontier.append(leaf):
                assert (level, place) not in self.nodes
                self.nodes[level, place] = found
            self.roots.append(self.frontier.root())

    def node(self, level: int, place: int) -> bytes:
        return self.nodes[level, place]


TREE = StoredTree(LEAVES)


def test_the_root_of_every_size_is_the_recursive_one():
    for size in range(SIZES + 1):
        expected = recursive_root(LEAVES[:size])
        assert TREE.roots[size] == root_of(size, TREE.node) == Frontier.of(size, TREE.node).root() == expected
    assert root_of(0, TREE.node) == EMPTY_ROOT


def test_the_proofs_of_every_size_are_the_recursive_ones():
    for size in range(1, SIZES):
        for index in range(size):
            assert inclusion_proof(index, size, TREE.node) == recursive_path(index, 0, size)
        for old in range(1, size + 1):
            assert consistency_proof(old, size, TREE.node) == recursive_proof(old, 0, size, is_whole=True)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
def test_the_level_above_is_the_hash_of_each_two(count):
    row = LEAVES[:count]
    assert hash_pairs(row) == [hash_children(*row[start : start + 2]) for start in range(0, count - 1, 2)]


def test_the_example_of_the_rfc():
    """RFC 6962, section 2.1.3: seven leaves, the paths by the names of the nodes there."""
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = hash_children(a, b), hash_children(c, d), hash_children(e, f)
    k, l = hash_children(g, h), hash_children(i, j)  # noqa: E741 - the letters of the RFC
    paths = {0: [b, h, l], 3: [c, g, l], 4: [f, j, k], 6: [i, k]}
    assert {index: inclusion_proof(index, 7, TREE.node) for index in paths} == paths
    proofs = {3: [c, d, g, l], 4: [l], 6: [i, j, k]}
    assert {old: consistency_proof(old, 7, TREE.node) for old in proofs} == proofs
    assert TREE.roots[7] == hash_children(k, l)
    assert (TREE.roots[3], TREE.roots[4], TREE.roots[6]) == (hash_children(g, c), k, hash_children(k, i))


def end_of(place: tuple[int, int]) -> int:
    return (place[1] + 1) << place[0]


@given(st.lists(st.integers(0, 40), max_size=8))
def test_many_leaves_at_once_make_the_same_tree_as_one_by_one(counts):
    frontier = Frontier()
    for count in counts:
        if frontier.size + count > SIZES:
            break
        size, leaves = frontier.size, LEAVES[frontier.size : frontier.size + count]
        levels = [list(enumerate(hashes, size >> level)) for level, hashes in enumerate(frontier.extend(leaves))]
        assert frontier.root() == TREE.roots[frontier.size]
        assert leaves == LEAVES[frontier.size - count : frontier.size]
        found = {(level, place): one for level, hashes in enumerate(levels) for place, one in hashes}
        assert found == {place: one for place, one in TREE.nodes.items() if size < end_of(place) <= frontier.size}


def test_a_tree_goes_on_from_every_size_in_both_ways():
    for size in range(0, SIZES, 3):
        frontier = Frontier()
        frontier.extend(LEAVES[:size])
        list(frontier.append(LEAVES[size]))
        frontier.extend(LEAVES[size + 1 :])
        assert (frontier.size, frontier.root()) == (SIZES, TREE.roots[SIZES])


def test_every_entry_of_every_size_is_shown_and_in_no_other_place():
    for size in range(1, SIZES + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, TREE.node)
            verify_inclusion(LEAVES[index], index, size, proof, TREE.roots[size])
            if size > 1:
                with pytest.raises(ProofError):
                    verify_inclusion(LEAVES[index], (index + 1) % size, size, proof, TREE.roots[size])


def test_every_size_is_the_beginning_of_every_later_one():
    for new in range(SIZES + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, TREE.node)
            verify_consistency(old, new, proof, TREE.roots[old], TREE.roots[new])


@given(st.data())
def test_a_proof_with_one_bit_changed_shows_nothing(data):
    new = data.draw(st.integers(3, SIZES))
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, TREE.node)
    hashes = [*proof, TREE.roots[old], TREE.roots[new]]
    which = data.draw(st.integers(0, len(hashes) - 1))
    bit = data.draw(st.integers(0, 255))
    hashes[which] = (int.from_bytes(hashes[which], "big") ^ (1 << bit)).to_bytes(32, "big")
    with pytest.raises(ProofError):
        verify_consistency(old, new, hashes[:-2], hashes[-2], hashes[-1])


@given(st.data())
def test_a_proof_with_a_hash_more_or_less_shows_nothing(data):
    size = data.draw(st.integers(2, SIZES))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, TREE.node)
    place = data.draw(st.integers(0, len(proof) - 1))
    for changed in ([*proof, proof[place]], proof[:place] + proof[place + 1 :], [*proof, b"short"], []):
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[index], index, size, changed, TREE.roots[size])


def test_what_is_not_there_is_not_shown():
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ProofError):
            inclusion_proof(index, size, TREE.node)
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[0], index, size, [], TREE.roots[max(size, 0)])
    for old, new in ((4, 3), (-1, 3)):
        with pytest.raises(ProofError):
            consistency_proof(old, new, TREE.node)
        with pytest.raises(ProofError):
            verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)


def test_an_empty_tree_is_the_beginning_of_every_tree_by_its_own_root_only():
    verify_consistency(0, 5, [], EMPTY_ROOT, TREE.roots[5])
    with pytest.raises(ProofError):
        verify_consistency(0, 5, [], TREE.roots[1], TREE.roots[5])
    with pytest.raises(ProofError):
        verify_consistency(0, 0, [], TREE.roots[1], TREE.roots[1])


def test_a_frontier_has_a_hash_for_each_one_of_its_size():
    assert [level for level, _ in frontier_places(0b1011)] == [3, 1, 0]
    for size, roots in ((3, LEAVES[:1]), (-1, []), (0, LEAVES[:1])):
        with pytest.raises(ValueError, match="frontier"):
            Frontier(size, roots)


def test_inner_nodes_and_leaves_are_hashed_apart():
    left, right = LEAVES[:2]
    assert hash_children(left, right) != hashlib.sha256(b"\x00" + left + right).digest()


def test_published_cases_of_inclusion_are_judged_as_their_authors_say():
    for case in published("merkle/inclusion.jsonl"):
        proof = [base64.b64decode(line) for line in case["proof"] or []]
        leaf, root = (base64.b64decode(case[name] or "") for name in ("leafHash", "root"))
        holds = True
        try:
            verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
        except ProofError:
            holds = False
        assert holds is not case["wantErr"], case["desc"]


def test_published_cases_of_consistency_are_judged_as_their_authors_say():
    for case in published("merkle/consistency.jsonl"):
        proof = [base64.b64decode(line) for line in case["proof"] or []]
        roots = [base64.b64decode(case[name] or "") for name in ("root1", "root2")]
        holds = True
        try:
            verify_consistency(case["size1"], case["size2"], proof, *roots)
        except ProofError:
            holds = False
        assert holds is not case["wantErr"], case["desc"]


def test_the_classic_tree_of_eight_leaves_has_its_published_roots():
    path = FOLDER / "merkle" / "tree8.json"
    if not path.is_file():
        return
    tree = json.loads(path.read_text())
    frontier = Frontier()
    for size, leaf in enumerate(tree["leaf_inputs_hex"]):
        assert frontier.root().hex() == tree["root_by_size_hex"][size]
        list(frontier.append(hashlib.sha256(b"\x00" + bytes.fromhex(leaf)).digest()))
    assert frontier.root().hex() == tree["root_by_size_hex"][8]
