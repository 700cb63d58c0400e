"""Everything that somebody with root may do to a log, and what verification says of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taprail.schemas.errors import SettingsError
from taprail.schemas.ledger import Checkpoint
from taprail.streams.audit import history, segment, tree
from taprail.streams.audit import note as notes
from taprail.streams.audit.entry import commitment_to, decode_header, encode_frame, encode_header, leaf_input
from taprail.streams.audit.report import Problem, Report
from taprail.streams.audit.signer import generate_key
from taprail.streams.audit.verify import verify

SIZE = 100  # in three segments of 40, 40 and 20, signed at 30, 60 and 100


@pytest.fixture
def log(world: Any) -> Any:
    world.fill(30, 30, 40)
    return world


def frames(directory: Path, first: int) -> list[bytes]:
    path = segment.path_of(directory, first)
    data = path.read_bytes()
    return [data[f.position : f.end] for f in segment.read_frames(path)]


def rewrite(directory: Path, first: int, parts: list[bytes]) -> None:
    segment.path_of(directory, first).write_bytes(b"".join(parts))


def edit_index(directory: Path, *statements: str) -> None:
    with sqlite3.connect(directory / "index.sqlite") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def forge(frame: bytes, text: bytes, salt: bytes | None = None) -> bytes:
    """A frame whose payload says something else, with checksum and commitment done anew."""
    entry = segment.decode_body(frame[8:])
    salt = salt or entry.salt
    payload = entry.payload.replace(b"select 1", text)
    return encode_frame(entry.header, commitment_to(salt, payload), salt, payload)


def leaf_of(frame: bytes) -> bytes:
    entry = segment.decode_body(frame[8:])
    return tree.leaf_hash(leaf_input(entry.header, entry.commitment))


def only(report: Report) -> Problem:
    assert len(report.problems) == 1, report.to_text()
    return report.problems[0]


def test_an_untouched_log_verifies(log: Any) -> None:
    report = verify(log.directory, log.verifier)
    assert report.ok and report.problems == ()
    assert (report.size, report.entries, report.unsigned, report.checkpoints) == (SIZE, SIZE, 0, 4)
    assert report.checkpoint and report.checkpoint.size == SIZE


def test_it_needs_neither_kafka_nor_faust(log: Any) -> None:
    program = """
