"""The normalised text goes into Kafka, the log and alerts in the clear: no value that was typed may be in it."""

from __future__ import annotations

from itertools import cycle

import postgast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import RefusedError
from taprail.streams.policy import sizes, sql
from tests.streams.policy.small_world import guard, judge

SHAPES = (
    "SELECT {}",
    "SELECT * FROM t WHERE a = {} AND b IN ({}, {}) OR c LIKE {} LIMIT 3",
    "SELECT a::numeric(10, 2), {}::text, DATE {}, interval {} day FROM t GROUP BY {}",
    "INSERT INTO t (a, b) VALUES ({}, {}), ({}, DEFAULT) ON CONFLICT (a) DO UPDATE SET a = {}",
    'UPDATE "T" SET a = {}, b = b || {} WHERE c = ANY (ARRAY[{}, {}])',
    "WITH x AS (DELETE FROM t WHERE a = {} RETURNING {}) SELECT {} FROM x",
    "MERGE INTO t USING s ON t.a = {} WHEN MATCHED THEN UPDATE SET b = {} WHEN NOT MATCHED THEN INSERT VALUES ({})",
    "CREATE VIEW v AS SELECT {} AS a FROM t WHERE x = {}",
    "CREATE TABLE t (a text DEFAULT {}, b int CHECK (b <> {}), c text GENERATED ALWAYS AS ({} || a) STORED)",
    "CREATE TABLE p PARTITION OF t FOR VALUES IN ({}, {})",
    "ALTER TABLE t ALTER a SET DEFAULT {}, ADD CHECK (a <> {}), ALTER b TYPE text USING {}",
    "CREATE INDEX ON t ((a || {})) WHERE b = {}",
    "CREATE POLICY p ON t USING (a = {}) WITH CHECK (b = {})",
    "CREATE RULE r AS ON UPDATE TO t DO ALSO INSERT INTO u VALUES ({})",
    "CREATE DOMAIN d AS text DEFAULT {} CHECK (VALUE <> {})",
    "CREATE MATERIALIZED VIEW v AS SELECT {}",
    "EXPLAIN ANALYZE SELECT {}",
    "PREPARE p AS SELECT {}",
    "EXECUTE p({}, {})",
    "DECLARE c CURSOR FOR SELECT {}",
    "COPY (SELECT {}) TO STDOUT",
    "CALL p({})",
    "SELECT set_config({}, {}, false)",
    "SET a.b = {}",
    "ALTER ROLE r SET a.b = {}",
    "ALTER DATABASE d SET a.b TO {}, {}",
    "CREATE FUNCTION f(a text DEFAULT {}) RETURNS text LANGUAGE sql RETURN {}",
    "CREATE STATISTICS s ON (a || {}), b FROM t",
)
# Where the grammar takes a string and nothing else.
STRING_SHAPES = (
    "COMMENT ON TABLE t IS {}",
    "COMMENT ON COLUMN t.a IS {}",
    "COPY t FROM PROGRAM {}",
    "COPY t TO {} WITH (DELIMITER {}, NULL {})",
    "CREATE ROLE r LOGIN PASSWORD {} VALID UNTIL {}",
    "ALTER ROLE r PASSWORD {}",
    "ALTER SYSTEM SET a.b = {}",
    "NOTIFY c, {}",
    "CREATE TYPE e AS ENUM ({}, {})",
    "ALTER TYPE e ADD VALUE {} BEFORE {}",
    "ALTER TYPE e RENAME VALUE {} TO {}",
    "DO {}",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS {}",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS {}, {}",
    "SECURITY LABEL ON TABLE t IS {}",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host {}, password {})",
    "CREATE USER MAPPING FOR u SERVER s OPTIONS (password {})",
    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p",
    "CREATE TABLESPACE s LOCATION {}",
    "CREATE COLLATION c (locale = {})",
    "LOAD {}",
    "SET TIME ZONE {}",
    "PREPARE TRANSACTION {}",
    "COMMIT PREPARED {}",
    "CREATE EXTENSION x VERSION {}",
    "SELECT * FROM json_table({}, '$' COLUMNS (a text PATH {}))",
    "SELECT * FROM xmltable({} PASSING {} COLUMNS a text PATH {})",
    "CREATE EVENT TRIGGER t ON ddl_command_end WHEN TAG IN ({}) EXECUTE FUNCTION f()",
    "CREATE TABLE t (a int) WITH (x = {})",
    "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y OPTIONS (a {})",
)
NUMBER_SHAPES = (
    "CREATE SEQUENCE s START {} INCREMENT {}",
    "ALTER SEQUENCE s RESTART WITH {}",
    "CREATE TABLE t (a varchar({}))",
    "ALTER SYSTEM SET a.b = {}",
    "CREATE ROLE r CONNECTION LIMIT {}",
    "SELECT a FROM t LIMIT {} OFFSET {}",
    "SELECT a FROM t FETCH FIRST {} ROWS ONLY",
    "FETCH {} c",
    "CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS {}, REMAINDER {})",
    "ALTER TABLE t ALTER a SET STATISTICS {}",
)
words = st.text("abcdefghij klmnopqrstuvwxyz@.-äß'\\%;", min_size=1).map(lambda s: f"zqx{s}")


