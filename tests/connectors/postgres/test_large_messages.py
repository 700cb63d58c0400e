"""A message that is larger than what a client may send ahead: its rest must be read, or nobody would ever go on."""

from __future__ import annotations

import pytest

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.limits import Limits

LARGE = 3 * Limits().waiting_bytes


def test_a_large_value_passes(bed):
    with bed.connect(options="-c statement_timeout=20s") as connection:
        connection.execute("SELECT 1")
        value = "x" * LARGE
        assert connection.execute("SELECT length(%s::text)", [value]).fetchone() == (LARGE,)
        assert connection.execute("SELECT %b::bytea", [value.encode()]).fetchone() == (value.encode(),)


def test_a_large_text_passes(bed):
    with bed.connect() as connection:
        assert connection.execute(f"SELECT length('{'x' * LARGE}')").fetchone() == (LARGE,)


@pytest.mark.parametrize("whole", [wire.query(b"SELECT '" + b"x" * LARGE + b"'"), wire.bind(b"", b"", [b"x" * LARGE])])
def test_the_rest_of_a_message_is_not_sent_ahead(offline, whole):
    there = offline()
    there.from_client(wire.parse(b"", b"SELECT $1") if whole[0] == wire.BIND else b"")
    for start in range(0, len(whole), 1 << 19):
        there.from_client(whole[start : start + (1 << 19)])
        assert there.session.waiting_bytes == 0
    assert whole in there.server
