"""The compiled reader and the same file as Python read what the library wrote, and nothing else."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, convert
from msgspec.structs import replace

from taprail.schemas import avro, reader
from taprail.schemas.control import SignedRecord
from taprail.schemas.records import Change, Outcome, Person, RelationUse, Session, Statement

RECORDS = (Statement, Outcome, Session, Change, SignedRecord)
both_variants = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
records = st.one_of(*map(st.from_type, RECORDS)).filter(
    lambda record: all(-(1 << 63) <= n < 1 << 63 for n in vars_of(record) if isinstance(n, int))
)


def vars_of(record: Struct) -> list[object]:
    return [getattr(record, name) for name in record.__struct_fields__]


@pytest.fixture(params=["built", "pure"])
def variant(request: pytest.FixtureRequest) -> ModuleType:
    """`reader.py` as this installation has built it (compiled where a compiler was at hand), and as Python."""
    if request.param == "built":
        return reader
    source = Path(reader.__file__).with_name("reader.py")
    spec = importlib.util.spec_from_file_location("taprail_reader_pure", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@both_variants
@given(record=records)
def test_what_was_written_is_read(variant: ModuleType, record: Struct) -> None:
    wanted = variant.type_of(avro.schema_of(type(record)), avro.choices_of(type(record)))
    fields = variant.read(avro.encode(record), wanted)
    assert convert(fields, type(record)) == record
    assert list(fields) == list(record.__struct_fields__)


@both_variants
@given(record=records, cut=st.integers(0, 10_000), tail=st.binary(max_size=3))
def test_a_body_that_is_cut_or_goes_on_is_refused(variant: ModuleType, record: Struct, cut: int, tail: bytes) -> None:
    wanted, body = variant.type_of(avro.schema_of(type(record)), avro.choices_of(type(record))), avro.encode(record)
    for damaged in {body[: cut % len(body)], body + b"\0" + tail}:
        with pytest.raises((ValueError, IndexError)):
            variant.read(damaged, wanted)


@both_variants
@given(noise=st.binary(max_size=200), place=st.integers(0, 1000), kind=st.sampled_from(RECORDS), data=st.data())
def test_any_bytes_give_what_the_library_reads_or_an_error(
    variant: ModuleType, noise: bytes, place: int, kind: type[Struct], data: st.DataObject
) -> None:
    """Noise in the middle of a record reaches further in than noise alone."""
    body = avro.encode(data.draw(records.filter(lambda r: type(r) is kind)))
    body = body[: place % len(body)] + noise
    try:
        fields = variant.read(body, variant.type_of(avro.schema_of(kind), {}))
    except (ValueError, IndexError):
        return
    stream = io.BytesIO(body)
    assert fields == fastavro.schemaless_reader(stream, avro.schema_of(kind), None)
    assert stream.tell() == len(body)


@pytest.mark.parametrize("body", [b"\x80" * 11, b"\xff" * 9 + b"\x7f" * 2, b"\x01", b"\x04a"])
def test_a_string_whose_length_is_wrong_is_refused(variant: ModuleType, body: bytes) -> None:
    schema = {"type": "record", "namespace": "n", "name": "R", "fields": [{"name": "text", "type": "string"}]}
    with pytest.raises((ValueError, IndexError)):
        variant.read(body, variant.type_of(schema, {}))


def test_a_type_that_is_not_read_here_is_said_at_the_start(variant: ModuleType) -> None:
    with pytest.raises(TypeError, match="no reader for the Avro type 'double'"):
        variant.type_of("double", {})


@pytest.mark.parametrize("place", ["action", "person", "relations"])
def test_a_string_that_is_none_of_its_choices_is_refused(variant: ModuleType, place: str) -> None:
    """Whoever reads the audit log later makes records of the types: what doesn't fit them must not get there."""
    relation, person = RelationUse("public", "t", "read"), Person("ann", "Ann", "person")
    fields: dict[str, object] = dict.fromkeys(Statement.__struct_fields__, "") | {
        "epoch": 1, "sequence": 1, "time_us": 1, "catalog_epoch": 1, "transaction": 1, "expires_us": 0,
        "held_sequence": 0, "writes": False, "approvers": (), "lineage": (), "values": None, "action": "allow",
        "person": person, "relations": (relation,), "protocol": "simple", "mark": "none",
        "terms": None, "statements": 1, "estimated_rows": -1, "matched": (),
    }  # fmt: skip
    wanted = variant.type_of(avro.schema_of(Statement), avro.choices_of(Statement))
    assert variant.read(avro.encode(Statement(**fields)), wanted)["action"] == "allow"  # type: ignore[arg-type]
    wrong: dict[str, object] = {
        "action": "ALLOW",
        "person": replace(person, kind="root"),
        "relations": (relation, replace(relation, access="")),
    }
    with pytest.raises(ValueError, match="stands for one of"):
        variant.read(avro.encode(Statement(**fields | {place: wrong[place]})), wanted)  # type: ignore[arg-type]
