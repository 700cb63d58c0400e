"""Walking libpg_query's protobuf tree, of which most fields hold no node and need no look.

What a field holds never changes, and asking its descriptor costs more than the field is worth, so it is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

# Nodes that hold no other node, and nothing that is a fact; None is an empty place in a list.
LEAVES: Final = frozenset(
    {None, "a_const", "a_star", "bit_string", "boolean", "float", "integer", "param_ref", "set_to_default", "string"}
)
_IDLE = frozenset({"Alias"})  # messages without a node that matters
_NODE, _NODES, _MESSAGE, _MESSAGES, _NOTHING = range(5)
_fields: dict[Any, tuple[str, int]] = {}


def children(message: Any, skip: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(the node's kind, as `column_ref`, the message that holds it) for each node right below, '' for a message that
    isn't wrapped in a node. Leaves, and fields in `skip`, are passed over."""
    for field, value in message.ListFields():
        known = _fields.get(field)
        if known is None:
            known = _fields[field] = _learnt(field)
        name, holds = known
        if holds == _NOTHING or name in skip:
            continue
        if holds == _NODES:
            for node in value:
                kind = node.WhichOneof("node")
                if kind not in LEAVES:
                    yield kind, node
        elif holds == _NODE:
            kind = value.WhichOneof("node")
            if kind not in LEAVES:
                yield kind, value
        elif holds == _MESSAGE:
            yield "", value
        else:
            for each in value:
                yield "", each


def _learnt(field: Any) -> tuple[str, int]:
    if field.message_type is None or field.message_type.name in _IDLE:
        return field.name, _NOTHING
    if field.message_type.name == "Node":
        return field.name, _NODES if field.is_repeated else _NODE
    return field.name, _MESSAGES if field.is_repeated else _MESSAGE
