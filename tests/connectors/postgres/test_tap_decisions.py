"""What the tap does with a verdict: deny, hold, mask, mark; and what it refuses by itself."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import psycopg
import pytest
from psycopg import pq

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import MaskPlan, Release
from taprail.schemas.records import Terms

SECRET = "hide"


def deny_secret(request, verdict):
    if SECRET in request.text:
        return replace(verdict, action="deny", reason="no secrets", hint="ask the owner", mark="none")
    return verdict


def hold_secret(request, verdict):
    return replace(verdict, action="hold", reason="needs a friend") if SECRET in request.text else verdict


# Deny -----------------------------------------------------------------------------------------------------------------


def test_a_denied_statement_is_an_error_and_the_session_lives(bed):
    bed.guard.rule = deny_secret
    with bed.connect() as connection:
        for arguments in ((), ([1],)):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no secrets") as raised:
                connection.execute("SELECT 'hide'" + (", %s::int" if arguments else ""), *arguments)
            assert raised.value.diag.message_hint == "ask the owner"
            assert connection.execute("SELECT 1").fetchone() == (1,)
    bed.settle(lambda: len(bed.recorder.outcomes) == 4)
    assert [result.status for _, result, _ in bed.recorder.outcomes] == ["denied", "ok", "denied", "ok"]


def test_one_denial_denies_the_whole_message(bed):
    bed.guard.rule = deny_secret
    with bed.direct() as direct, bed.connect() as connection:
        direct.execute("DROP TABLE IF EXISTS whole; CREATE TABLE whole (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO whole VALUES (1); SELECT 'hide'; INSERT INTO whole VALUES (2)")
        assert direct.execute("SELECT count(*) FROM whole").fetchone() == (0,)


def test_a_denial_inside_a_transaction_aborts_it(bed):
    bed.guard.rule = deny_secret
    with bed.connect(autocommit=False) as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT 'hide'")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_a_denial_in_the_middle_of_a_pipeline(bed):
    """Earlier answers come first, what follows is skipped, and nothing of the group is committed."""
    bed.guard.rule = deny_secret
    with bed.direct() as direct, bed.connect() as connection:
        direct.execute("DROP TABLE IF EXISTS middle; CREATE TABLE middle (a int)")
        first = None
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline() as pipeline:
            first = connection.execute("INSERT INTO middle VALUES (1) RETURNING a")
            connection.execute("SELECT 'hide'")
            connection.execute("INSERT INTO middle VALUES (2)")
            pipeline.sync()
        assert first.fetchone() == (1,)
        assert direct.execute("SELECT count(*) FROM middle").fetchone() == (0,)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "INSERT INTO middle VALUES (2)" not in bed.recorder.texts()


def test_a_statement_that_cannot_be_parsed_does_not_run(bed):
    with bed.connect() as connection, pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("SELEC 1")
    assert bed.recorder.statements[0][1].action == "deny"


def test_a_policy_that_changes_reaches_prepared_statements(bed):
    with bed.connect() as connection:
        for _ in range(3):
            connection.execute("SELECT 'hide', %s::int", [1], prepare=True)
        bed.guard.rule = deny_secret
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT 'hide', %s::int", [1], prepare=True)


def test_nothing_runs_that_cannot_be_written_down(bed):
    with bed.direct() as direct, bed.connect() as connection:
        direct.execute("DROP TABLE IF EXISTS unwritten; CREATE TABLE unwritten (a int)")
        bed.recorder.broken = True
        for arguments in ((), ([1],)):
            with pytest.raises(psycopg.errors.IoError, match="spool is full"):
                connection.execute(f"INSERT INTO unwritten VALUES ({'%s' if arguments else 1})", *arguments)
        bed.recorder.broken = False
        assert direct.execute("SELECT count(*) FROM unwritten").fetchone() == (0,)


# Hold -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ([5],)], ids=["simple", "extended"])
def test_a_held_statement_runs_after_its_approval(bed, arguments):
    bed.guard.rule = hold_secret
    notices = []
    with bed.connect() as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        text = f"SELECT 'hide', {'%s::int' if arguments else 5}"
        assert connection.execute(text, *arguments).fetchone() == ("hide", 5)
    assert "needs a friend" in notices[0]
    held, released = bed.recorder.statements
    assert (held[1].action, bed.recorder.approvals) == ("hold", [("approval-1", held[2].sequence)])
    assert bed.recorder.outcomes[0][2] == released[2]


@pytest.mark.parametrize("status", ["denied", "expired"])
def test_a_held_statement_that_nobody_approves_does_not_run(bed, status):
    async def refuse(_):
        return Release(False, reason="not today", status=status)

    bed.guard.rule, bed.gate.decide = hold_secret, refuse
    with bed.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not today"):
            connection.execute("SELECT 'hide'")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert bed.recorder.outcomes[0][1].status == status


def test_cancel_ends_the_wait_and_the_session_lives(bed):
    bed.guard.rule, bed.gate.decide = hold_secret, lambda _: asyncio.sleep(60)
    with bed.connect() as connection:
        threading.Timer(0.2, connection.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT 'hide'")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert bed.recorder.outcomes[0][1].status == "cancelled"


def test_a_client_that_leaves_ends_the_wait(bed):
    bed.guard.rule, bed.gate.decide = hold_secret, lambda _: asyncio.sleep(60)
    connection = bed.connect()
    connection.pgconn.send_query(b"SELECT 'hide'")
    bed.settle(lambda: bed.gate.asked)
    connection.close()
    bed.settle(lambda: bed.recorder.outcomes)
    assert bed.recorder.outcomes[0][1].status == "cancelled"
    bed.settle(lambda: bed.proxy.sessions == 0)


async def ask_only(_):
    return Release(False, "approval-1", "this needs an approval, and approval-1 asks for it", "denied", "run it again")


def test_inside_a_transaction_nobody_waits_but_is_told_at_once(bed):
    bed.guard.rule, bed.gate.decide = hold_secret, ask_only
    notices = []
    with bed.connect(autocommit=False) as connection:
        connection.add_notice_handler(notices.append)
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="approval-1 asks for it") as caught:
            connection.execute("SELECT 'hide'")
        assert caught.value.diag.message_hint == "run it again"
    assert notices == []
    (held,) = (verdict for _, verdict, _ in bed.recorder.statements if verdict.action == "hold")
    assert (held.action, held.terms.mode) == ("hold", "retry")


def test_unless_the_policy_insists_on_waiting(bed):
    bed.guard.rule = lambda request, verdict: replace(hold_secret(request, verdict), hold_in_transaction=True)
    with bed.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        assert connection.execute("SELECT 'hide'").fetchone() == ("hide",)


def test_who_is_told_at_once_has_a_session_that_lives(bed):
    def told(request, verdict):
        return replace(hold_secret(request, verdict), terms=Terms("retry", grant_seconds=60))

    bed.guard.rule, bed.gate.decide = told, ask_only
    with bed.connect() as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="approval-1 asks for it"):
                connection.execute("SELECT 'hide'")
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [o[1].status for o in bed.recorder.outcomes if o[0].text == "SELECT 'hide'"] == ["denied", "denied"]


@pytest.mark.parametrize("arguments", [(), ([5],)], ids=["simple", "extended"])
def test_what_was_given_lets_it_run_once(bed, arguments):
    """As often as it is prepared or described, only a run uses it up."""

    def lift(_, verdict):
        spent = "approval-1" in bed.recorder.spent
        return verdict if spent else replace(verdict, action="allow", approval="approval-1", spends=True)

    bed.guard.rule, bed.guard.lift, bed.gate.decide = hold_secret, lift, ask_only
    text = f"SELECT 'hide', {'%s::int' if arguments else 5}"
    with bed.connect() as connection:
        assert connection.execute(text, *arguments).fetchone() == ("hide", 5)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="approval-1 asks for it"):
            connection.execute(text, *arguments)
    assert bed.recorder.spent == ["approval-1"]
    first, again = bed.recorder.statements
    assert (first[1].action, first[1].approval, again[1].action) == ("allow", "approval-1", "hold")


def test_two_that_are_sent_at_once_use_it_once(bed):
    """Both are judged before either runs."""
    bed.guard.rule = hold_secret
    bed.guard.lift = lambda _, verdict: replace(verdict, action="allow", approval="approval-1", spends=True)
    with bed.connect() as connection:
        with connection.pipeline():
            first = connection.execute("SELECT 'hide', %s::int", [1])
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="used already"):
                connection.execute("SELECT 'hide', %s::int", [1]).fetchone()
        assert first.fetchone() == ("hide", 1)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert len([s for s in bed.recorder.statements if "hide" in s[0].text]) == 1


def test_a_message_that_holds_it_twice_runs_nothing(bed):
    """One approval, one run: not one message."""
    bed.guard.rule = hold_secret
    bed.guard.lift = lambda _, verdict: replace(verdict, action="allow", approval="approval-1", spends=True)
    with bed.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="used already"):
            connection.execute("SELECT 'hide'; SELECT 'hide'")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [s for s in bed.recorder.statements if "hide" in s[0].text] == []


def test_what_was_allowed_before_a_wait_must_be_so_after_it(bed):
    """Access for a time may end while somebody thinks about another statement of the same message."""
    ended = []

    def rule(request, verdict):
        if "carts" in request.text and ended:
            return replace(verdict, action="deny", reason="no access any more")
        return hold_secret(request, verdict)

    async def decide(_):
        ended.append(True)
        return Release(True, "approval-1")

    bed.guard.rule, bed.gate.decide = rule, decide
    with bed.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="isn't any more"):
            connection.execute("SELECT 'carts'; SELECT 'hide'")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [v.action for r, v, _ in bed.recorder.statements if "1" not in r.text] == ["hold", "deny"]
    assert [o[1].status for o in bed.recorder.outcomes[:2]] == ["denied", "error"]


@pytest.mark.parametrize("later", [{"action": "deny", "reason": "no more"}, {"terms": Terms(quorum=2)}])
def test_what_was_approved_first_is_looked_at_again_after_the_second_wait(bed, later):
    """Two approvals of one message: the first may be overtaken while the second is waited for."""

    def rule(request, verdict):
        held = replace(hold_secret(request, verdict), alone=True)
        return replace(held, **later) if "hide', 1" in request.text and len(bed.gate.asked) == 2 else held

    bed.guard.rule = rule
    with bed.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="has changed since"):
            connection.execute("SELECT 'hide', 1; SELECT 'hide', 2")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [v.action for r, v, _ in bed.recorder.statements if "hide" in r.text] == ["hold", "hold", "deny"]


SCRIPT = "SELECT 1; SELECT 'hide', 1; SELECT 2; SELECT 'hide', 2"


def test_the_held_statements_of_a_script_are_one_request(bed):
    bed.guard.rule = hold_secret
    with bed.connect() as connection:
        cursor = connection.execute(SCRIPT)
        while cursor.nextset():
            pass
        assert cursor.fetchone() == ("hide", 2)
    (asked,) = bed.gate.asked
    assert asked.text == "SELECT 'hide', 1;\nSELECT 'hide', 2"
    held, *ran = bed.recorder.statements
    assert (held[1].action, held[1].statements) == ("hold", 2)
    assert [request.text.strip() for request, _, _ in ran] == [part.strip() for part in SCRIPT.split(";")]
    assert bed.recorder.approvals == [("approval-1", held[2].sequence)] * 2


def test_a_script_that_was_given_runs_as_a_whole_once(bed):
    def lift(request, verdict):
        is_whole = request.text.count("hide") == 2 and not bed.recorder.spent
        return replace(verdict, action="allow", approval="approval-1", spends=True) if is_whole else verdict

    bed.guard.rule, bed.guard.lift, bed.gate.decide = hold_secret, lift, ask_only
    with bed.connect() as connection:
        for text in ("SELECT 'hide', 1", "SELECT 'hide', 2"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="asks for it"):
                connection.execute(text)
        connection.execute(SCRIPT)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="asks for it"):
            connection.execute(SCRIPT)
    assert bed.recorder.spent == ["approval-1"]
    assert [s[1].approval for s in bed.recorder.statements if s[1].action == "allow"] == ["", "approval-1"] * 2


def test_what_a_safeguard_denies_nobody_asks_to_lift(bed):
    asked = []
    bed.guard.rule = lambda _, verdict: replace(verdict, action="deny", reason="no")
    bed.guard.lift = lambda _, verdict: asked.append(verdict) or verdict
    with bed.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT 'hide'")
    assert asked == []


def test_a_policys_denial_may_be_lifted(bed):
    bed.guard.rule = lambda _, verdict: replace(verdict, action="deny", reason="no", by_policy=True)
    bed.guard.lift = lambda _, verdict: replace(verdict, action="allow", approval="emergency-1")
    with bed.connect() as connection:
        assert connection.execute("SELECT 5").fetchone() == (5,)
    assert bed.recorder.statements[-1][1].approval == "emergency-1"


def test_a_stale_catalog_is_waited_for(bed):
    state = {"current": False}

    async def refresh(_):
        state["current"] = True

    bed.guard.rule = lambda _, verdict: replace(verdict, needs_catalog=not state["current"])
    bed.gate.refresh = refresh
    with bed.connect() as connection:
        assert connection.execute("SELECT %s::int", [4]).fetchone() == (4,)
        state["current"] = False
        assert connection.execute("SELECT 5").fetchone() == (5,)


def test_without_a_catalog_nothing_runs(bed):
    async def fail(_):
        raise RefusedError("the catalog can't be read")

    bed.guard.rule = lambda _, verdict: replace(verdict, needs_catalog=True)
    bed.gate.refresh = fail
    with bed.connect() as connection, pytest.raises(psycopg.errors.FeatureNotSupported, match="can't be read"):
        connection.execute("SELECT 1")


# Mask -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(bed):
    """A table with a sensitive column; the guard masks every statement that names it."""
    with bed.direct() as direct:
        direct.execute("DROP TABLE IF EXISTS people CASCADE")
        direct.execute("CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, born date)")
        direct.execute("INSERT INTO people VALUES (1, 'ann@x.com', '1990-01-01'), (2, NULL, NULL)")
        oid = direct.execute("SELECT 'people'::regclass::oid").fetchone()[0]
    plan = MaskPlan(
        sensitive={(oid, 2): "email", (oid, 3): "birth"}, known=frozenset({oid}), redactions={"email": b"[email]"}
    )
    bed.guard.rule = lambda request, verdict: (
        replace(verdict, action="mask", mask=plan) if "people" in request.text else verdict
    )
    return bed


@pytest.mark.parametrize("arguments", [(), ([0],)], ids=["simple", "extended"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_masked_columns(people, binary, arguments):
    with people.connect() as connection, connection.cursor(binary=binary) as cursor:
        where = "id > %s" if arguments else "id > 0"
        cursor.execute(f"SELECT id, email, born, email AS other FROM people WHERE {where} ORDER BY id", *arguments)
        assert cursor.fetchall() == [(1, "[email]", None, "[email]"), (2, None, None, None)]
    people.settle(lambda: people.recorder.outcomes)
    assert people.recorder.outcomes[0][1].masked_columns == 3


def test_an_expression_that_nobody_has_proven_clean_is_masked(people):
    with people.connect() as connection:
        assert connection.execute("SELECT upper(email), id + 1 FROM people WHERE id = 1").fetchone() == ("***", None)


def test_a_client_that_skips_describe_gets_masked_rows(people):
    with people.connect() as connection:
        pgconn = connection.pgconn
        pgconn.prepare(b"p", b"SELECT email FROM people WHERE id = $1", None)
        for _ in range(2):
            assert pgconn.exec_prepared(b"p", [b"1"]).get_value(0, 0) == b"[email]"


def test_cursors_with_a_row_limit_stay_masked(people):
    with people.connect(autocommit=False) as connection, connection.cursor(name="people_cursor") as cursor:
        cursor.execute("SELECT email FROM people ORDER BY id")
        assert cursor.fetchone() == ("[email]",)


def test_errors_and_notices_lose_their_values(people):
    with people.connect() as connection:
        notices = []
        connection.add_notice_handler(lambda notice: notices.append((notice.message_primary, notice.message_detail)))
        with pytest.raises(psycopg.errors.UniqueViolation) as raised:
            connection.execute("INSERT INTO people VALUES (3, 'ann@x.com', NULL)")
        assert "ann@x.com" not in str(raised.value) and raised.value.diag.message_detail is None
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as raised:
            connection.execute("SELECT email::int FROM people WHERE id = 1")
        assert "ann" not in str(raised.value)
        connection.execute("DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM people LIMIT 1); END $$")
        assert notices == [("the text of this message is hidden: it may hold personal data", None)]
        with pytest.raises(psycopg.errors.UndefinedColumn, match="nothing"):
            connection.execute("SELECT nothing FROM people")


def test_copy_of_a_masked_table_is_refused(people):
    with people.connect() as connection:
        refused = pytest.raises(psycopg.errors.FeatureNotSupported, match="COPY")
        with refused, connection.cursor().copy("COPY people TO STDOUT") as copy:
            assert list(copy) == []


# Mark -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(bed):
    """A function: what logical decoding has seen since the last call, as (xid, text)."""
    with bed.direct() as direct:
        direct.execute("DROP TABLE IF EXISTS marked; CREATE TABLE marked (a int PRIMARY KEY)")
        direct.execute("SELECT pg_create_logical_replication_slot('marks', 'test_decoding')")

        def changes():
            rows = direct.execute("SELECT xid, data FROM pg_logical_slot_get_changes('marks', NULL, NULL)").fetchall()
            wanted = [(xid, data) for xid, data in rows if "prefix: taprail" in data or "public.marked" in data]
            return wanted

        yield changes
        direct.execute("SELECT pg_drop_replication_slot('marks')")


def marks_and_rows(changes):
    return [
        "mark " + data.rpartition("content:")[2].split("|")[3] if "prefix" in data else data.split(":")[1].strip()
        for _, data in changes
    ]


@pytest.mark.parametrize("arguments", [(), ([1],)], ids=["simple", "extended"])
def test_a_mark_is_in_the_transaction_of_its_statement(bed, decoded, arguments):
    with bed.connect() as connection:
        cursor = connection.execute(f"INSERT INTO marked VALUES ({'%s' if arguments else 1}) RETURNING a", *arguments)
        assert (cursor.fetchone(), cursor.statusmessage, cursor.nextset()) == ((1,), "INSERT 0 1", None)
    changes = decoded()
    assert len({xid for xid, _ in changes}) == 1
    assert "transactional: 1 prefix: taprail, sz: 21 content:1|tap-1|7|1|main|it's" in changes[0][1]
    assert marks_and_rows(changes) == ["mark 1", "INSERT"]


def test_a_mark_falls_with_its_savepoint(bed, decoded):
    with bed.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO marked VALUES (1)")
        connection.execute("SAVEPOINT s")
        connection.execute("UPDATE marked SET a = 2")
        connection.execute("ROLLBACK TO s")
        connection.execute("DELETE FROM marked WHERE a = %s", [1])
        connection.commit()
    sequences = {text: ticket.sequence for _, _, ticket in bed.recorder.statements for text in [_text(bed, ticket)]}
    first, last = sequences["INSERT INTO marked VALUES (1)"], sequences["DELETE FROM marked WHERE a = $1"]
    assert marks_and_rows(decoded()) == [f"mark {first}", "INSERT", f"mark {last}", "DELETE"]


def _text(bed, ticket):
    return bed.recorder.statements[ticket.sequence - 1][0].text


def test_each_writing_statement_of_a_message_has_its_own_mark(bed, decoded):
    with bed.connect() as connection:
        connection.execute("INSERT INTO marked VALUES (1); SELECT 1; /* two; */ UPDATE marked SET a = 2; SELECT 2")
    assert marks_and_rows(decoded()) == ["mark 1", "INSERT", "mark 3", "UPDATE"]


def test_an_aborted_transaction_gets_no_mark_and_the_servers_own_error(bed):
    with bed.connect(autocommit=False) as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        for arguments in ((), ([1],)):
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute(f"INSERT INTO t VALUES ({'%s' if arguments else 1})", *arguments)
        connection.rollback()
        connection.execute("CREATE TEMP TABLE t (a int)")
        connection.execute("INSERT INTO t VALUES (%s)", [1])


def test_many_marked_executions_in_one_pipeline(bed, decoded):
    with bed.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO marked VALUES (%s)", [[number] for number in range(100)])
        assert cursor.rowcount == 100
    assert len(marks_and_rows(decoded())) == 200


# Refused by the tap itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["SET client_encoding TO 'LATIN1'", "SET standard_conforming_strings TO off", "PREPARE _taprail_mark AS SELECT 1"],
)
def test_statements_that_the_protocol_cannot_carry_safely(bed, text):
    with bed.connect() as connection:
        with pytest.raises((psycopg.errors.FeatureNotSupported, psycopg.errors.ReservedName)):
            connection.execute(text)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_session_ends_where_the_server_reads_text_otherwise(bed):
    with bed.direct() as direct:
        direct.execute(
            "CREATE OR REPLACE FUNCTION turn() RETURNS text LANGUAGE sql AS "
            "$$ SELECT set_config('standard_conforming_strings', 'off', false) $$"
        )
    with bed.connect() as connection:
        with pytest.raises(psycopg.OperationalError, match="standard_conforming_strings"):
            connection.execute("SELECT turn()")
        assert connection.closed


def test_search_path_is_known_to_the_guard_before_the_next_statement(bed):
    with bed.connect() as connection:
        connection.execute("SET search_path TO pg_catalog")
        connection.execute("SELECT 1")
        assert bed.guard.judged[-1].session.search_path == "pg_catalog"
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path TO public")
            connection.execute("SELECT 2")
            assert bed.guard.judged[-1].session.search_path == "public"
        connection.execute("SELECT 3")
        assert bed.guard.judged[-1].session.search_path == "pg_catalog"


def test_search_path_in_one_message_is_followed_where_it_is_literal(bed):
    with bed.connect() as connection:
        connection.execute("SET search_path TO pg_catalog; SELECT 1 FROM pg_class LIMIT 1")
        assert bed.guard.judged[-1].session.search_path == "pg_catalog"
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="search_path"):
            connection.execute("BEGIN; SET search_path TO public; ROLLBACK; SELECT 1 FROM pg_class")


def test_sql_prepared_statements_are_known_to_the_guard(bed):
    with bed.connect() as connection:
        connection.execute("PREPARE p AS SELECT 1")
        connection.execute("EXECUTE p")
        assert bed.guard.judged[-1].session.prepared == {"p": "PREPARE p AS SELECT 1"}
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            connection.execute("PREPARE p AS SELECT 2")
        connection.execute("EXECUTE p")
        assert bed.guard.judged[-1].session.prepared == {"p": "PREPARE p AS SELECT 1"}
        connection.execute("DEALLOCATE p")
        connection.execute("SELECT 1")
        assert bed.guard.judged[-1].session.prepared == {}