@st.composite
def string(draw: st.DrawFn) -> tuple[str, str]:
    """(a string constant in one of the ways to write it, what it says): the secret is the letters zqx."""
    value = draw(words)
    quoted = value.replace("'", "''")
    ways = {
        "plain": f"'{quoted}'",
        "escape": "E'" + quoted.replace("\\", "\\\\") + "'",
        "unicode": "U&'" + quoted.replace("\\", "\\\\") + "'",
        "dollar": f"$q${value}$q$",
        "lines": f"'{quoted}'\n'zqx'",
        "comment": f"'{quoted}' /* zqx */",
        "line comment": f"'{quoted}' -- zqx\n",
    }
    return draw(st.sampled_from(sorted(ways.values()))), "zqx"


@st.composite
def number(draw: st.DrawFn, *, whole: bool) -> tuple[str, str]:
    digits = "74747" + draw(st.text("0123456789", max_size=4))
    ways = (
        [digits] if whole else [digits, f"{digits}.{digits}", f".{digits}", f"{digits}e2", f"0x{digits}", f"-{digits}"]
    )
    return draw(st.sampled_from(ways)), "74747"


values = st.one_of(string(), number(whole=False))


def filled(shape: str, literals: list[tuple[str, str]]) -> str:
    """The shape with the literals in its places, in turn."""
    first, *rest = shape.split("{}")
    return first + "".join(text + part for (text, _), part in zip(cycle(literals), rest, strict=False))


def check(shape: str, literals: list[tuple[str, str]]) -> None:
    """Also where the grammar refuses a string because it wants a number: what is refused must not show either."""
    normalised = sql.normalise(filled(shape, literals))
    assert not [secret for _, secret in literals if secret in normalised], normalised


@given(st.sampled_from(SHAPES), st.lists(values, min_size=1, max_size=4))
def test_no_value_survives(shape: str, literals: list[tuple[str, str]]) -> None:
    check(shape, literals)


@given(st.sampled_from(STRING_SHAPES), st.lists(string(), min_size=1, max_size=3))
def test_no_string_survives_where_only_strings_may_stand(shape: str, literals: list[tuple[str, str]]) -> None:
    check(shape, literals)


@given(st.sampled_from(NUMBER_SHAPES), st.lists(number(whole=True), min_size=1, max_size=2))
def test_no_number_survives_where_only_numbers_may_stand(shape: str, literals: list[tuple[str, str]]) -> None:
    check(shape, literals)


@pytest.mark.parametrize("shape", SHAPES + STRING_SHAPES)
def test_every_shape_is_sql(shape: str) -> None:
    postgast.parse(filled(shape, [("'x'", "")]))


@pytest.mark.parametrize("shape", NUMBER_SHAPES)
def test_every_shape_of_numbers_is_sql(shape: str) -> None:
    postgast.parse(filled(shape, [("7", "")]))


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("SELECT id FROM t WHERE a = 'x' AND b = 3", "SELECT id FROM t WHERE a = $1 AND b = $2"),
        ("SELECT a/**/b FROM t", "SELECT a b FROM t"),
        ("SELECT a--x\n,b FROM t", "SELECT a ,b FROM t"),
        ("SELECT $2, 'x', $1", "SELECT $2, $3, $1"),
        ("ALTER ROLE r SET a.b = secret", "ALTER ROLE r SET a.b = $1"),
        ('ALTER SYSTEM SET a.b TO secret, "Secret"', "ALTER SYSTEM SET a.b TO $1, $2"),
        ("ALTER USER r IN DATABASE d SET a.b = on", "ALTER USER r IN DATABASE d SET a.b = $1"),
        ("ALTER ROLE r RENAME TO s", "ALTER ROLE r RENAME TO s"),
        ("ALTER TABLE t ALTER a SET NOT NULL", "ALTER TABLE t ALTER a SET NOT NULL"),
        ('SELECT "A b" FROM t -- x', 'SELECT "A b" FROM t'),
        ("SELEC 'x' FROM t", "SELEC $1 FROM t"),
        ("SELECT 'never ends", "unreadable"),
        ("SELECT /* never ends", "unreadable"),
        ("", ""),
    ],
)
def test_what_stays(text: str, normalised: str) -> None:
    assert sql.normalise(text) == normalised


@given(st.text("zqx'\"$/*- \n;,()=E&U\\", max_size=30))
def test_any_text_has_a_normalised_form_that_stays_itself(text: str) -> None:
    once = sql.normalise(text)
    assert sql.normalise(once) == once


@pytest.mark.parametrize(
    "text", ["SELECT 1 'zqx' 'zqx'", "SELECT 'zqx", "DROP 'zqx'", "SELECT FROM WHERE 'zqx' zqx 'a'"]
)
def test_why_a_text_is_refused_is_told_to_the_person_only(text: str) -> None:
    verdict = judge(guard(), text)
    assert (verdict.action, verdict.sqlstate, verdict.rule) == ("deny", "42601", "syntax")
    assert verdict.message and "zqx'" not in verdict.reason + verdict.normalized
    assert verdict.reason == "the statement can't be parsed"


def test_a_text_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RefusedError, match="isn't judged"):
        sql.split("SELECT '" + "ä" * (sizes.TEXT_BYTES_MAX // 2) + "'")
