"""`taprail.person()` on a real server: what the tap says reaches row-level security, and nobody else can say it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from taprail.connectors.postgres import person
from taprail.connectors.postgres.proxy import PERSON_SETTING
from taprail.schemas.records import Person
from taprail.streams.identity.passed_on import PassedOn, database_key, value

KEY = bytes(range(32))
ROLE, PASSWORD = "rls_app", "not a secret"
ANN = Person("ann", "Ann", "person", ("engineers",), "https://idp.example")


@pytest.fixture(scope="module")
def database(server: Any) -> Iterator[str]:
    """A database with the functions and a table whose rows are their authors'."""
    name = f"person_{secrets.token_hex(4)}"
    with psycopg.connect(server.endpoint.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), PASSWORD))
    with psycopg.connect(server.endpoint.dsn(name), autocommit=True) as admin:
        for statement in person.install(database_key(KEY, "main", name)):
            admin.execute(statement.sql)
        admin.execute("CREATE TABLE notes (author text DEFAULT taprail.person(), body text)")
        admin.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
        admin.execute("CREATE POLICY own ON notes USING (author = (SELECT taprail.person()))")
        admin.execute(f"GRANT SELECT, INSERT ON notes TO {ROLE}")
        admin.execute("INSERT INTO notes VALUES ('ann', 'hers'), ('bob', 'his'), (NULL, 'nobody''s')")
    yield name
    with psycopg.connect(server.endpoint.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


def telling(bed: Any, database: str, passed_on: PassedOn | None) -> Any:
    """The tap tells the server who acts, and signs in as a role that row-level security holds for."""
    target = bed._target
    bed.target = lambda login: replace(target(login), role=ROLE, password=PASSWORD, upstream_database=database)
    hooks = replace(bed.proxy.serving.hooks, pass_on=passed_on)
    bed.proxy.serving = replace(bed.proxy.serving, hooks=hooks)
    return bed


@pytest.fixture
def tap(bed: Any, database: str) -> Any:
    return telling(bed, database, PassedOn(KEY))


def authors(connection: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in connection.execute("SELECT author FROM notes ORDER BY 1")]


def direct(server: Any, database: str, claimed: str | None = None) -> psycopg.Connection[Any]:
    """Past the tap: somebody who has got hold of the role's password."""
    dsn = psycopg.conninfo.make_conninfo(server.endpoint.dsn(database), user=ROLE, password=PASSWORD)
    connection = psycopg.connect(dsn, autocommit=True)
    if claimed is not None:
        connection.execute("SELECT set_config('taprail.person', %s, false)", [claimed])
    return connection


def own_port(connection: psycopg.Connection[Any]) -> int:
    [(port,)] = connection.execute("SELECT inet_client_port()").fetchall()
    return int(port)


def test_the_server_knows_who_acts(tap: Any) -> None:
    with tap.connect("ann", "a.good.token") as connection:
        assert authors(connection) == ["ann"]
        [(claims,)] = connection.execute("SELECT taprail.claims()").fetchall()
        [(_, context, _)] = tap.recorder.sessions
        assert (claims["person"], claims["name"], claims["kind"]) == ("ann", "Ann", "person")
        assert claims["session"] == context.session and claims["groups"] == []
        connection.execute("INSERT INTO notes (body) VALUES ('by default it is hers') RETURNING author")
    with tap.connect("trusted") as connection:
        assert authors(connection) == [], "another person, who wrote nothing"


def test_reset_and_discard_go_back_to_the_same_person(tap: Any) -> None:
    with tap.connect("ann", "a.good.token") as connection:
        for statement in ("RESET taprail.person", "RESET ALL", "DISCARD ALL"):
            connection.execute(statement)
            assert set(authors(connection)) == {"ann"}, statement


def test_who_sets_it_by_hand_gets_an_error_and_no_rows(tap: Any) -> None:
    """The bed's guard allows everything: what the tap's own rule refuses must not work either where it gets past."""
    with tap.connect("trusted") as connection:
        for forged in ("ann", "x" * 64 + ' {"person":"ann"}', "0" * 64 + " {}", "{}", " ", "x" * 65):
            connection.execute(sql.SQL("SET taprail.person = {}").format(forged))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not set by a tap"):
                authors(connection)
        connection.execute("RESET taprail.person")
        with connection.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET LOCAL taprail.person = 'ann'")
            authors(connection)
        assert authors(connection) == []
        connection.execute("SET taprail.person = ''")
        assert authors(connection) == [], "nobody"


def test_another_sessions_value_is_refused(tap: Any) -> None:
    with tap.connect("ann", "a.good.token") as hers, tap.connect("trusted") as his:
        [(stolen,)] = hers.execute("SHOW taprail.person").fetchall()
        his.execute(sql.SQL("SET taprail.person = {}").format(stolen))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another connection"):
            authors(his)
        assert set(authors(hers)) == {"ann"}


def test_a_value_changed_in_one_byte_is_refused(tap: Any) -> None:
    with tap.connect("ann", "a.good.token") as connection:
        [(said,)] = connection.execute("SHOW taprail.person").fetchall()
        for changed in (said.replace("ann", "bob"), said[:-1], said + " ", said[:64] + "\t" + said[65:], said.upper()):
            connection.execute(sql.SQL("SET taprail.person = {}").format(changed))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not set by a tap"):
                connection.execute("SELECT taprail.person()")


def test_an_old_value_on_the_same_port_is_refused(server: Any, database: str) -> None:
    """A port comes again; the value is older than the connection then."""
    key = database_key(KEY, "main", database)
    with direct(server, database) as connection:
        now, port = time.time_ns() // 1000, own_port(connection)
        connection.execute("SELECT set_config('taprail.person', %s, false)", [value(key, ANN, "s", port, now)])
        assert authors(connection).count("ann") >= 1, "this one the tap could have made"
        old = value(key, ANN, "s", port, now - 3_600_000_000)
        connection.execute("SELECT set_config('taprail.person', %s, false)", [old])
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another connection"):
            authors(connection)


def test_another_databases_key_and_a_value_without_a_port(server: Any, database: str) -> None:
    now = time.time_ns() // 1000
    with direct(server, database) as connection:
        for server_name, name in (("main", "other"), ("other", database)):
            foreign = value(database_key(KEY, server_name, name), ANN, "s", own_port(connection), now)
            connection.execute("SELECT set_config('taprail.person', %s, false)", [foreign])
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not set by a tap"):
                authors(connection)
        key = database_key(KEY, "main", database)
        for early, good in ((0, True), (3_600_000_000, False), (-3_600_000_000, False)):
            loose = value(key, ANN, "s", 0, now - early, bound=False)
            connection.execute("SELECT set_config('taprail.person', %s, false)", [loose])
            if good:
                assert "ann" in authors(connection)
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another connection"):
                authors(connection)
        unix = value(key, ANN, "s", 0, now)
        connection.execute("SELECT set_config('taprail.person', %s, false)", [unix])
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="another connection"):
            authors(connection)


