"""The catalog follows the server: DDL by anybody, in any way, advances the epoch; what was judged before is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from taprail.connectors.postgres.catalog import CHANNEL, CatalogWatcher, split_path
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import RelationInfo
from taprail.streams.masking.classify import classify
from tests.streams.policy.guarded_tap import GuardedTap, guarded_tap

WORLD = """
CREATE TABLE customers (id int PRIMARY KEY, email text);
INSERT INTO customers VALUES (1, 'ann@mail.example');
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders VALUES (1, 'first');
CREATE VIEW people AS SELECT id, email AS contact FROM customers;
CREATE VIEW nested AS SELECT contact FROM people;
CREATE FUNCTION customer_email(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT email FROM customers WHERE id = $1';
CREATE VIEW called AS SELECT customer_email(1) AS x, 1::bigint AS id;
CREATE EXTENSION citext;
"""


@pytest.fixture(scope="module")
def tap(stack: Endpoints) -> Iterator[GuardedTap]:
    with guarded_tap(stack, "dev", WORLD) as made:
        yield made


@pytest.fixture
def admin(tap: GuardedTap) -> Iterator[psycopg.Connection]:
    """Round the tap: what the watcher learns of this, it learns from the server."""
    with tap.direct() as connection:
        yield connection


def settled(tap: GuardedTap, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not (tap.watcher.catalog.current and holds()):
        assert time.monotonic() < end, "the catalog didn't follow within 5 s"
        time.sleep(0.005)


def relation(tap: GuardedTap, name: str) -> RelationInfo | None:
    schema, _, name = name.rpartition(".")
    return tap.watcher.catalog.resolve(schema, name, '"$user", public', "app")


def classes(tap: GuardedTap, name: str) -> dict[str, str]:
    found = relation(tap, name)
    return {column.name: column.data_class for column in found.columns} if found else {}


DDL = (
    "CREATE TABLE made (id int)",
    "ALTER TABLE made ADD phone text",
    "ALTER TABLE made RENAME TO remade",
    "ALTER TABLE remade RENAME id TO number",
    "CREATE SCHEMA other CREATE TABLE inside (id int)",
    "ALTER TABLE remade SET SCHEMA other",
    "ALTER SCHEMA other RENAME TO another",
    "CREATE VIEW another.v AS SELECT 1 AS a",
    "CREATE FUNCTION another.upper(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR another.@@@ (RIGHTARG = int, FUNCTION = another.upper)",
    "DO $$ BEGIN EXECUTE 'CREATE TABLE hidden (email text)'; END $$",
    "SELECT 1 AS x INTO selected",
    "CREATE TABLE created AS SELECT 1 AS x",
    "DROP TABLE hidden, selected, created",
    "DROP SCHEMA another CASCADE",
)


def test_ddl_round_the_tap_advances_the_epoch(tap: GuardedTap, admin: psycopg.Connection) -> None:
    for statement in DDL:
        before = tap.watcher.catalog.epoch
        admin.execute(statement.encode())
        settled(tap, lambda before=before: tap.watcher.catalog.epoch > before)


def test_ddl_that_is_rolled_back_changes_nothing(tap: GuardedTap, admin: psycopg.Connection) -> None:
    before = tap.watcher.catalog.epoch
    with admin.transaction(force_rollback=True):
        admin.execute("ALTER TABLE orders ADD email text")
    tap.refresh()
    assert tap.watcher.catalog.epoch == before


def test_ddl_through_the_tap_is_known_to_the_next_statement(tap: GuardedTap) -> None:
    with tap.connect("owner") as connection:
        for number in range(5):
            connection.execute(f"CREATE TABLE passing_{number} (id int, email text)".encode())
            tap.judge("SELECT 1")
            assert tap.watcher.catalog.current is False or relation(tap, f"passing_{number}") is not None
            connection.execute(f"SELECT email FROM passing_{number}".encode())
            assert classes(tap, f"passing_{number}") == {"id": "", "email": "email"}
            connection.execute(f"DROP TABLE passing_{number}".encode())


def test_a_new_personal_column_is_masked_right_after_its_creation(tap: GuardedTap, admin: psycopg.Connection) -> None:
    """Ann reads orders all the time; its verdict is remembered, and must not be used any more."""
    with tap.connect("ann") as ann, tap.connect("owner") as owner:
        assert ann.execute("SELECT * FROM orders").fetchall() == [(1, "first")]
        owner.execute("ALTER TABLE orders ADD email text DEFAULT 'ann@mail.example'")
        assert ann.execute("SELECT * FROM orders").fetchall() == [(1, "first", "***@***")]
        assert ann.execute("SELECT lower(email), upper(note) FROM orders").fetchall() == [("***", "FIRST")]
        owner.execute("ALTER TABLE orders DROP email")
        assert ann.execute("SELECT lower(note), count(*) FROM orders GROUP BY 1").fetchall() == [("first", 1)]


def test_a_new_personal_column_that_others_made_is_masked_once_the_server_has_told(
    tap: GuardedTap, admin: psycopg.Connection
) -> None:
    with tap.connect("ann") as ann:
        before = tap.watcher.catalog.epoch
        assert ann.execute("SELECT * FROM orders").fetchone() == (1, "first")
        admin.execute("ALTER TABLE orders ADD phone text DEFAULT '+49'")
        settled(tap, lambda: tap.watcher.catalog.epoch > before)
        assert ann.execute("SELECT * FROM orders").fetchone() == (1, "first", "***")
        admin.execute("ALTER TABLE orders DROP phone")
        settled(tap, lambda: "phone" not in classes(tap, "orders"))


def test_what_is_prepared_is_judged_anew_after_ddl(tap: GuardedTap) -> None:
    with tap.connect("ann", options="") as ann, tap.connect("owner") as owner:
        for _ in range(2):
            assert ann.execute("SELECT note || '!' FROM orders", prepare=True).fetchone() == ("first!",)
        owner.execute("ALTER TABLE orders RENAME TO others")
        owner.execute("CREATE VIEW orders AS SELECT id, email AS note FROM customers")
        assert ann.execute("SELECT note || '!' FROM orders", prepare=True).fetchone() == ("***",)
        owner.execute("DROP VIEW orders")
        owner.execute("ALTER TABLE others RENAME TO orders")


def test_views_hide_what_they_stand_on(tap: GuardedTap) -> None:
    assert classes(tap, "people") == {"id": "", "contact": "unproven"}
    assert classes(tap, "nested") == {"contact": "unproven"}
    assert classes(tap, "called") == {"x": "unproven", "id": "unproven"}
    assert set(classes(tap, "information_schema.tables").values()) == {""}
    assert set(classes(tap, "pg_catalog.pg_roles").values()) == {""}


def test_a_renamed_column_stays_what_it_was(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute("ALTER TABLE customers RENAME email TO e")
    tap.refresh()
    assert classes(tap, "customers") == {"id": "", "e": "email"}
    assert classes(tap, "people") == {"id": "", "contact": "unproven"}
    admin.execute("ALTER TABLE customers RENAME e TO email")
    tap.refresh()


def test_generated_columns_and_parents_hold_what_they_are_made_of(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute(
        "CREATE TABLE parent (remark text); CREATE TABLE child (email text,"
        " remark text GENERATED ALWAYS AS (lower(email)) STORED, plain text GENERATED ALWAYS AS ('x') STORED);"
        " ALTER TABLE parent ADD sibling text; CREATE TABLE grandchild () INHERITS (child)"
    )
    tap.refresh()
    assert classes(tap, "child") == {"email": "email", "remark": "email", "plain": ""}
    assert classes(tap, "grandchild") == {"email": "email", "remark": "email", "plain": ""}
    admin.execute(
        "CREATE TABLE plain_child (remark text, sibling text, name text); CREATE TABLE customers_2 () INHERITS (parent)"
    )
    admin.execute("CREATE TABLE named (name text); CREATE TABLE user_names () INHERITS (named)")
    tap.refresh()
    assert classes(tap, "named") == classes(tap, "user_names") == {"name": "person_name"}
    admin.execute("DROP TABLE parent, child, grandchild, plain_child, customers_2, named, user_names CASCADE")


def test_a_name_that_may_mean_two_relations_means_none(tap: GuardedTap, admin: psycopg.Connection) -> None:
    """A temporary table, whose session isn't known; a schema of the path that the role perhaps may not use."""
    admin.execute("CREATE TEMP TABLE orders (id int, email text)")
    admin.execute("CREATE TEMP TABLE mine (id int, email text)")
    admin.execute("CREATE SCHEMA app; CREATE TABLE app.customers (id int, email int); CREATE TABLE app.same (id int)")
    admin.execute("CREATE TABLE same (id int); CREATE VIEW app.people AS SELECT 1 AS id, ''::text AS contact")
    tap.refresh()
    assert relation(tap, "orders") is None and classes(tap, "public.orders") == {"id": "", "note": ""}
    assert classes(tap, "mine") == classes(tap, "pg_temp.mine") == {"id": "", "email": "email"}
    assert relation(tap, "customers") is None and relation(tap, "people") is None
    assert classes(tap, "app.customers") == {"id": "", "email": ""}
    same = relation(tap, "same")
    assert same is not None and same.schema == "app"
    assert tap.watcher.catalog.named("mine") and not tap.watcher.catalog.named("nobody")
    admin.execute("DROP SCHEMA app CASCADE; DROP TABLE same, pg_temp.orders, mine")
    tap.refresh()
    assert classes(tap, "orders") == {"id": "", "note": ""}


def test_types_are_known_by_what_is_inside(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute(
        "CREATE DOMAIN address AS text; CREATE DOMAIN work_address AS address; CREATE TYPE pair AS (a text, b text);"
        " CREATE DOMAIN document AS jsonb; CREATE TABLE typed (email work_address, emails work_address[], x pair,"
        " y pair[], z document, id bigint, state varchar(9), phone citext)"
    )
    tap.refresh()
    found = relation(tap, "typed")
    assert found is not None and [(c.name, c.type_name, c.data_class) for c in found.columns] == [
        ("email", "text", "email"),
        ("emails", "text", "email"),
        ("x", "record", "document"),
        ("y", "record", "document"),
        ("z", "jsonb", "document"),
        ("id", "bigint", ""),
        ("state", "character varying", ""),
        ("phone", "citext", "phone"),
    ]
    admin.execute("DROP TABLE typed")


def test_relations_that_run_code_are_known(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        " CREATE TABLE plain (id int PRIMARY KEY REFERENCES customers DEFAULT 1 CHECK (id > 0));"
        " CREATE TABLE triggered (id int); CREATE TRIGGER t BEFORE INSERT ON triggered EXECUTE FUNCTION f();"
        " CREATE TABLE defaulted (id int, x text DEFAULT customer_email(1));"
        " CREATE TABLE checked (id int CHECK (customer_email(id) <> ''));"
        " CREATE TABLE secured (id int); CREATE POLICY p ON secured USING (customer_email(id) <> '');"
        " CREATE TABLE ruled (id int); CREATE RULE r AS ON INSERT TO ruled DO NOTHING"
    )
    tap.refresh()
    tables = ("plain", "triggered", "defaulted", "checked", "secured", "ruled")
    assert [name for name in tables if (r := relation(tap, name)) is not None and r.code] == list(tables[1:])
    admin.execute("DROP TABLE plain, triggered, defaulted, checked, secured, ruled; DROP FUNCTION f")


def test_types_whose_values_code_makes_are_known(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute(
        "CREATE FUNCTION is_fine(text) RETURNS bool LANGUAGE sql AS 'SELECT true';"
        " CREATE TYPE reference AS (v text);"
        " CREATE FUNCTION referred(int) RETURNS reference LANGUAGE sql AS $$ SELECT row('x')::reference $$;"
        " CREATE CAST (int AS reference) WITH FUNCTION referred(int);"
        " CREATE DOMAIN verified AS text CHECK (is_fine(value)); CREATE DOMAIN twice AS verified;"
        " CREATE TYPE two AS (a twice, b int); CREATE DOMAIN longer AS text CHECK (length(value) > 1);"
        " CREATE TABLE by_domain (a twice); CREATE TABLE by_array (a verified[]); CREATE TABLE by_pair (a two);"
        " CREATE TABLE by_none (a longer)"
    )
    tap.refresh()
    found, catalog = ("reference", "verified", "twice", "two", "longer", "text", "int4"), tap.watcher.catalog
    assert [name for name in found if catalog.runs_code(name)] == ["reference", "verified", "twice", "two"]
    tables = ("by_domain", "by_array", "by_pair", "by_none")
    assert [name for name in tables if (r := relation(tap, name)) is not None and r.code] == list(tables[:3])
    admin.execute("DROP TABLE by_domain, by_array, by_pair, by_none; DROP TYPE two")
    admin.execute("DROP DOMAIN twice, verified, longer; DROP TYPE reference CASCADE; DROP FUNCTION is_fine")


def test_functions_and_operators_are_postgresqls_own_or_not(tap: GuardedTap, admin: psycopg.Connection) -> None:
    catalog = tap.watcher.catalog
    own = ("lower", "pg_catalog.lower", "count", "operator =", "operator ||", "citext_eq", "operator <=")
    assert [name for name in own if not catalog.builtin(name)] == []
    others = ("customer_email", "public.customer_email", "nobody", "operator ###", "taprail.emit_ddl")
    assert [name for name in others if catalog.builtin(name)] == []
    admin.execute("CREATE FUNCTION lower(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM customers'")
    tap.refresh()
    assert catalog.builtin("pg_catalog.lower") and not catalog.builtin("lower") and not catalog.builtin("public.lower")
    assert catalog.volatile("random") and catalog.volatile("customer_email") and not catalog.volatile("upper")
    admin.execute("DROP FUNCTION lower(int)")
    tap.refresh()


def test_an_own_function_in_the_place_of_an_extensions_is_nobodys(tap: GuardedTap, admin: psycopg.Connection) -> None:
    admin.execute("CREATE SCHEMA mine; CREATE FUNCTION mine.citext_eq(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    tap.refresh()
    assert not tap.watcher.catalog.builtin("citext_eq")
    admin.execute("DROP SCHEMA mine CASCADE")
    tap.refresh()
    assert tap.watcher.catalog.builtin("citext_eq")


def test_a_lost_connection_answers_nothing_until_it_is_back(tap: GuardedTap, admin: psycopg.Connection) -> None:
    own = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    assert admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}".encode()).fetchall()
    admin.execute("CREATE TABLE while_away (email text)")
    settled(tap, lambda: relation(tap, "while_away") is not None)
    with tap.connect("ann") as ann:
        admin.execute("INSERT INTO while_away VALUES ('ann@mail.example')")
        assert ann.execute("SELECT email FROM while_away").fetchone() == ("***@***",)
    admin.execute("DROP TABLE while_away")


async def test_a_server_that_cannot_be_reached_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taprail.connectors.postgres.catalog.WAIT_SECONDS_MAX", 0.1)
    watcher = CatalogWatcher({"host": "127.0.0.1", "port": 1, "database": "shop", "user": "x"}, None, classify)
    watcher.start()
    with pytest.raises(RefusedError, match="catalog of shop can't be read"):
        await watcher.wait_current()
    assert watcher.catalog.current is False
    await watcher.stop()


@pytest.mark.parametrize(
    ("search_path", "schemas"),
    [
        ('"$user", public', ["$user", "public"]),
        ("a,b", ["a", "b"]),
        ('A, "B"', ["a", "B"]),
        ('"a, b", c', ["a, b", "c"]),
        ('"a""b"', ['a"b']),
        ('""', []),
        ("", []),
        (" , ", []),
        ('"A  b" ,c', ["A  b", "c"]),
        ("Ärger, X", ["Ärger", "x"]),
        ("x" * 70 + ", public", ["x" * 63, "public"]),
    ],
)
def test_search_paths(search_path: str, schemas: list[str]) -> None:
    assert list(split_path(search_path)) == schemas


def test_the_channel_is_the_one_that_the_event_trigger_uses(admin: psycopg.Connection) -> None:
    row = admin.execute("SELECT prosrc FROM pg_proc WHERE proname = 'emit_ddl'").fetchone()
    assert row is not None and f"pg_notify('{CHANNEL}'" in row[0]
