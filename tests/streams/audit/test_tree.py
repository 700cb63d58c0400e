"""The tree against RFC 6962's definitions, written as naively as the RFC writes them."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import LogError
from taprail.streams.audit import tree

# The leaves and roots of Certificate Transparency's reference implementation (merkle_tree_test).
LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Hashes:
    """A HashSource over a list of leaf hashes, tiles included."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        tiles = tree.CompactRange().extend(leaves)
        for level in (1, 2):
            self.levels.append([h for _, h in sorted((i, h) for at, i, h in tiles if at == level)])

    @property
    def size(self) -> int:
        return len(self.levels[0])

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        found = self.levels[level][first : first + count]
        assert len(found) == count
        return found


def leaves_of(count: int) -> list[bytes]:
    return [tree.leaf_hash(b"%d" % i) for i in range(count)]


def mth(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def test_roots_of_the_reference_implementation() -> None:
    grown = tree.CompactRange()
    assert grown.root() == tree.EMPTY_ROOT
    source = Hashes([tree.leaf_hash(data) for data in LEAVES])
    for size, (data, expected) in enumerate(zip(LEAVES, ROOTS, strict=True), start=1):
        grown.append(tree.leaf_hash(data))
        assert grown.root().hex() == expected
        assert tree.root(source, size).hex() == expected


def test_proofs_of_the_rfc_example() -> None:
    """RFC 6962, 2.1.3: seven leaves, nodes a-n by name."""
    a, b, c, d, e, f, j = (tree.leaf_hash(b"d%d" % i) for i in range(7))
    source = Hashes([a, b, c, d, e, f, j])
    g, h, i = tree.node_hash(a, b), tree.node_hash(c, d), tree.node_hash(e, f)
    k, l = tree.node_hash(g, h), tree.node_hash(i, j)  # noqa: E741
    assert tree.inclusion_proof(source, 0, 7) == [b, h, l]
    assert tree.inclusion_proof(source, 3, 7) == [c, g, l]
    assert tree.inclusion_proof(source, 4, 7) == [f, j, k]
    assert tree.inclusion_proof(source, 6, 7) == [i, k]
    assert tree.consistency_proof(source, 3, 7) == [c, d, g, l]
    assert tree.consistency_proof(source, 4, 7) == [l]
    assert tree.consistency_proof(source, 6, 7) == [i, j, k]


@given(st.integers(1, 700), st.data())
def test_inclusion_holds_for_the_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    source, root = Hashes(leaves), mth(leaves)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(source, index, size)
    assert tree.verify_inclusion(leaves[index], index, size, proof, root)
    assert tree.verify_inclusion(leaves[other], other, size, proof, root) == (other == index)
    assert not tree.verify_inclusion(tree.leaf_hash(b"other"), index, size, proof, root)
    assert not tree.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    if proof:
        assert not tree.verify_inclusion(leaves[index], index, size, proof[:-1], root)


@given(st.integers(0, 700), st.data())
def test_consistency_is_the_rfcs_proof_and_holds(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    leaves = leaves_of(new)
    proof = tree.consistency_proof(Hashes(leaves), old, new)
    assert proof == ([] if old in (0, new) else subproof(old, leaves, True))
    old_root, new_root = mth(leaves[:old]), mth(leaves)
    assert tree.verify_consistency(old, old_root, new, new_root, proof)
    assert not tree.verify_consistency(old, sha256(b"x").digest(), new, new_root, proof)
    if old:
        assert not tree.verify_consistency(old, old_root, new, sha256(b"x").digest(), proof)
    assert not tree.verify_consistency(old, old_root, new, new_root, [*proof, new_root])
    for drop in range(len(proof)):
        assert not tree.verify_consistency(old, old_root, new, new_root, proof[:drop] + proof[drop + 1 :])


@given(st.integers(2, 300), st.data())
def test_a_rewritten_log_has_no_consistency_proof(new: int, data: st.DataObject) -> None:
    """Whoever changes a leaf that was signed can't prove the new log consistent with the old root."""
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    leaves = leaves_of(new)
    signed = mth(leaves[:old])
    leaves[changed] = tree.leaf_hash(b"rewritten")
    proof = tree.consistency_proof(Hashes(leaves), old, new)
    assert not tree.verify_consistency(old, signed, new, mth(leaves), proof)


@given(st.lists(st.integers(0, 300), max_size=5))
def test_batches_give_the_same_tree_and_tiles_as_single_leaves(batches: list[int]) -> None:
    leaves = leaves_of(sum(batches))
    one, many = tree.CompactRange(), tree.CompactRange()
    tiles, begin = [], 0
    for count in batches:
        tiles += many.extend(leaves[begin : begin + count])
        begin += count
    for leaf in leaves:
        one.append(leaf)
    assert (one.size, one.peaks) == (many.size, many.peaks)
    assert one.root() == mth(leaves)
    assert tiles == [(1, i, mth(leaves[i * 256 : i * 256 + 256])) for i in range(len(leaves) // 256)]


def test_a_tile_of_tiles() -> None:
    """65,536 leaves complete one subtree at level 2, and proofs use it."""
    leaves = leaves_of(65_536 + 300)
    source = Hashes(leaves)
    assert len(source.levels[1]) == 257 and len(source.levels[2]) == 1
    grown = tree.CompactRange()
    grown.extend(leaves)
    proof = tree.inclusion_proof(source, 65_600, source.size)
    assert tree.verify_inclusion(leaves[65_600], 65_600, source.size, proof, grown.root())


def test_questions_outside_the_log_are_refused() -> None:
    source = Hashes(leaves_of(3))
    with pytest.raises(LogError):
        tree.inclusion_proof(source, 3, 3)
    with pytest.raises(LogError):
        tree.root(source, 4)
    with pytest.raises(LogError):
        tree.consistency_proof(source, 3, 2)
    with pytest.raises(LogError):
        tree.CompactRange(3, [b"one peak"])
    assert not tree.verify_inclusion(b"", 3, 3, [], b"")
    assert not tree.verify_consistency(3, b"", 2, b"", [])
