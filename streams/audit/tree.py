"""The Merkle tree of RFC 6962 and RFC 9162, chapter 2.1: hashes, compact range, proofs and their verification.

Pure functions over hashes; `HashSource` says where they are read from. Sizes count leaves; a proof is a list of
32-byte hashes in the RFC's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from taprail.schemas.errors import LogError
from taprail.schemas.ledger import TILE_HEIGHT, HashSource

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class CompactRange:
    """The roots of the complete subtrees that a log of `size` leaves falls into, the largest first.

    It is all that appending needs: at most log2(size) hashes, whatever the size.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise LogError(f"{len(self.peaks)} peaks can't stand for a log of {size} leaves")

    def copy(self) -> CompactRange:
        return CompactRange(self.size, self.peaks)

    def append(self, leaf: bytes) -> None:
        peaks, size = self.peaks, self.size
        while size & 1:
            leaf = sha256(b"\1" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> list[tuple[int, int, bytes]]:
        """Append many; returns (tile level, index, hash) of each subtree of 256**level leaves that became complete."""
        tiles = []
        peaks, size = self.peaks, self.size
        for leaf in leaves:
            rest, height, index = size, 0, size
            while rest & 1:
                leaf = sha256(b"\1" + peaks.pop() + leaf).digest()
                rest >>= 1
                height += 1
                if not height % TILE_HEIGHT:
                    tiles.append((height // TILE_HEIGHT, index >> height, leaf))
            peaks.append(leaf)
            size += 1
        self.size = size
        return tiles

    def root(self) -> bytes:
        return _fold(self.peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """The root over subtrees, the largest first: the last two are joined until one is left."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _subtree(source: HashSource, begin: int, height: int) -> bytes:
    """The root of the complete subtree of 2**height leaves that starts at `begin`, a multiple of that."""
    level, rest = divmod(height, TILE_HEIGHT)
    hashes = list(source.hashes(level, begin >> (level * TILE_HEIGHT), 1 << rest))
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def peaks(source: HashSource, begin: int, end: int) -> list[bytes]:
    """The complete subtrees that leaves begin <= i < end fall into. `begin` must be aligned to the first of them."""
    found = []
    for height in reversed(range((end - begin).bit_length())):
        if (end - begin) >> height & 1:
            found.append(_subtree(source, begin, height))
            begin += 1 << height
    return found


def root(source: HashSource, size: int) -> bytes:
    """The root of the first `size` leaves."""
    _check_size(source, size)
    return _fold(peaks(source, 0, size))


def inclusion_proof(source: HashSource, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162, 2.1.3.1."""
    _check_size(source, size)
    if not 0 <= index < size:
        raise LogError(f"leaf {index} isn't in a log of {size} leaves")
    proof, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(_fold(peaks(source, middle, end)))
            end = middle
        else:
            proof.append(_fold(peaks(source, begin, middle)))
            begin = middle
    return proof[::-1]


def consistency_proof(source: HashSource, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 9162, 2.1.4.1. Empty where old is 0 or equals new: there is nothing to prove."""
    _check_size(source, new)
    if not 0 <= old <= new:
        raise LogError(f"no consistency proof leads from {old} leaves to {new}")
    proof: list[bytes] = []
    begin, end, whole = 0, new, True
    while 0 < old - begin < end - begin:
        middle = begin + _split(end - begin)
        if old <= middle:
            proof.append(_fold(peaks(source, middle, end)))
            end = middle
        else:
            proof.append(_fold(peaks(source, begin, middle)))
            begin, whole = middle, False
    if not whole:
        proof.append(_fold(peaks(source, begin, end)))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, last = index, size - 1
    result = leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and result == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162, 2.1.4.2; and an empty log is consistent with any, a log with itself."""
    if not 0 <= old <= new or (old == 0 and old_root != EMPTY_ROOT):
        return False
    if old == new or old == 0:
        return not proof and (old != new or old_root == new_root)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    from_old = from_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            from_old = node_hash(sibling, from_old)
            from_new = node_hash(sibling, from_new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            from_new = node_hash(from_new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and from_old == old_root and from_new == new_root


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _check_size(source: HashSource, size: int) -> None:
    if not 0 <= size <= source.size:
        raise LogError(f"a tree of {size} leaves was asked for, and the store has {source.size}")
