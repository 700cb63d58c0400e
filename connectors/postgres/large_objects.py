"""Function call messages, which drivers send for large objects (libpq's lo_* functions, pgjdbc's): what they stand for.

A call names its function by OID alone. Those of the large object functions have been the same since PostgreSQL had
them (pg_proc.dat), so each call has a text that can be judged: `SELECT pg_catalog.loread($1, $2)`. The protocol calls
these messages legacy; a call of another function is refused, since its name isn't known here.

Source: PostgreSQL documentation, chapters 54.2.4 "Function Call", 54.7 "Message Formats", 33.3 "Client Interfaces".
"""

from __future__ import annotations

from msgspec import Struct

from taprail.connectors.postgres.messages import FUNCTION_CALL_RESPONSE, Reader, message
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import NULL, Field, MaskPlan

_INT4, _INT8, _OID, _BYTEA = 23, 20, 26, 17
# OID: name, number of arguments, type of the result. Those that read or write files of the server aren't among them.
_FUNCTIONS = {
    715: ("lo_create", 1, _OID),
    952: ("lo_open", 2, _INT4),
    953: ("lo_close", 1, _INT4),
    954: ("loread", 2, _BYTEA),
    955: ("lowrite", 2, _INT4),
    956: ("lo_lseek", 3, _INT4),
    957: ("lo_creat", 1, _OID),
    958: ("lo_tell", 1, _INT4),
    964: ("lo_unlink", 1, _INT4),
    1004: ("lo_truncate", 2, _INT4),
    3170: ("lo_lseek64", 3, _INT8),
    3171: ("lo_tell64", 1, _INT8),
    3172: ("lo_truncate64", 2, _INT4),
}
_NULL_RESULT = message(FUNCTION_CALL_RESPONSE, b"\xff\xff\xff\xff")


class FunctionCall(Struct, frozen=True):
    """A call as it is judged and recorded: `arguments` as sent, None for NULL. `text` is '' for another function."""

    text: str
    arguments: tuple[bytes | None, ...]
    result_type: int = 0


def parse_function_call(body: bytes) -> FunctionCall:
    """Raises ProtocolError on a message that isn't one, or has another number of arguments than its function."""
    reader = Reader(body, "FunctionCall")
    oid = int.from_bytes(reader.take(4), "big")
    reader.take(2 * reader.uint16())  # format codes
    values: list[bytes | None] = []
    for _ in range(reader.uint16()):
        size = reader.int32()
        values.append(None if size == -1 else reader.take(size))
    reader.take(2)  # the result's format
    reader.end()
    if oid not in _FUNCTIONS:
        return FunctionCall("", tuple(values))
    name, count, result_type = _FUNCTIONS[oid]
    if len(values) != count:
        raise ProtocolError(f"a call of {name} with {len(values)} arguments, which takes {count}")
    placeholders = ", ".join(f"${number}" for number in range(1, count + 1))
    return FunctionCall(f"SELECT pg_catalog.{name}({placeholders})", tuple(values), result_type)


def masked_result(plan: MaskPlan, result_type: int) -> bytes | None:
    """The response in place of the server's, or None where the plan shows it. No function here returns text."""
    column = Field("", 0, 0, result_type, 1)
    return _NULL_RESULT if plan.actions((column,))[0] == NULL else None
