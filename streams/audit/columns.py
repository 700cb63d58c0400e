"""From Avro records to flat columns: what of a record stays in the clear in Parquet and in answers.

string, enum -> text; int, long -> int64; float, double -> float64; boolean -> bool. A nested record's fields become
columns `<field>_<inner field>`. Arrays, maps and unions of several types become JSON text. Bytes, and whatever holds
bytes (an encrypted envelope), are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
from msgspec import Struct

PLAIN: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "enum": pa.string(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
}
_BASE: dict[str, pa.DataType] = {
    "leaf_index": pa.int64(),
    "entry_hash": pa.string(),
    "kind": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}
BASE = pa.schema(_BASE)
TIME_FIELD = "time_us"


class Column(Struct, frozen=True):
    """A column and where its values lie in a record; `as_json` where they are turned into text."""

    name: str
    type: pa.DataType
    path: tuple[str, ...]
    as_json: bool = False


def columns_of(schema: Any) -> tuple[Column, ...]:
    """The columns of an Avro record schema. A field named like one of BASE gets `record_` before it."""
    schema = fastavro.parse_schema(schema)  # afterwards every name is a full one
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return ()
    found = _fields(schema, (), _named(schema, {}), frozenset({schema["name"]}))
    return tuple(Column(f"record_{c.name}", c.type, c.path, c.as_json) if c.name in BASE.names else c for c in found)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([*BASE, *((c.name, c.type) for c in columns)])


def table(
    columns: Sequence[Column],
    base: Mapping[str, Sequence[Any]],
    records: Sequence[Mapping[str, Any]],
) -> pa.Table:
    """Records as a table; `base` has the values of BASE. A record's own time, where it has one, goes into `time`."""
    arrays: dict[str, Sequence[Any]] = dict(base)
    nested: dict[tuple[str, ...], Sequence[Any]] = {(): records}
    for column in columns:
        values = _inside(nested, column.path)
        arrays[column.name] = [_text(v) for v in values] if column.as_json else values
        if column.path == (TIME_FIELD,):
            arrays["time"] = values
    schema = arrow_schema(columns)
    return pa.table({field.name: pa.array(arrays[field.name], field.type) for field in schema}, schema)


def _inside(nested: dict[tuple[str, ...], Sequence[Any]], path: tuple[str, ...]) -> Sequence[Any]:
    """The values at a path of all records; what a path shares with another is taken out once."""
    if path not in nested:
        name = path[-1]
        nested[path] = [None if outer is None else outer[name] for outer in _inside(nested, path[:-1])]
    return nested[path]


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _fields(schema: Any, path: tuple[str, ...], named: Mapping[str, Any], outer: frozenset[str]) -> list[Column]:
    """Columns of a record's fields; a record inside itself (`outer` names them) is JSON text, or it would never end."""
    found: list[Column] = []
    for field in schema["fields"]:
        inner = (*path, field["name"])
        avro = _without_null(field["type"], named)
        kind = avro if isinstance(avro, str) else str(avro["type"]) if isinstance(avro, dict) else "union"
        if _holds_bytes(avro, named, set()):
            continue
        if kind in PLAIN:
            found.append(Column("_".join(inner), PLAIN[kind], inner))
        elif kind == "record" and avro["name"] not in outer:
            found += _fields(avro, inner, named, outer | {avro["name"]})
        elif kind != "null":
            found.append(Column("_".join(inner), pa.string(), inner, as_json=True))
    return found


def _without_null(avro: Any, named: Mapping[str, Any]) -> Any:
    """A type with names looked up and an optional one made plain; a union of several types stays a list."""
    if isinstance(avro, list):
        rest = [a for a in avro if a != "null"]
        return _without_null(rest[0], named) if len(rest) == 1 else rest
    if isinstance(avro, str):
        return named.get(avro, avro)
    if isinstance(avro, dict) and isinstance(avro.get("type"), (dict, list)):
        return _without_null(avro["type"], named)
    return avro


def _holds_bytes(avro: Any, named: Mapping[str, Any], seen: set[str]) -> bool:
    """Whether bytes lie anywhere inside. A type that isn't known counts as bytes: what can't be judged stays out."""
    if isinstance(avro, list):
        return any(_holds_bytes(a, named, seen) for a in avro)
    if isinstance(avro, str):
        if avro in seen:
            return False
        if avro in named:
            return _holds_bytes(named[avro], named, seen | {avro})
        return avro not in PLAIN and avro != "null"
    kind = avro["type"]
    if kind in ("record", "error"):
        seen = seen | {avro["name"]}
        return any(_holds_bytes(f["type"], named, seen) for f in avro["fields"])
    if kind in ("array", "map"):
        return _holds_bytes(avro["items" if kind == "array" else "values"], named, seen)
    return _holds_bytes(kind, named, seen)


def _named(avro: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Every type that a schema defines, by its full name."""
    if isinstance(avro, list):
        for a in avro:
            _named(a, found)
    elif isinstance(avro, dict):
        if "name" in avro and avro.get("type") in ("record", "enum", "fixed", "error"):
            found[avro["name"]] = avro
        for key in ("type", "items", "values"):
            if isinstance(avro.get(key), (dict, list)):
                _named(avro[key], found)
        for field in avro.get("fields", ()):
            _named(field["type"], found)
    return found