import sys
from taprail.streams.audit.verify import verify
report = verify(sys.argv[1], sys.argv[2])
bad = sorted(m for m in sys.modules if m.partition(".")[0] in ("confluent_kafka", "faust", "aiokafka", "mode"))
print(report.ok, bad)
"""
    command = [sys.executable, "-c", program, str(log.directory), f"{log.verifier}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True []\n"


def test_it_writes_nothing(log: Any) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in log.directory.rglob("*")}
    assert verify(log.directory, log.verifier).ok
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in log.directory.rglob("*")} == before


def test_a_copy_that_nobody_may_write_to_verifies(log: Any) -> None:
    """On a directory without write permission, with a write-ahead log that is still needed; root steps down first."""
    with tempfile.TemporaryDirectory() as folder, log.open() as open_log:
        open_log.append(log.entries(SIZE, 5))
        open_log.publish()
        copy = Path(folder, "log")
        shutil.copytree(log.directory, copy)
        assert (copy / "index.sqlite-wal").stat().st_size
        (copy / "index.sqlite-shm").unlink()
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        Path(folder).chmod(0o755)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            report = verify(copy, log.verifier, parquet=False)
            os._exit(0 if report.ok and report.size == SIZE + 5 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_beside_the_open_writer_it_verifies(log: Any) -> None:
    with log.open() as open_log:
        for _ in range(3):
            open_log.append(log.entries(open_log.size, 7))
            open_log.publish()
            assert verify(log.directory, log.verifier).ok
        open_log.append(log.entries(open_log.size, 3))
        report = verify(log.directory, log.verifier)
        assert report.ok and report.unsigned == 3 and "3 entries are newer" in report.to_text()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_flipped_byte_of_any_segment_is_named(log: Any, data: st.DataObject) -> None:
    first, path = data.draw(st.sampled_from(segment.segments(log.directory)))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    places = [f.position for f in segment.read_frames(path)]
    index = first + sum(place <= at for place in places) - 1
    path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    report = verify(log.directory, log.verifier)
    path.write_bytes(whole)
    assert not report.ok
    named = [p for p in report.problems if p.first <= index <= p.last]
    assert named and named[0].offset == 2 * named[0].first, report.to_text()
    assert all(p.first == p.last == index for p in report.problems if p.first >= 0), report.to_text()


def test_a_changed_payload_names_index_offset_and_statement(log: Any) -> None:
    parts = frames(log.directory, 40)
    parts[3] = parts[3].replace(b"select 1", b"select 2")
    rewrite(log.directory, 40, parts)
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.offset, problem.statement) == ("changed", 43, 86, "t1/3/43")
    assert "payload or salt" in problem.message


@pytest.mark.parametrize("salt", [None, b"s" * 32])
def test_a_change_with_checksum_and_commitment_done_anew_is_named(log: Any, salt: bytes | None) -> None:
    parts = frames(log.directory, 40)
    parts[3] = forge(parts[3], b"select 2", salt)
    rewrite(log.directory, 40, parts)
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.statement) == ("changed", 43, "t1/3/43")


@pytest.mark.parametrize("field, value", [("offset", 2**40), ("kind", "session"), ("timestamp_us", 1), ("topic", "x")])
def test_a_changed_header_is_named(log: Any, field: str, value: object) -> None:
    parts = frames(log.directory, 40)
    entry = segment.decode_body(parts[3][8:])
    header = decode_header(entry.header)
    changed = type(header)(**{**{n: getattr(header, n) for n in header.__struct_fields__}, field: value})
    parts[3] = encode_frame(encode_header(changed), entry.commitment, entry.salt, entry.payload)
    rewrite(log.directory, 40, parts)
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.offset) == ("changed", 43, 86)


def test_removed_entries_are_named(log: Any) -> None:
    parts = frames(log.directory, 40)
    rewrite(log.directory, 40, parts[:5] + parts[6:10] + parts[13:])
    problems = verify(log.directory, log.verifier).problems
    found = [(p.kind, p.first, p.last, p.offset) for p in problems]
    assert found == [("removed", 45, 45, 90), ("removed", 50, 52, 100)]


def test_swapped_entries_are_named(log: Any) -> None:
    parts = frames(log.directory, 40)
    parts[3], parts[4] = parts[4], parts[3]
    parts[10], parts[20] = parts[20], parts[10]
    rewrite(log.directory, 40, parts)
    problems = verify(log.directory, log.verifier).problems
    assert {p.kind for p in problems} == {"reordered"}
    assert problems[0].first == 43 and 50 in {i for p in problems for i in range(p.first, p.last + 1)}


def test_inserted_and_doubled_entries_are_named(log: Any) -> None:
    parts = frames(log.directory, 40)
    entry = segment.decode_body(parts[3][8:])
    header = decode_header(entry.header)
    new = encode_header(type(header)(header.topic, 0, 87, header.timestamp_us, 7, header.schema_sha256, header.kind))
    forged = encode_frame(new, commitment_to(entry.salt, b"x"), entry.salt, b"x")
    rewrite(log.directory, 40, [*parts[:4], forged, *parts[4:]])
    edit_index(log.directory, "UPDATE segments SET bytes = bytes + 1000 WHERE first = 40")
    problem = only(verify(log.directory, log.verifier))
    assert problem.kind == "inserted" and "before entry 44" in problem.message
    rewrite(log.directory, 40, [*parts[:4], parts[1], *parts[4:]])
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.message) == ("inserted", 41, "it stands in the log a second time")


def test_a_truncated_tail_is_named(log: Any) -> None:
    parts = frames(log.directory, 80)
    rewrite(log.directory, 80, parts[:13])
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.last, problem.offset) == ("truncated", 93, 99, 186)
    segment.path_of(log.directory, 80).unlink()
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.last) == ("truncated", 80, 99)


def test_a_tail_truncated_in_the_index_too_is_named(log: Any) -> None:
    segment.path_of(log.directory, 80).unlink()
    edit_index(
        log.directory,
        "DELETE FROM leaves WHERE idx >= 80",
        "DELETE FROM segments WHERE first = 80",
        "UPDATE log SET size = 80",
    )
    kinds = {(p.kind, p.first, p.last) for p in verify(log.directory, log.verifier).problems}
    assert ("truncated", 80, 99) in kinds


def test_a_change_in_entry_and_index_is_narrowed_to_two_checkpoints(log: Any) -> None:
    parts = frames(log.directory, 40)
    parts[3] = forge(parts[3], b"select 2")
    rewrite(log.directory, 40, parts)
    edit_index(log.directory, f"UPDATE leaves SET hash = x'{leaf_of(parts[3]).hex()}' WHERE idx = 43")
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.last) == ("interval", 30, 59)
    assert "size 30" in problem.message and "size 60" in problem.message


def test_an_entry_removed_from_both_is_narrowed_to_two_checkpoints(log: Any) -> None:
    parts = frames(log.directory, 40)
    rewrite(log.directory, 40, parts[:30] + parts[31:])
    edit_index(
        log.directory,
        "DELETE FROM leaves WHERE idx = 70",
        "UPDATE leaves SET idx = -idx + 1 WHERE idx > 70",
        "UPDATE leaves SET idx = -idx WHERE idx < 0",
        "UPDATE log SET size = 99",
    )
    report = verify(log.directory, log.verifier)
    intervals = [(p.first, p.last) for p in report.problems if p.kind == "interval"]
    assert intervals == [(60, 99)]


def test_a_changed_index_is_told_from_changed_entries(log: Any) -> None:
    edit_index(log.directory, "UPDATE leaves SET hash = zeroblob(32) WHERE idx = 43")
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first) == ("index", 43) and "the entry is what was signed" in problem.message
    edit_index(log.directory, "DELETE FROM leaves WHERE idx > 90")
    assert {p.kind for p in verify(log.directory, log.verifier).problems} == {"index"}


def test_without_the_index_entries_still_prove_themselves(log: Any) -> None:
    (log.directory / "index.sqlite").write_bytes(b"not a database")
    problem = only(verify(log.directory, log.verifier))
    assert problem.kind == "index"
    parts = frames(log.directory, 40)
    parts[3] = forge(parts[3], b"select 2")
    rewrite(log.directory, 40, parts)
    (log.directory / "index.sqlite").unlink()
    report = verify(log.directory, log.verifier)
    assert [(p.kind, p.first, p.last) for p in report.problems] == [("index", -1, -1), ("interval", 30, 59)]
    assert report.entries == SIZE


def test_an_older_checkpoint_is_named_as_older_than_the_history(log: Any) -> None:
    old = next(line.note for part in history.parts(log.directory) for line in history.read(part))
    (log.directory / "checkpoint").write_text(old)
    problem = only(verify(log.directory, log.verifier))
    assert problem.kind == "checkpoint" and "older than size 100, which the history" in problem.message
    shutil.rmtree(log.directory / "checkpoints")
    problem = only(verify(log.directory, log.verifier))
    assert problem.kind == "checkpoint" and "older than size 100, which the index" in problem.message


def test_a_rollback_of_everything_shows_against_a_trusted_checkpoint(log: Any) -> None:
    """Nothing inside an older copy can tell; a checkpoint that was sent elsewhere does."""
    old = log.root / "old"
    shutil.copytree(log.directory, old)
    log.fill(20)
    newest = (log.directory / "checkpoint").read_text()
    assert verify(log.directory, log.verifier, trusted=[newest]).ok
    assert verify(old, log.verifier).ok
    problems = verify(old, log.verifier, trusted=[newest]).problems
    assert {(p.kind, p.first, p.last) for p in problems} >= {("truncated", 100, 119)}


def test_a_second_version_of_the_log_shows_against_a_trusted_checkpoint(log: Any) -> None:
    """Whoever has the key too can sign another history; a copy of an earlier checkpoint contradicts it."""
    earlier = (log.directory / "checkpoint").read_text()
    other = type(log)(log.root / "other") if (log.root / "other").mkdir() is None else None
    shutil.copy(log.key, other.key)
    other.verifier = log.verifier
    other.fill(60, 60)
    assert verify(other.directory, log.verifier).ok
    problems = verify(other.directory, log.verifier, trusted=[earlier]).problems
    assert [p.kind for p in problems] == ["interval"]


def test_a_wrong_key_and_a_forged_checkpoint_are_named(log: Any) -> None:
    stranger = generate_key(log.root / "stranger.key", "audit.example.com")
    report = verify(log.directory, stranger)
    assert not report.ok and {p.kind for p in report.problems} == {"checkpoint"}
    assert "isn't signed by" in report.problems[0].message
    note = (log.directory / "checkpoint").read_text()
    checkpoint, signatures = notes.parse(note)
    forged = notes.render(Checkpoint(checkpoint.origin, 100, bytes(32)), signatures)
    (log.directory / "checkpoint").write_text(forged)
    report = verify(log.directory, log.verifier)
    assert any(p.kind == "checkpoint" and "doesn't hold" in p.message for p in report.problems)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"garbage\n"])
def test_a_missing_or_unreadable_checkpoint_is_named(log: Any, content: bytes | None) -> None:
    path = log.directory / "checkpoint"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    report = verify(log.directory, log.verifier)
    assert not report.ok and {p.kind for p in report.problems} == {"checkpoint"}


def test_an_emptied_log_is_named(log: Any) -> None:
    shutil.rmtree(log.directory)
    log.directory.mkdir()
    assert not verify(log.directory, log.verifier).ok


def test_a_changed_schema_is_named(log: Any) -> None:
    """Swapped field names would let an untouched payload say something else."""
    path = log.directory / "schemas" / "7.avsc"
    path.write_text(path.read_text().replace('"tap"', '"pat"'))
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first) == ("schema", 0) and "missing or changed" in problem.message


def test_an_erased_payload_is_named(log: Any) -> None:
    """The leaf verifies without its payload; that it is gone is said as long as no record accounts for it."""
    parts = frames(log.directory, 40)
    entry = segment.decode_body(parts[3][8:])
    parts[3] = encode_frame(entry.header, entry.commitment, bytes(32), bytes(len(entry.payload)), erased=True)
    rewrite(log.directory, 40, parts)
    problem = only(verify(log.directory, log.verifier))
    assert (problem.kind, problem.first, problem.offset) == ("erased", 43, 86)


def test_segments_that_changed_names_are_named(log: Any) -> None:
    one, other = segment.path_of(log.directory, 0), segment.path_of(log.directory, 40)
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])
    report = verify(log.directory, log.verifier)
    assert not report.ok and {p.kind for p in report.problems} <= {"reordered", "removed", "unreadable"}


def test_a_pem_public_key_will_do(log: Any) -> None:
    key = Ed25519PublicKey.from_public_bytes(log.verifier.public_key)
    pem = log.root / "log.pub.pem"
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem.write_bytes(key.public_bytes(encoding, kind))
    assert verify(log.directory, pem).ok
    assert verify(log.directory, log.key.with_name("log.key.pub")).ok
    with pytest.raises(SettingsError, match="can't be read"):
        verify(log.directory, log.root / "none.pem")
    with pytest.raises(SettingsError, match="no directory"):
        verify(log.root / "nowhere", pem)
