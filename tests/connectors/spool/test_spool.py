"""The spool's promises: durable, ordered, without a gap, bounded, one tap's alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taprail.connectors.spool import files, frames
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.spool import Spool
from taprail.schemas.errors import SpoolError


def _body(spool: Spool) -> bytes:
    return _body_of(spool.epoch, spool.sequence + 1)


def _body_of(epoch: int, sequence: int) -> bytes:
    return f"{epoch}:{sequence}".encode()


def _sequences(spool: Spool, position: Position | None = None) -> list[int]:
    return [frame.sequence for _, frame in files.read(spool.directory, position or Position())]


def test_records_come_back_in_order_with_their_epoch_and_sequence(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for _ in range(5):
        spool.append("statement", "s-1", _body(spool))
    found = list(files.read(spool.directory, Position()))
    assert [f.body for _, f in found] == [_body_of(spool.epoch, n) for n in range(1, 6)]
    assert _sequences(spool, found[2][0]) == [4, 5]


def test_a_second_tap_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolError, match="another tap uses"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path)


def test_a_full_spool_refuses_and_uses_no_number(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=1000)
    with pytest.raises(SpoolError, match="the spool is full"):
        for _ in range(100):
            spool.append("statement", "s-1", _body(spool))
    held = spool.sequence
    assert _sequences(spool) == list(range(1, held + 1))


def test_a_full_spool_still_takes_the_ends_of_statements(tmp_path: Path) -> None:
    """Otherwise the statement would stay open, and its segment with it."""
    spool = Spool(tmp_path, bytes_max=1 << 20)
    running = []
    with pytest.raises(SpoolError, match="the spool is full"):
        while True:
            running.append(spool.append("statement", "s-1", b"x" * 10_000))
    with pytest.raises(SpoolError, match="the spool is full"):
        spool.append("session", "s-2", b"x" * 10_000)
    for sequence in running:
        spool.append("outcome", "s-1", _body(spool), finishes=sequence)
    *_, (everything, _) = files.read(spool.directory, Position())
    spool.release(everything)
    (left,) = tmp_path.glob("*.seg")
    assert left.stat().st_size <= (1 << 20) // 4, "only the newest segment is left"


@pytest.mark.parametrize("body_bytes", [300, 60_000, 899_000])
def test_a_full_spool_takes_records_again_when_kafka_has_them(tmp_path: Path, body_bytes: int) -> None:
    """With the smallest limit that the settings allow, and with records of any size."""
    spool = Spool(tmp_path, bytes_max=1 << 20)
    for _ in range(3):
        before = spool.sequence
        with pytest.raises(SpoolError, match="the spool is full"):
            while True:
                sequence = spool.append("statement", "s-1", b"x" * body_bytes)
                spool.append("outcome", "s-1", _body(spool), finishes=sequence)
        assert spool.sequence > before
        *_, (everything, _) = files.read(spool.directory, Position())
        spool.release(everything)


def test_a_full_disk_leaves_no_torn_record_and_no_gap(tmp_path: Path) -> None:
    """The file size limit stands in for the disk: the kernel writes a part of the record, then nothing."""
    script = f"""
import resource, signal
from pathlib import Path
from taprail.connectors.spool import frames
from taprail.connectors.spool.spool import Spool
from taprail.schemas.errors import SpoolError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
refused = 0
while refused < 3:
    try:
        spool.append("statement", "s-1", b"x" * 777)
    except SpoolError as error:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append("statement", "s-1", b"after")
print(spool.sequence)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    last = int(done.stdout)
    found = [f for _, f in files.read(Spool(tmp_path).directory, Position())]
    assert [f.sequence for f in found] == list(range(1, last + 1))
    assert found[-1].body == b"after"


