"""What a client's program is given, and how it tells what it saw: one JSON line a step on its standard output.

Programs run in the environment of their client, so this knows the standard library alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

HOST, PORT = os.environ["CLIENT_HOST"], int(os.environ["CLIENT_PORT"])
USER, PASSWORD = os.environ["CLIENT_USER"], os.environ["CLIENT_PASSWORD"]
DATABASE = os.environ["CLIENT_DATABASE"]
PROTECTED = os.environ.get("CLIENT_PROTECTED", "")  # a database where the policy denies and holds; "" without a tap
SSLMODE, CA_FILE = os.environ["CLIENT_SSLMODE"], os.environ.get("CLIENT_CA_FILE", "")


def parameters(database: str = DATABASE) -> dict[str, Any]:
    """As libpq's clients take them."""
    given = {"host": HOST, "port": PORT, "user": USER, "password": PASSWORD, "dbname": database, "sslmode": SSLMODE}
    return {**given, "sslrootcert": CA_FILE} if CA_FILE else given


def tell(step: str, answer: Any) -> None:
    """The answer of one step. Values are told with their types, so that 1 and '1' aren't alike."""
    print(json.dumps({"step": step, "answer": shown(answer)}), flush=True)


def tell_table(step: str, columns: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    """Rows of personal data; `columns` are their names. Who sees them masked sees only their masked columns differ."""
    told = {"columns": [str(each) for each in columns], "rows": [[shown(value) for value in row] for row in rows]}
    print(json.dumps({"step": step, **told}), flush=True)


def shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    if isinstance(value, memoryview):
        value = bytes(value)
    return f"{type(value).__name__} {value!r}"
