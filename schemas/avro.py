"""Avro schemas derived from the record types, and the codec that uses them.

`python -m taprail.schemas.avro` writes the .avsc files; a test fails where they differ from the types.
Mapping: str string, int long, bool boolean, bytes bytes, tuple[T, ...] array, Literal string, X | None a union with
null first, a Struct a record. Source: Apache Avro 1.12 specification.
"""

from __future__ import annotations

import io
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import fastavro
import msgspec
from msgspec import NODEFAULT, Struct, json

from taprail.schemas import control, facts, records
from taprail.schemas.errors import RecordError

NAMESPACE = "taprail"
FOLDER = Path(__file__).parent
PLAIN = {str: "string", int: "long", bool: "boolean", bytes: "bytes", float: "double"}
Schema = dict[str, Any]
Record = TypeVar("Record", bound=Struct)


RECORDS: tuple[type[Struct], ...] = (
    records.Statement,
    records.Outcome,
    records.Session,
    records.Change,
    records.AcceptedMark,
    records.Match,
    records.Detection,
    records.Approval,
    records.ApprovalState,
    records.Alert,
    records.Coverage,
    records.DeadLetter,
    control.SignedRecord,
)
ENRICHED: tuple[type[Struct], ...] = (records.Statement, records.Outcome, records.Session)


@cache
def schema_of(record: type[Struct]) -> Schema:
    """The Avro schema of a record type; nested records are defined where they first appear."""
    return _record(record, record.__name__, (record,), set())


@cache
def enriched_schema_of(record: type[Struct]) -> Schema:
    """A tap's record as the audit log keeps it: its fields, then the enrichment's; so body + suffix is valid Avro."""
    return _record(record, "Enriched" + record.__name__, (record, records.Enrichment), set())


@cache
def choices_of(record: type[Struct]) -> dict[str, frozenset[str]]:
    """The strings that a Literal field may hold, by `Record.field`, of this record type and those within it."""
    found: dict[str, frozenset[str]] = {}
    hints = typing.get_type_hints(record)
    for name, hint in hints.items():
        for part in (hint, *typing.get_args(hint)):
            if typing.get_origin(part) is Literal:
                found[f"{record.__name__}.{name}"] = frozenset(typing.get_args(part))
            elif isinstance(part, type) and issubclass(part, Struct):
                found |= choices_of(part)
    return found


def _record(record: type[Struct], name: str, parts: tuple[type[Struct], ...], seen: set[str]) -> Schema:
    seen.add(name)
    fields = []
    for part in parts:
        hints, described = typing.get_type_hints(part), typing.get_type_hints(part, include_extras=True)
        for info in msgspec.structs.fields(part):
            entry: Schema = {"name": info.encode_name, "type": _type(hints[info.name], seen)}
            if info.default is not NODEFAULT:
                entry["default"] = json.decode(json.encode(info.default))
            if doc := _description(described[info.name]):
                entry["doc"] = doc
            fields.append(entry)
    doc = " ".join((record.__doc__ or "").split())
    return {"type": "record", "name": name, "namespace": NAMESPACE, "doc": doc, "fields": fields}


def _description(hint: Any) -> str:
    found = (part.description for part in getattr(hint, "__metadata__", ()) if isinstance(part, msgspec.Meta))
    return next((text for text in found if text), "")


def _type(hint: Any, seen: set[str]) -> Any:
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "string"
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], seen), "default": []}
    if origin in (types.UnionType, typing.Union):
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return ["null", _type(inner, seen)]
    if isinstance(hint, type) and issubclass(hint, Struct):
        if hint.__name__ in seen:
            return f"{NAMESPACE}.{hint.__name__}"
        return _record(hint, hint.__name__, (hint,), seen)
    raise TypeError(f"no Avro type for {hint!r}")


@cache
def _parsed(record: type[Struct], enriched: bool) -> Any:
    return fastavro.parse_schema(enriched_schema_of(record) if enriched else schema_of(record))


def plain(value: Any) -> Any:
    """A record, or a tuple of records, as the dicts and lists that fastavro knows; bytes stay bytes."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def encode(record: Struct) -> bytes:
    """The record's Avro body, without a frame."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _parsed(type(record), False), plain(record))
    return out.getvalue()


def encode_run(record: type[Struct], first: str, last: str, values: Mapping[str, Any]) -> bytes:
    """Only the fields from `first` to `last`: a record's body is its runs, one after the other.

    So what stays the same from record to record is encoded once. `values` are plain (see `plain`).
    """
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _run(record, first, last), values)
    return out.getvalue()


@cache
def _run(record: type[Struct], first: str, last: str) -> Any:
    schema = schema_of(record)
    names = [field["name"] for field in schema["fields"]]
    kept = schema["fields"][names.index(first) : names.index(last) + 1]
    return fastavro.parse_schema({**schema, "name": f"{schema['name']}_{first}", "fields": kept})


def decoder(record: type[Record]) -> Callable[[bytes], Record]:
    """A function from an Avro body to a record. Raises RecordError where the bytes don't fit the schema."""
    parsed = _parsed(record, False)

    def decode(body: bytes) -> Record:
        try:
            return msgspec.convert(fastavro.schemaless_reader(io.BytesIO(body), parsed, None), record)
        except (EOFError, IndexError, ValueError, TypeError, StopIteration, msgspec.ValidationError) as error:
            raise RecordError(f"{len(body)} bytes are not a {record.__name__}: {error}") from error

    return decode


def encode_suffix(enrichment: records.Enrichment) -> bytes:
    """The enrichment's Avro body: appended to a record's own body it gives the enriched record."""
    return encode(enrichment)


def decode_enriched(record: type[Record], body: bytes) -> tuple[Record, records.Enrichment]:
    try:
        value = fastavro.schemaless_reader(io.BytesIO(body), _parsed(record, True), None)
        return msgspec.convert(value, record), msgspec.convert(value, records.Enrichment)
    except (EOFError, IndexError, ValueError, TypeError, StopIteration, msgspec.ValidationError) as error:
        raise RecordError(f"{len(body)} bytes are not an Enriched{record.__name__}: {error}") from error


def files() -> dict[str, str]:
    """Name and text of every .avsc file."""
    schemas = [schema_of(record) for record in (*RECORDS, facts.PolicyFacts)] + [
        enriched_schema_of(record) for record in ENRICHED
    ]
    return {f"{_snake(s['name'])}.avsc": json.format(json.encode(s), indent=2).decode() + "\n" for s in schemas}


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
