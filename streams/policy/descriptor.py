"""Facts as protobuf messages: their descriptors are made of the Avro schema, so that there is one contract.

CEL checks an expression against a message's descriptor. Mapping: record message, array repeated, string string, long
int64, boolean bool. Source: Apache Avro 1.12 specification, Protocol Buffers' descriptor.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from taprail.schemas.avro import NAMESPACE, schema_of
from taprail.schemas.facts import PolicyFacts

_FILE = "taprail/policy_facts.proto"
_PLAIN = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "long": FieldDescriptorProto.TYPE_INT64,
    "boolean": FieldDescriptorProto.TYPE_BOOL,
}


@cache
def pool() -> DescriptorPool:
    """A pool that knows the facts' messages and nothing else."""
    file = FileDescriptorProto(name=_FILE, package=NAMESPACE, syntax="proto3")
    _add(file, schema_of(PolicyFacts))
    found = DescriptorPool()
    found.Add(file)
    return found


@cache
def message_class(name: str) -> type[Message]:
    """The class of a record of the schema, as `StatementFacts`."""
    return GetMessageClass(pool().FindMessageTypeByName(f"{NAMESPACE}.{name}"))


@cache
def variables() -> Mapping[str, str]:
    """What a condition may begin with, and the message that it is."""
    return {field["name"]: field["type"]["name"] for field in schema_of(PolicyFacts)["fields"]}


def _add(file: FileDescriptorProto, record: dict[str, Any]) -> None:
    message = file.message_type.add(name=record["name"])
    for number, field in enumerate(record["fields"], 1):
        kind, repeated = field["type"], False
        if isinstance(kind, dict) and kind["type"] == "array":
            kind, repeated = kind["items"], True
        label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
        made = message.field.add(name=field["name"], number=number, label=label)
        if isinstance(kind, dict):
            made.type, made.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{NAMESPACE}.{kind['name']}"
            _add(file, kind)
        else:
            made.type = _PLAIN[kind]
