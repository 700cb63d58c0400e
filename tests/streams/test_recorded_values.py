"""What of a person's values a record keeps: encrypted, hashed or cut, and never a password."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro
from taprail.schemas.errors import SignatureError
from taprail.schemas.guard import Facts, Request, SessionContext, Verdict
from taprail.schemas.records import Person, Statement
from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of
from taprail.streams.recording import HASH_ALGORITHM, VALUES_BYTES_MAX, SpoolRecorder
from taprail.streams.values import Cut, Hashes, Values
from tests.streams.test_recording import MARK_KEY, SEALER
from tests.streams.test_recording import kept as frames_of

ANN = Person("ann", "ann@example.com", "person")
PASSWORD = "correct-horse-4711"


def recorded(text: str, *parameters: bytes | None, action: str = "allow", hashed: bool = False) -> Statement:
    """The record of a statement as the guard would judge it."""
    try:
        facts = facts_of(sql.parse(text).stmts[0].stmt)
    except Exception:
        facts = Facts("")
    context = SessionContext("s-1", "tap-1", "prod", "local", "prod", "app", ANN, "oidc")
    verdict = Verdict(action, facts, sql.normalise(text), "f1", "v1")
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        recorder = SpoolRecorder(spool, SEALER, MARK_KEY, "hashed" if hashed else "encrypted")
        recorder.statement(Request(text, context, "extended", parameters), verdict)
        spool.close()
        (frame,) = frames_of(spool)
    return avro.decoder(Statement)(frame.body)


def values(record: Statement) -> Values:
    assert record.values is not None
    return json.decode(SEALER.open(record.values), type=Values)


def test_a_value_of_any_size_is_recorded_by_size_and_hash() -> None:
    large = b"\0\xff" * 3_000_000
    kept = values(recorded("INSERT INTO t VALUES ($1, $2, $3)", b"small", large, None)).parameters
    assert kept == (b"small", Cut(len(large), hashlib.sha256(large).hexdigest()), None)


def test_as_many_values_as_a_statement_may_have() -> None:
    many = tuple(b"%05d" % n for n in range(65_535))
    kept = values(recorded("SELECT 1 WHERE $1 = ANY (x)", *many)).parameters
    *first, last = kept
    assert tuple(first) == many[: len(first)] and len(first) > 10_000
    rest = json.encode(many[len(first) :])
    assert last == Cut(len(rest), hashlib.sha256(rest).hexdigest())


@given(st.lists(st.one_of(st.none(), st.integers(0, 90_000)), max_size=60))
def test_what_is_kept_fits_and_is_true(sizes: list[int | None]) -> None:
    given = tuple(None if size is None else bytes([index % 256]) * size for index, size in enumerate(sizes))
    record = recorded("SELECT $1", *given)
    kept = values(record).parameters if record.values else ()
    for index, value in enumerate(kept):
        if isinstance(value, Cut) and index == len(kept) - 1 and len(kept) < len(given):
            break
        expected = given[index]
        if isinstance(value, Cut):
            assert expected is not None and value == Cut(len(expected), hashlib.sha256(expected).hexdigest())
        else:
            assert value == expected
    if sum(len(value or b"") for value in given) < VALUES_BYTES_MAX // 2:
        assert kept == given


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE bob LOGIN PASSWORD '{}'",
        "CREATE USER bob ENCRYPTED PASSWORD '{}' VALID UNTIL '2030-01-01'",
        "ALTER ROLE bob PassWord '{}'",
        "ALTER USER bob PASSWORD $x${}$x$",
        "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password '{}')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password={}' PUBLICATION p",
        "ALTER SUBSCRIPTION s CONNECTION 'host=h password={}'",
        "SELECT dblink_connect('c', 'host=h password={}')",
        "DO $$ BEGIN EXECUTE 'CREATE ROLE bob PASSWORD ''{}'''; END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'CREATE ROLE bob PASSWORD ''{}'''",
        "CREATE ROLE bob PASSWORD PASSWORD '{}'",
        "CREATE ROLE bob PASSWORD '{}",
    ],
)
@pytest.mark.parametrize("action", ["allow", "deny", "hold"])
def test_a_password_is_in_no_record(text: str, action: str) -> None:
    record = recorded(text.format(PASSWORD), action=action)
    assert record.values is None
    assert PASSWORD not in record.normalized


def test_an_ordinary_statement_on_a_column_of_that_name_is_recorded() -> None:
    assert values(recorded("SELECT 1 FROM t WHERE password = 'x'")).text == "SELECT 1 FROM t WHERE password = 'x'"


def test_hashed_values_can_be_compared_and_not_read() -> None:
    first, second = (recorded("SELECT $1 || 'secret-text'", b"4711", None, hashed=True) for _ in range(2))
    assert first.values is not None and second.values is not None
    assert first.values.algorithm == HASH_ALGORITHM and first.values.ciphertext == second.values.ciphertext
    hashes = json.decode(first.values.ciphertext, type=Hashes)
    assert hashes.parameters == (SEALER.hash(b"4711"), None)
    assert b"4711" not in avro.encode(first) and b"secret-text" not in avro.encode(first)
    with pytest.raises(SignatureError):
        SEALER.open(first.values)


def test_a_held_statement_is_shown_to_whoever_decides() -> None:
    assert values(recorded("DELETE FROM t WHERE a = 'x'", action="hold", hashed=True)).text.endswith("'x'")
