"""The audit log's types: what a leaf is, where leaf hashes live, and who signs a checkpoint.

The tree is RFC 6962's (RFC 9162, chapter 2.1); a checkpoint is C2SP's tlog-checkpoint inside a signed note. `LeafStore`
counts hashes in tiles of 256, as C2SP's tlog-tiles does, so that tiles can be published from it later. A signer
may return several signatures: two keys while one replaces the other, or Ed25519 beside another algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
UNKNOWN_KIND = "unknown"
NO_SCHEMA = bytes(32)


class Header(Struct, frozen=True):
    """What a leaf says in the clear: which record it is and how to read it. Never erased.

    `offset` and `partition` are Kafka's; `schema_sha256` is the hash of the Avro schema's text, so that the schema
    which reads a payload can't be exchanged either. 32 zero bytes where the schema is unknown.
    """

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    schema_id: int
    schema_sha256: bytes
    kind: str


class Entry(Struct, frozen=True):
    """A record on its way into the log; `payload` is the Kafka value, byte for byte, its Avro frame included."""

    header: Header
    payload: bytes


class Leaf(Struct, frozen=True):
    """A leaf as the store knows it. `segment` is the first index of its segment, `position` its byte offset there."""

    index: int
    hash: bytes
    topic: str
    partition: int
    offset: int
    segment: int
    position: int


class Checkpoint(Struct, frozen=True):
    """A size of the log and the root hash of the tree at that size."""

    origin: str
    size: int
    root: bytes


class NoteSignature(Struct, frozen=True):
    """One signature line of a signed note; `key_id` is 4 bytes."""

    name: str
    key_id: bytes
    signature: bytes


class Commit(Struct, frozen=True):
    """What one batch adds: all of it is stored in one transaction, or none.

    `tiles` are (level, index, hash) of the subtrees that the batch completed, levels 1 and up; `peaks` are
    the compact range after it; the segment named `segment` was created or grew to `segment_bytes`.
    """

    leaves: Sequence[Leaf]
    tiles: Sequence[tuple[int, int, bytes]]
    size: int
    peaks: Sequence[bytes]
    segment: int
    segment_bytes: int


class HashSource(Protocol):
    """Reads hashes of the tree: at level n, hash i covers the 256**n leaves from i * 256**n on; level 0 is leaves."""

    @property
    def size(self) -> int: ...
    def hashes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        """Raises LogError where fewer than `count` are stored."""
        ...


class LeafStore(HashSource, Protocol):
    """Where leaf hashes, positions and the last signed checkpoint live. Every write is durable when it returns."""

    @property
    def peaks(self) -> Sequence[bytes]: ...
    def leaf(self, index: int) -> Leaf | None: ...
    def find(self, topic: str, partition: int, offset: int) -> Leaf | None: ...
    def next_offset(self, topic: str, partition: int) -> int | None:
        """One past the newest offset that was taken in; None where nothing was."""
        ...

    def commit(self, batch: Commit) -> None:
        """Raises LogError where a (topic, partition, offset) is in the log already."""
        ...

    def signed(self) -> tuple[Checkpoint, str] | None:
        """The newest checkpoint that was signed, with its note."""
        ...

    def set_signed(self, checkpoint: Checkpoint, note: str) -> None: ...


class Signer(Protocol):
    """Signs checkpoints, and only such as are consistent with the one it signed last: a process, a vault, a KMS."""

    @property
    def name(self) -> str:
        """The key's name, which is the log's origin."""
        ...

    def last(self) -> Checkpoint:
        """The newest checkpoint that this signer has signed; size 0 where there is none."""
        ...

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes]) -> tuple[NoteSignature, ...]:
        """`proof` is the consistency proof from `last()`. Raises LogError where it doesn't hold: nothing is signed."""
        ...
