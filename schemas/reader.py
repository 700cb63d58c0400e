"""Reads an Avro body into fields, compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.

The statement path reads every record of every tap, and there a general library takes most of the time. Only what our
records use is read: strings, longs, booleans, bytes, arrays, unions of null and one more, records. Nothing of ours is
imported, so that the file compiles alone. Source: Apache Avro 1.12, binary encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMPILED = not __file__.endswith(".py")
STRING: Final = 0
LONG: Final = 1
BOOLEAN: Final = 2
BYTES: Final = 3
ARRAY: Final = 4
OPTIONAL: Final = 5
RECORD: Final = 6
PRIMITIVES: Final = {"string": STRING, "long": LONG, "boolean": BOOLEAN, "bytes": BYTES}


class Type:
    """An Avro type, made to be read by."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.names: list[str] = []  # of a record's fields
        self.items: list[Type] = []  # a type for each of them; or the one that an array or a union holds
        self.choices: frozenset[str] | None = None  # what a string may be


def type_of(schema: Any, choices: Mapping[str, frozenset[str]]) -> Type:
    """The type that an Avro schema (as JSON) describes. Raises TypeError for what isn't read here.

    `choices` are the strings that a field may hold, by `Record.field`, where not every string is one.
    """
    return _type_of(schema, choices, {})


def _type_of(schema: Any, choices: Mapping[str, frozenset[str]], named: dict[str, Type]) -> Type:
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return Type(PRIMITIVES[schema])
        if schema in named:
            return named[schema]
    elif isinstance(schema, list):
        if len(schema) == 2 and schema[0] == "null":
            optional = Type(OPTIONAL)
            optional.items.append(_type_of(schema[1], choices, named))
            return optional
    elif schema["type"] == "array":
        array = Type(ARRAY)
        array.items.append(_type_of(schema["items"], choices, named))
        return array
    elif schema["type"] == "record":
        record = named[f"{schema['namespace']}.{schema['name']}"] = Type(RECORD)
        for field in schema["fields"]:
            item = _type_of(field["type"], choices, named)
            item.choices = choices.get(f"{schema['name']}.{field['name']}", item.choices)
            record.names.append(field["name"])
            record.items.append(item)
        return record
    raise TypeError(f"no reader for the Avro type {schema!r}")


def read(body: bytes, record: Type) -> dict[str, Any]:
    """The record's fields by name. Raises ValueError or IndexError where the body isn't exactly one such record."""
    cursor = Cursor(body)
    fields = cursor.fields(record)
    if cursor.at != len(body):
        raise ValueError(f"{len(body) - cursor.at} bytes stand behind the record")
    return fields


class Cursor:
    """A place in a body."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def fields(self, record: Type) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        names = record.names
        items = record.items
        for index in range(len(names)):
            fields[names[index]] = self.value(items[index])
        return fields

    def value(self, wanted: Type) -> Any:
        kind = wanted.kind
        if kind == STRING:
            text = self.chunk().decode()
            choices = wanted.choices
            if choices is not None and text not in choices:
                raise ValueError(f"{text[:40]!r} stands for one of {', '.join(sorted(choices))}")
            return text
        if kind == LONG:
            return self.long()
        if kind == RECORD:
            return self.fields(wanted)
        if kind == ARRAY:
            return self.array(wanted.items[0])
        if kind == BYTES:
            return self.chunk()
        byte = self.body[self.at]
        self.at += 1
        if kind == BOOLEAN and byte <= 1:
            return byte == 1
        if kind == OPTIONAL and byte == 0:
            return None
        if kind == OPTIONAL and byte == 2:
            return self.value(wanted.items[0])
        raise ValueError(f"{byte} stands at {self.at - 1}, for a boolean or a union")

    def array(self, item: Type) -> list[Any]:
        """Blocks of items, each with its count; a negative count is followed by the block's size in bytes."""
        items: list[Any] = []
        count = self.long()
        while count != 0:
            if count < 0:
                count = -count
                self.long()
            for _ in range(count):
                items.append(self.value(item))
            count = self.long()
        return items

    def chunk(self) -> bytes:
        length = self.long()
        end = self.at + length
        if length < 0 or end > len(self.body):
            raise ValueError(f"{length} bytes at {self.at} don't fit in {len(self.body)}")
        chunk = self.body[self.at : end]
        self.at = end
        return chunk

    def long(self) -> int:
        """A zigzag number of at most 64 bits, seven bits a byte."""
        body = self.body
        at = self.at
        byte = body[at]
        number = byte & 127
        shift = 7
        while byte >= 128:
            if shift > 63:
                raise ValueError(f"the number at {self.at} has more than 64 bits")
            at += 1
            byte = body[at]
            number |= (byte & 127) << shift
            shift += 7
        self.at = at + 1
        return (number >> 1) ^ -(number & 1)