def test_a_new_epoch_is_greater_even_where_the_memory_is_lost(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.close()
    second = Spool(tmp_path)
    assert second.epoch > first.epoch
    second.close()
    for path in tmp_path.iterdir():
        path.unlink()
    assert Spool(tmp_path).epoch >= first.epoch


def test_a_torn_tail_is_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for _ in range(3):
        spool.append("statement", "s-1", _body(spool))
    spool.close()
    (segment,) = tmp_path.glob("*.seg")
    os.truncate(segment, segment.stat().st_size - 1)
    assert _sequences(Spool(tmp_path)) == [1, 2]


def test_statements_without_an_outcome_are_found_after_a_crash(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    ended = spool.append("statement", "s-1", _body(spool))
    lost = spool.append("statement", "s-1", _body(spool))
    spool.append("outcome", "s-1", _body(spool), finishes=ended)
    spool.close()
    assert [f.sequence for f in Spool(tmp_path).unfinished()] == [lost]


def test_segments_go_when_kafka_has_them_and_their_statements_ended(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=100)
    statements = [spool.append("statement", "s-1", _body(spool)) for _ in range(20)]
    for statement in statements[1:]:
        spool.append("outcome", "s-1", _body(spool), finishes=statement)
    (*_, (end, _)) = files.read(spool.directory, Position())
    before = len(list(tmp_path.glob("*.seg")))
    spool.release(end)
    kept = _sequences(spool)
    assert len(list(tmp_path.glob("*.seg"))) < before
    assert statements[0] in kept, "a statement that hasn't ended must be found after a crash"
    assert spool.end == end


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 2000), flip=st.integers(1, 255))
def test_a_damaged_byte_costs_one_record_at_most_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    segment = _written(directory)
    data = bytearray(segment.read_bytes())
    data[cut % len(data)] ^= flip
    segment.write_bytes(data)
    after = Spool(directory)
    found = _sequences(after)
    lost = set(range(1, 21)) - set(found)
    assert found == sorted(found)
    assert len(lost) <= 1
    copy = segment.with_name(segment.name + ".damaged")
    assert copy.exists() == bool(lost)
    if lost:
        assert bytes(data).endswith(copy.read_bytes())
    # What is missing at the end is missed all the same, by the number that the new epoch leaves out.
    assert after.append("statement", "s-1", _body(after)) == (2 if lost == {20} else 1)


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 900), size=st.integers(1, 400), byte=st.sampled_from([0, 0xFF, 0x1B]))
def test_a_damaged_stretch_loses_what_it_touches_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, start: int, size: int, byte: int
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    segment = _written(directory)
    places = [f.end for _, f in files.read(Spool(directory).directory, Position())]
    data = segment.read_bytes()
    end = min(start + size, len(data))
    segment.write_bytes(data[:start] + bytes([byte]) * (end - start) + data[end:])
    begins = [0, *places[:-1]]
    touched = {n for n, (a, b) in enumerate(zip(begins, places, strict=True), 1) if a < end and start < b}
    found = {frame.sequence for frame in frames.read(segment, 0)}
    assert set(range(1, 21)) - touched <= found


def test_damage_is_told_once_and_the_rest_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment = _written(tmp_path)
    data = segment.read_bytes()
    second = next(frames.read(segment, 0)).end + 20
    segment.write_bytes(data[:second] + b"?" + data[second + 1 :])
    for expected in (1, 0):
        caplog.clear()
        spool = Spool(tmp_path)
        assert _sequences(spool) == [1, *range(3, 21)]
        spool.close()
        told = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(told) == expected
    assert not any(tmp_path.glob("*.seg.damaged.*"))


def test_damage_that_comes_while_the_tap_runs_is_told_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path)
    for _ in range(3):
        spool.append("statement", "s-1", _body(spool))
    (segment,) = tmp_path.glob("*.seg")
    with segment.open("r+b") as file:
        file.seek(segment.stat().st_size // 2)
        file.write(b"?")
    assert _sequences(spool) == [1, 3]
    assert "is damaged" in caplog.text
    spool.append("statement", "s-1", _body(spool))
    assert _sequences(spool) == [1, 3, 4]


def test_zeros_where_a_power_cut_left_them_are_missed(tmp_path: Path) -> None:
    """The file had grown, its last bytes never reached the disk: what was told as recorded is lost."""
    segment = _written(tmp_path)
    segment.write_bytes(segment.read_bytes() + bytes(5_000_000))
    spool = Spool(tmp_path)
    assert _sequences(spool) == list(range(1, 21))
    assert spool.append("statement", "s-1", _body(spool)) == 2


def test_a_crash_in_mid_write_loses_nothing_and_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The record was never told as recorded, so its statement never ran."""
    segment = _written(tmp_path)
    os.truncate(segment, segment.stat().st_size - 1)
    spool = Spool(tmp_path)
    assert not [r for r in caplog.records if r.levelname == "ERROR"]
    assert not list(tmp_path.glob("*.damaged"))
    assert spool.append("statement", "s-1", _body(spool)) == 1


def _written(directory: Path) -> Path:
    """The segment of a spool with twenty records, closed."""
    spool = Spool(directory)
    for _ in range(20):
        spool.append("statement", "session", _body(spool))
    spool.close()
    (segment,) = directory.glob("*.seg")
    return segment


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from taprail.connectors.spool import frames
from taprail.connectors.spool.spool import Spool
spool = Spool(Path({str(tmp_path)!r}))
while True:
    print(spool.append("statement", "s-1", b"x" * 300), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(500)]
        process.send_signal(signal.SIGKILL)
    kept = _sequences(Spool(tmp_path))
    assert kept[: len(told)] == told
    assert kept == list(range(1, len(kept) + 1))