def test_ordinary_roles_read_neither_the_keys_nor_what_makes_them(server: Any, database: str) -> None:
    with psycopg.connect(server.endpoint.dsn(database)) as admin:
        [(oid,)] = admin.execute("SELECT pads FROM taprail.person_keys").fetchall()
    large = [
        f"SELECT lo_get({oid})",
        f"SELECT lo_get({oid}, 0, 1)",
        f"SELECT lo_put({oid}, 0, 'x')",
        f"SELECT lo_unlink({oid})",
        f"SELECT loread(lo_open({oid}, 262144), 128)",
        f"GRANT SELECT ON LARGE OBJECT {oid} TO PUBLIC",
        "SELECT data FROM pg_largeobject",
    ]
    with direct(server, database) as connection:
        for attempt in (
            "SELECT * FROM taprail.person_keys",
            "COPY taprail.person_keys TO STDOUT",
            "INSERT INTO taprail.person_keys (pads) VALUES (lo_from_bytea(0, 'mine'))",
            *large,
            "CREATE FUNCTION taprail.person() RETURNS text LANGUAGE sql AS $$SELECT 'bob'$$",
            "CREATE OR REPLACE FUNCTION taprail.claims() RETURNS jsonb LANGUAGE sql AS $$SELECT '{}'::jsonb$$",
            "ALTER FUNCTION taprail.claims() SECURITY INVOKER",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(attempt)


def test_a_change_feed_of_all_tables_doesnt_carry_the_keys(server: Any) -> None:
    name, slot = f"person_{secrets.token_hex(4)}", f"keys_{secrets.token_hex(4)}"
    with psycopg.connect(server.endpoint.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        with psycopg.connect(server.endpoint.dsn(name), autocommit=True) as admin:
            admin.execute("CREATE PUBLICATION everything FOR ALL TABLES")
            admin.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
            admin.execute("CREATE TABLE canary (secret bytea)")
            inner, outer = (bytes(each ^ byte for each in KEY.ljust(64, b"\0")) for byte in (0x36, 0x5C))
            for statement in [*person.install(KEY), *person.install(bytes(32)), *person.forget_keys(KEY)]:
                admin.execute(statement.sql)
            admin.execute("INSERT INTO canary VALUES (%s)", [b"a secret in a table"])
            options = "'proto_version', '1', 'publication_names', 'everything'"
            rows = admin.execute(
                f"SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, {options})", [slot]
            )
            feed = b"".join(row[0] for row in rows)
            assert b"a secret in a table".hex().encode() in feed, "the feed does carry tables"
            assert b"person_keys" in feed
            for pad in (inner, outer):
                assert pad[:16] not in feed and pad[:16].hex().encode() not in feed
            admin.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    finally:
        with psycopg.connect(server.endpoint.dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_ones_own_functions_and_operators_dont_get_into_the_check(server: Any, database: str) -> None:
    """With a search_path of the caller's own, or objects in pg_temp."""
    with direct(server, database, "x" * 64 + ' {"person":"ann"}') as connection:
        connection.execute("CREATE TEMP TABLE person_keys (inner_pad bytea, outer_pad bytea)")
        connection.execute(
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$SELECT '\\x00'::bytea$$"
        )
        connection.execute("SET search_path = pg_temp, public")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not set by a tap"):
            connection.execute("SELECT taprail.person()")


def test_past_the_tap_nobody_acts(server: Any, database: str) -> None:
    with direct(server, database) as connection:
        assert connection.execute("SELECT taprail.person(), taprail.claims()").fetchone() == (None, None)
        assert authors(connection) == []


def test_a_new_key_and_the_old_one_for_a_while(bed: Any, server: Any, database: str) -> None:
    new, newer = secrets.token_bytes(32), secrets.token_bytes(32)

    def run(statements: list[person.Statement]) -> None:
        with psycopg.connect(server.endpoint.dsn(database), autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement.sql)

    tap = telling(bed, database, PassedOn(KEY))
    with tap.connect("ann", "a.good.token") as connection:
        run(person.install(database_key(new, "main", database)))
        assert "ann" in authors(connection), "the session that is open while the key changes"
        run(person.install(database_key(newer, "main", database)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not set by a tap"):
            authors(connection)
    with telling(bed, database, PassedOn(new)).connect("ann", "a.good.token") as connection:
        assert "ann" in authors(connection)
        run(person.forget_keys(database_key(newer, "main", database)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not set by a tap"):
            authors(connection)
    run(person.install(database_key(KEY, "main", database)))


def test_a_parallel_plan_asks_the_leader(tap: Any) -> None:
    with tap.connect("ann", "a.good.token", options="-c work_mem=64kB") as connection:
        connection.execute("SET parallel_setup_cost = 0")
        connection.execute("SET parallel_tuple_cost = 0")
        connection.execute("SET min_parallel_table_scan_size = 0")
        assert set(authors(connection)) == {"ann"}


def test_many_groups_fit_into_a_start_up_packet_or_stay_out() -> None:
    many = replace(ANN, groups=tuple(f"CN=group-{n},OU=access,DC=example,DC=com" for n in range(500)))
    said = value(KEY, many, "s", 1, 2)
    assert len(said) < 1000 and json.loads(said[65:])["groups"] is None
    assert json.loads(value(KEY, ANN, "s", 1, 2)[65:])["groups"] == ["engineers"]


def test_odd_names_keep_their_letters(tap: Any, server: Any, database: str) -> None:
    with direct(server, database) as connection:
        for name in ('o\'neil \\ "x"', "é漢字🙂", "$person$", "a b\tc"):
            said = value(database_key(KEY, "main", database), replace(ANN, subject=name), "s", own_port(connection),
                         time.time_ns() // 1000)  # fmt: skip
            connection.execute("SELECT set_config('taprail.person', %s, false)", [said])
            assert connection.execute("SELECT taprail.person()").fetchone() == (name,)


def test_it_can_be_taken_away_but_not_from_under_a_policy(server: Any, database: str) -> None:
    with psycopg.connect(server.endpoint.dsn(database)) as admin:
        with pytest.raises(psycopg.errors.DependentObjectsStillExist), admin.transaction():
            for statement in person.remove():
                admin.execute(statement.sql)
        admin.execute("DROP TABLE notes")
        assert admin.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() != (0,)
        for statement in [*person.remove(), *person.remove()]:
            admin.execute(statement.sql)
        assert admin.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)
        admin.rollback()


def test_a_client_cant_say_it_at_start_up(tap: Any) -> None:
    """What comes there is a statement of a service, for the tap; only what the tap makes goes on."""
    with pytest.raises(psycopg.OperationalError):
        tap.connect("ann", "a.good.token", options=f"-c {PERSON_SETTING}=forged")


def test_who_has_no_key_tells_nothing(beds: Callable[..., Any], database: str) -> None:
    with telling(beds(), database, None).connect("ann", "a.good.token") as connection:
        assert connection.execute("SELECT taprail.person()").fetchone() == (None,)
