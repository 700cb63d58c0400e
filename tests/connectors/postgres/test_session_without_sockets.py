"""The state machine on recorded bytes: order, judgement before forwarding, and what breaks a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.limits import Limits
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import Field, MaskPlan

EMAIL = Field("email", 99, 2, 25, 0)
T = wire.row_description([EMAIL])
D = wire.data_row([b"ann@x.com"])
C, Z = wire.command_complete("SELECT 1"), wire.ready("I")
PLAN = MaskPlan({(99, 2): "email"}, frozenset({99}), redactions={"email": b"***"})


def message(kind):
    return wire.message(ord(kind))


def masked(session):
    session.guard.rule = lambda _, verdict: replace(verdict, action="mask", mask=PLAN)
    return session


def test_nothing_is_forwarded_before_its_record(offline):
    session = offline()
    seen = []
    record = session.recorder.statement
    session.recorder.statement = lambda *args, **more: (
        seen.append(session.session.take_to_server()),
        record(*args, **more),
    )[1]
    session.from_client(wire.query(b"SELECT 1"))
    assert seen == [b""] and session.server == wire.query(b"SELECT 1")


def test_a_query_and_its_rows_pass_untouched(offline):
    session = offline()
    session.from_client(wire.query(b"SELECT 1"))
    answer = T + D + D + wire.command_complete("SELECT 2") + Z
    for cut in range(len(answer)):
        session.from_server(answer[cut : cut + 1])
    assert session.client == answer
    assert session.recorder.ended() == [("SELECT 1", "ok", 2, "committed")]


def test_a_row_passes_before_it_is_whole_and_nothing_is_kept(offline):
    session = offline()
    session.from_client(wire.query(b"SELECT 1"))
    row = wire.data_row([b"x" * 100_000])
    assert session.from_server(T + row[:50_000]) == T + row[:50_000]
    assert session.session.half_sent
    assert session.from_server(row[50_000:] + C + Z) == row[50_000:] + C + Z


def test_a_masked_row_waits_until_it_is_whole(offline):
    session = masked(offline())
    session.from_client(wire.query(b"SELECT 1"))
    assert session.from_server(T + D[:-1]) == T
    assert session.from_server(D[-1:] + C + Z) == wire.data_row([b"***"]) + C + Z
    assert session.recorder.outcomes[0][1].masked_columns == 1


def test_a_masked_row_larger_than_the_limit_ends_the_session(offline):
    session = masked(offline(Limits(masked_row_bytes=100)))
    session.from_client(wire.query(b"SELECT 1"))
    with pytest.raises(ProtocolError):
        session.from_server(T + wire.data_row([b"x" * 200])[:50])


def test_the_tap_asks_for_a_description_where_the_client_did_not(offline):
    session = masked(offline())
    sent = session.from_client(
        wire.parse(b"s", b"SELECT 1") + wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE
    )
    assert sent.endswith(wire.describe(b"P", b"") + wire.execute(b"") + wire.SYNC_MESSAGE)
    assert session.from_server(message("1") + message("2") + T + D + C + Z) == (
        message("1") + message("2") + wire.data_row([b"***"]) + C + Z
    )


def test_the_description_of_a_statement_is_not_trusted_for_a_portal(offline):
    """Between Describe(S) and Execute the table behind the name may be another one."""
    session = masked(offline())
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.describe(b"S", b"s") + wire.SYNC_MESSAGE)
    clean = wire.row_description([Field("email", 99, 1, 25, 0)])
    session.from_server(message("1") + wire.message(wire.PARAMETER_DESCRIPTION, b"\0\0") + clean + Z)
    session.from_client(wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE)
    assert session.from_server(message("2") + T + D + C + Z) == message("2") + wire.data_row([b"***"]) + C + Z


def test_rows_without_a_description_are_never_passed_where_a_plan_masks(offline):
    session = masked(offline())
    session.from_client(wire.query(b"SELECT 1"))
    with pytest.raises(ProtocolError):
        session.from_server(D)
    assert b"ann" not in session.client


@pytest.mark.parametrize(
    "stray",
    [
        D,
        C,
        Z,
        message("1"),
        message("2"),
        T,
        message("n"),
        message("s"),
        message("I"),
        wire.message(ord("G"), b"\0\0\0"),
        message("W"),
    ],
)
def test_answers_that_nobody_asked_for_end_the_session(offline, stray):
    with pytest.raises(ProtocolError):
        offline().from_server(stray)


def test_copy_both_is_for_replication_only(offline):
    session = offline()
    session.from_client(wire.query(b"SELECT 1"))
    with pytest.raises(ProtocolError):
        session.from_server(message("W"))


@pytest.mark.parametrize("setting", [("client_encoding", "SJIS"), ("standard_conforming_strings", "off")])
def test_a_setting_that_changes_how_text_is_read_ends_the_session(offline, setting):
    with pytest.raises(ProtocolError, match=setting[0]):
        offline().from_server(wire.parameter_status(*setting))


def test_unknown_messages_of_a_client_end_the_session(offline):
    for kind in "RAp?\0":
        with pytest.raises(ProtocolError):
            offline().from_client(message(kind))


def test_a_refusal_stands_in_its_turn_and_what_follows_is_dropped(offline):
    session = offline()
    session.guard.rule = lambda request, verdict: (
        replace(verdict, action="deny", reason="no") if "b" in request.text else verdict
    )

    def group(text):
        return wire.parse(b"", text) + wire.bind(b"", b"") + wire.execute(b"")

    sent = session.from_client(group(b"SELECT a") + group(b"SELECT b") + group(b"SELECT c") + wire.SYNC_MESSAGE)
    assert sent.startswith(group(b"SELECT a")) and b"SELECT b" not in sent and b"SELECT c" not in sent
    assert sent.endswith(wire.SYNC_MESSAGE)
    ok = message("1") + message("2") + C
    session.from_server(ok + wire.error("42601", "syntax error") + Z)
    assert session.client == ok + wire.error("42501", "no") + Z


def test_a_fatal_error_is_never_taken_for_a_refusal(offline):
    session = offline()
    session.guard.rule = lambda _, verdict: replace(verdict, action="deny", reason="no")
    session.from_client(wire.query(b"SELECT 1"))
    fatal = wire.error("57P01", "terminating connection", severity="FATAL")
    assert session.from_server(fatal) == fatal and session.session.fatal


def test_marks_are_hidden_from_the_client(offline):
    session = offline()
    sent = session.from_client(wire.query(b"INSERT INTO t VALUES (1)"))
    assert b"pg_logical_emit_message(true,'taprail','1|tap-1|7|1|main|it''s');INSERT" in sent
    hidden = wire.row_description([Field("pg_logical_emit_message", 0, 0, 3220, 0)]) + wire.data_row([b"0/1"]) + C
    inserted = wire.command_complete("INSERT 0 1")
    assert session.from_server(hidden + inserted + Z) == inserted + Z
    assert session.recorder.ended() == [("INSERT INTO t VALUES (1)", "ok", 1, "committed")]


def test_a_mark_that_fails_fails_its_statement(offline):
    session = offline()
    session.from_client(
        wire.parse(b"", b"INSERT INTO t VALUES (1)") + wire.bind(b"", b"") + wire.execute(b"") + wire.SYNC_MESSAGE
    )
    error = wire.error("42501", "permission denied for function pg_logical_emit_message")
    session.from_server(message("1") + message("2") + message("3") + message("1") + error + Z)
    assert session.client == message("1") + message("2") + error + Z
    assert session.recorder.ended() == [("INSERT INTO t VALUES (1)", "error", 0, "rolled_back")]
    again = session.from_client(wire.parse(b"", b"INSERT INTO t VALUES (1)") + wire.bind(b"", b"") + wire.execute(b""))
    assert wire.parse(b"_taprail_mark", b"")[5:18] in again  # it is prepared again


def test_while_a_statement_waits_nothing_of_it_is_sent(offline):
    """Parse and Bind would already take locks."""
    session = offline()
    session.guard.rule = lambda _, verdict: replace(verdict, action="hold", reason="ask")
    frames = wire.parse(b"", b"SELECT 1") + wire.bind(b"", b"") + wire.execute(b"") + wire.SYNC_MESSAGE
    assert session.from_client(frames) == b""
    assert session.session.wait is not None
    session.session.close()
    assert session.server == b""


def test_names_are_bounded(offline):
    session = offline(Limits(names=2))
    for name in (b"a", b"b", b"c"):
        session.from_client(wire.parse(name, b"SELECT 1"))
    assert session.server.count(b"SELECT 1") == 2


def test_copy_data_that_came_too_early_belongs_to_its_own_query(offline):
    session = offline()
    data = wire.message(wire.COPY_DATA, b"4\n") + wire.message(wire.COPY_DONE)
    session.from_client(wire.query(b"COPY a FROM STDIN") + data + wire.query(b"COPY b FROM STDIN") + data)
    failed = wire.error("42P01", "no such table") + Z
    copied = wire.message(wire.COPY_IN, b"\0\0\0") + wire.command_complete("COPY 1") + Z
    assert session.from_server(failed) + session.from_server(copied) == failed + copied
    assert [status for _, status, _, _ in session.recorder.ended()] == ["error", "ok"]


def test_search_path_is_asked_of_older_servers(offline):
    session = offline()
    session.session._state.path_reported = False
    session.session.ask_search_path()
    assert session.from_client(wire.query(b"SELECT 1")) == wire.query(b"SHOW search_path")
    answer = wire.row_description([Field("search_path", 0, 0, 25, 0)]) + wire.data_row([b"shop, public"])
    assert session.from_server(answer + wire.command_complete("SHOW") + Z) == b""
    assert session.server.endswith(wire.query(b"SELECT 1"))
    assert session.guard.judged[-1].session.search_path == "shop, public"
