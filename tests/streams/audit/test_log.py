"""The log keeps what it took in, in order, once; and refuses to sign anything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from taprail.schemas.errors import LogError, StackError
from taprail.schemas.ledger import Entry, Header
from taprail.streams.audit import history, segment, tree
from taprail.streams.audit import note as notes
from taprail.streams.audit.entry import commitment_to, decode_header, leaf_input
from taprail.streams.audit.signer import SignerClient


def read_all(directory: Path) -> list[tuple[Header, bytes]]:
    found = []
    for _, path in segment.segments(directory):
        for frame in segment.read_frames(path):
            assert frame.intact
            assert commitment_to(frame.entry.salt, frame.entry.payload) == frame.entry.commitment
            found.append((decode_header(frame.entry.header), frame.entry.payload))
    return found


def test_entries_come_back_in_order_byte_for_byte(world: Any) -> None:
    world.fill(1, 39, 100, 7)
    expected = [(e.header, e.payload) for e in world.entries(0, 147)]
    assert read_all(world.directory) == expected
    assert [first for first, _ in segment.segments(world.directory)] == [0, 40, 80, 120]
    with world.open() as log:
        assert log.size == 147
        assert log.next_offset("taprail.audit", 0) == 2 * 146 + 1
        assert log.next_offset("taprail.audit", 1) is None


def test_the_checkpoint_is_signed_over_the_tree_of_the_entries(world: Any) -> None:
    world.fill(30, 30)
    checkpoint = notes.open_note((world.directory / "checkpoint").read_text(), world.verifier)
    grown = tree.CompactRange()
    for _, path in segment.segments(world.directory):
        for frame in segment.read_frames(path):
            grown.append(tree.leaf_hash(leaf_input(frame.entry.header, frame.entry.commitment)))
    assert (checkpoint.size, checkpoint.root) == (60, grown.root())
    lines = [line for part in history.parts(world.directory) for line in history.read(part)]
    assert [notes.open_note(line.note, world.verifier).size for line in lines] == [30, 60]


def test_equal_payloads_have_different_leaves(world: Any) -> None:
    """The salt hides a payload that could be guessed."""
    with world.open() as log:
        log.append(world.entries(0, 2))
        first, second = segment.read_frames(segment.path_of(world.directory, 0))
        assert first.entry.salt != second.entry.salt
        assert log.store.hashes(0, 0, 2)[0] != log.store.hashes(0, 0, 2)[1]


def test_a_second_writer_is_refused(world: Any) -> None:
    with world.open(), pytest.raises(LogError, match="another writer"):
        world.open()
    world.open().close()


@pytest.mark.parametrize("offsets", [[0], [58], [60, 60], [62, 60]])
def test_an_offset_is_taken_once_and_only_forward(world: Any, offsets: list[int]) -> None:
    world.fill(30)
    with world.open() as log:
        header = world.entries(0, 1)[0].header
        batch = [Entry(Header(**{**_fields(header), "offset": offset}), b"x") for offset in offsets]
        with pytest.raises(LogError, match="comes after"):
            log.append(batch)
        log.append(world.entries(30, 1))
        log.publish()
        assert log.size == 31
    assert len(read_all(world.directory)) == 31


def _fields(header: Header) -> dict[str, object]:
    return {name: getattr(header, name) for name in header.__struct_fields__}


def test_what_a_crash_left_behind_the_commit_is_cut(world: Any) -> None:
    world.fill(35)
    path = segment.path_of(world.directory, 0)
    whole = path.read_bytes()
    for torn in (b"\0", whole[:100], whole[: len(whole) // 2], os.urandom(5000)):
        path.write_bytes(whole + torn)
        world.open().close()
        assert path.read_bytes() == whole
    world.fill(5)
    orphan = segment.path_of(world.directory, 40)
    orphan.write_bytes(b"a batch that opened a segment and was never committed")
    world.fill(10)
    assert read_all(world.directory) == [(e.header, e.payload) for e in world.entries(0, 50)]


def test_a_segment_that_lost_committed_bytes_is_refused(world: Any) -> None:
    world.fill(50)
    newest, closed = segment.path_of(world.directory, 40), segment.path_of(world.directory, 0)
    for path in (newest, closed):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(LogError, match="bytes"):
            world.open()
        path.unlink()
        with pytest.raises(LogError):
            world.open()
        path.write_bytes(whole)
    (world.directory / f"entries-{99:020d}.seg").write_bytes(b"")
    with pytest.raises(LogError, match="doesn't belong"):
        world.open()


def test_a_rolled_back_copy_is_never_signed_over(world: Any) -> None:
    """Whoever restores yesterday's disk and goes on would sign two histories: signer and checkpoint say no."""
    world.fill(20)
    old = world.root / "yesterday"
    shutil.copytree(world.directory, old)
    world.fill(20)
    shutil.rmtree(world.directory)
    shutil.copytree(old, world.directory)
    with pytest.raises(LogError, match="older copy"):
        world.open()


def test_a_signer_that_forgot_is_caught_by_the_published_checkpoint(world: Any) -> None:
    world.fill(20)
    forgetful = world.key.with_name("log.key.state")
    fresh = forgetful.read_bytes()
    old = world.root / "yesterday"
    shutil.copytree(world.directory, old)
    world.fill(20)
    published = (world.directory / "checkpoint").read_bytes()
    shutil.rmtree(world.directory)
    shutil.copytree(old, world.directory)
    forgetful.write_bytes(fresh)
    (world.directory / "checkpoint").write_bytes(published)
    with pytest.raises(LogError, match="`checkpoint` has published 40"):
        world.open()


def test_a_publication_cut_short_is_finished_at_the_next_start(world: Any) -> None:
    world.fill(10)
    before = (world.directory / "checkpoint").read_bytes()
    world.fill(10)
    after = (world.directory / "checkpoint").read_bytes()
    for leftover in (before, None):
        if leftover is None:
            (world.directory / "checkpoint").unlink()
        else:
            (world.directory / "checkpoint").write_bytes(leftover)
        world.open().close()
        assert (world.directory / "checkpoint").read_bytes() == after


def test_entries_stay_when_the_signer_is_away(world: Any) -> None:
    world.fill(5)
    with world.open() as log:
        log._signer = SignerClient(world.root / "nobody.sock")
        log.append(world.entries(5, 5))
        with pytest.raises(StackError, match="doesn't answer"):
            log.publish()
        log._signer = world.signer()
        assert log.publish().size == 10


def test_changed_hashes_in_the_index_are_refused(world: Any) -> None:
    world.fill(30)
    with world.open() as log:
        log.store._database.execute("UPDATE leaves SET hash = zeroblob(32) WHERE idx = 3")
    with pytest.raises(LogError, match="contradicts itself"):
        world.open()


def test_a_new_segment_content_of_the_same_length_is_refused(world: Any) -> None:
    world.fill(30)
    path = segment.path_of(world.directory, 0)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"taprail.audit")] ^= 1  # in the newest header
    path.write_bytes(data)
    with pytest.raises(LogError, match="newest"):
        world.open()


def test_an_entry_that_fits_no_header_leaves_the_log_as_it_was(world: Any) -> None:
    with world.open() as log:
        bad = Entry(Header("t" * 300, 0, 0, 0, 0, bytes(32), "x"), b"")
        with pytest.raises(LogError, match="header"):
            log.append([*world.entries(0, 2), bad])
        log.append(world.entries(0, 2))
        assert log.publish().size == 2
