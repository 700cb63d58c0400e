"""Ways round the tap's judgement: each is tried as an attacker would, and no statement runs that wasn't judged.

The table of all known classes, with the tests of those that stand elsewhere, is docs/bypasses.md.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.cancel import CancelKeys
from taprail.connectors.postgres.limits import Limits
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import MaskPlan
from tests.connectors.postgres.test_tap_at_the_wire import Wire

Z = wire.ready("I")
COPYING = wire.message(wire.PARSE_COMPLETE) + wire.message(wire.BIND_COMPLETE) + wire.message(wire.COPY_IN, b"\0\0\0")


def group(text, name=b""):
    return wire.parse(name, text) + wire.bind(b"", name) + wire.execute(b"")


def denying(session, word):
    session.guard.rule = lambda request, verdict: (
        replace(verdict, action="deny", reason="no") if word in request.text else verdict
    )
    return session


# Lengths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", b"QPBDECSHFdcfX")
def test_no_length_overflows(offline, kind, length):
    """pgx's CVE-2024-27304: a length that wraps round lets the rest of a value be read as messages."""
    session = offline()
    inner = wire.query(b"drop table t")
    with pytest.raises(ProtocolError):
        session.from_client(bytes([kind]) + length.to_bytes(4, "big") + inner)
    assert session.server == b""


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFE])
def test_no_length_inside_bind_overflows(offline, length):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT $1"))
    value = length.to_bytes(4, "big") + wire.query(b"drop table t")
    with pytest.raises(ProtocolError):
        session.from_client(wire.message(wire.BIND, b"\0s\0\0\0\0\1" + value + b"\0\0"))
    assert b"drop" not in session.server


def test_a_message_inside_a_value_stays_a_value(offline):
    session = offline()
    hidden = wire.SYNC_MESSAGE + wire.query(b"drop table t")
    frames = wire.parse(b"s", b"SELECT $1") + wire.bind(b"", b"s", [hidden]) + wire.execute(b"") + wire.SYNC_MESSAGE
    assert session.from_client(frames) == frames
    assert session.recorder.texts() == ["SELECT $1"]


# COPY ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [5, 6, 50, 104])
def test_copy_data_that_was_begun_is_ended_although_the_server_has_failed(offline, cut):
    """Else the server takes what follows for its rest, up to a message that hides in a later value."""
    session = offline()
    session.from_client(group(b"COPY t FROM STDIN"))
    session.from_server(COPYING)
    data = wire.message(wire.COPY_DATA, b"x" * 100)
    sent = session.from_client(data[:cut])
    session.from_server(wire.error("22P02", "invalid input"))
    assert sent + session.from_client(data[cut:]) == data
    assert session.from_client(data) == b""  # the server would skip this one, so it isn't sent
    assert session.from_client(data[:cut]) + session.from_client(data[cut:] + wire.SYNC_MESSAGE) == wire.SYNC_MESSAGE


@pytest.mark.parametrize("kind", b"QPBDECF")
def test_no_statement_inside_copy(offline, kind):
    """The server would end the COPY with an error there and skip what the tap had counted."""
    session = offline()
    session.from_client(wire.query(b"COPY t FROM STDIN"))
    session.from_server(wire.message(wire.COPY_IN, b"\0\0\0"))
    with pytest.raises(ProtocolError, match="inside COPY"):
        session.from_client(wire.message(kind, b"S\0\0\0\0\0\0\0"))


# Names --------------------------------------------------------------------------------------------------------------


def test_a_second_parse_of_a_name_does_not_change_what_is_judged(offline):
    session = denying(offline(), "drop")
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.SYNC_MESSAGE)
    session.from_server(wire.message(wire.PARSE_COMPLETE) + Z)
    session.from_client(wire.parse(b"s", b"SELECT 2") + wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE)
    session.from_server(wire.error("42P05", "exists") + Z)
    session.from_client(wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE)
    assert session.recorder.texts() == ["SELECT 1"]


def test_a_server_that_takes_a_name_twice_ends_the_session(offline):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.SYNC_MESSAGE)
    session.from_server(wire.message(wire.PARSE_COMPLETE) + Z)
    session.from_client(wire.parse(b"s", b"SELECT 2") + wire.SYNC_MESSAGE)
    with pytest.raises(ProtocolError):
        session.from_server(wire.message(wire.PARSE_COMPLETE))


@pytest.mark.parametrize("text", [b"DEALLOCATE s", b"DEALLOCATE ALL", b"DISCARD ALL", b"PREPARE s AS SELECT 2"])
def test_what_sql_has_forgotten_is_not_run_by_its_old_name(offline, text):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.SYNC_MESSAGE)
    session.from_server(wire.message(wire.PARSE_COMPLETE) + Z)
    session.from_client(wire.query(text))
    session.from_server(wire.command_complete(text.decode()) + Z)
    sent = session.from_client(wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE)
    assert wire.execute(b"") not in sent and session.recorder.texts() == [text.decode()]


def test_a_name_is_not_used_before_it_is_known_whether_it_changed(offline):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.SYNC_MESSAGE)
    assert session.from_client(wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE) == b""
    session.from_server(wire.error("42601", "no") + Z)
    assert wire.execute(b"") not in session.server


@pytest.mark.parametrize("text", [b"DEALLOCATE s", b"DEALLOCATE ALL", b"DISCARD ALL", b"PREPARE s AS SELECT 2"])
def test_what_sql_forgets_in_a_pipeline_is_not_run_in_it(offline, text):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT 1") + wire.SYNC_MESSAGE)
    session.from_server(wire.message(wire.PARSE_COMPLETE) + Z)
    sent = session.from_client(group(text) + wire.bind(b"p", b"s") + wire.execute(b"p") + wire.SYNC_MESSAGE)
    assert wire.bind(b"p", b"s") not in sent and session.recorder.texts() == [text.decode()]


def test_a_portal_is_not_run_in_another_search_path(offline):
    session = offline()
    bound = wire.parse(b"s", b"SELECT a FROM t") + wire.bind(b"p", b"s")
    sent = session.from_client(bound + group(b"SET search_path = other") + wire.execute(b"p") + wire.SYNC_MESSAGE)
    assert wire.execute(b"p") not in sent and session.recorder.texts() == ["SET search_path = other"]


@pytest.mark.parametrize("rest", [b"\0", wire.query(b"drop table t")])
def test_nothing_hides_behind_the_end_of_bind(offline, rest):
    session = offline()
    session.from_client(wire.parse(b"s", b"SELECT 1"))
    with pytest.raises(ProtocolError):
        session.from_client(wire.message(wire.BIND, wire.bind(b"", b"s")[5:] + rest))


def test_copy_in_the_place_of_masked_rows_ends_the_session(offline):
    session = offline()
    plan = MaskPlan({(99, 2): "email"}, frozenset({99}))
    session.guard.rule = lambda _, verdict: replace(verdict, action="mask", mask=plan)
    session.from_client(wire.query(b"SELECT 1"))
    with pytest.raises(ProtocolError, match="masked"):
        session.from_server(wire.message(wire.COPY_OUT, b"\0\0\0"))


def test_an_error_that_nobody_asked_for_ends_the_session(offline):
    with pytest.raises(ProtocolError):
        offline().from_server(wire.error("22P02", "ann@example.com"))


# Refusals -----------------------------------------------------------------------------------------------------------


def test_of_several_statements_one_denial_sends_none(offline):
    session = denying(offline(), "drop")
    sent = session.from_client(wire.query(b"SELECT 1; drop table t; SELECT 2"))
    assert b"SELECT" not in sent and b"drop" not in sent
    session.from_server(wire.error("42601", "syntax error") + Z)
    assert session.client == wire.error("42501", "no") + Z


@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_refused_text_never_reaches_the_server_and_the_session_lives(offline, protocol):
    session = denying(offline(), "drop")
    session.from_client(
        wire.query(b"drop table t") if protocol == "simple" else group(b"drop table t") + wire.SYNC_MESSAGE
    )
    session.from_server(wire.error("42601", "syntax error") + Z)
    assert session.client == wire.error("42501", "no") + Z and b"drop" not in session.server
    assert session.from_client(wire.query(b"SELECT 1")) == wire.query(b"SELECT 1")


@pytest.mark.parametrize("frame", [wire.query(b"SELECT '\x95\x5c'"), wire.parse(b"", b"SELECT '\x95\x5c'")])
def test_text_in_another_encoding_is_refused(offline, frame):
    """In SJIS, BIG5 and GBK the backslash is the second half of a character."""
    assert b"\x95" not in offline().from_client(frame)


@pytest.mark.parametrize("setting", ["client_encoding = 'SJIS'", "standard_conforming_strings = off"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_pinned_settings_are_not_set(offline, setting, protocol):
    text = f"SET {setting}".encode()
    sent = offline().from_client(wire.query(text) if protocol == "simple" else group(text) + wire.SYNC_MESSAGE)
    assert setting.encode() not in sent


@pytest.mark.parametrize(
    ("first", "passes"),
    [("SET client_encoding = 'UTF-8'", True), ("DO $$ $$", False), ("DO $$ $$; SET client_encoding = 'utf8'", False)],
)
def test_what_is_set_to_what_it_is_changes_no_reading(offline, first, passes):
    """It takes nothing back either: after a DO block standard_conforming_strings may be off."""
    sent = offline().from_client(wire.query(f"{first}; SELECT 'é'".encode()))
    assert ("é".encode() in sent) == passes


def test_text_waits_for_what_may_change_its_reading(offline):
    """A DO block may turn standard_conforming_strings off: the next text goes once the server has answered."""
    session = offline()
    session.from_client(wire.query(b"DO $$ $$"))
    assert session.from_client(wire.query(rb"SELECT 'x\', '; SELECT 2; --'")) == b""
    with pytest.raises(ProtocolError):
        session.from_server(wire.parameter_status("standard_conforming_strings", "off"))
    assert b"SELECT" not in session.server
    sent = offline().from_client(wire.query(rb"DO $$ $$; SELECT '\'"))
    assert b"DO" not in sent


def test_a_text_above_its_limit_ends_the_session(offline):
    session = offline(Limits(query_bytes=100))
    with pytest.raises(ProtocolError):
        session.from_client(wire.query(b"SELECT " + b"1" * 200))
    assert session.server == b""


@pytest.mark.parametrize(("minor", "size"), [(0, 4), (2, 33)])
def test_only_the_whole_key_of_its_own_session_cancels(minor, size):
    keys, cancelled = CancelKeys(100), []
    (pid, key), (same, theirs), (other, _) = (
        keys.add(minor, server_pid, lambda who=who: cancelled.append(who))
        for server_pid, who in ((70, "mine"), (70, "another server's"), (71, "theirs"))
    )
    assert (pid, same, other, len(key)) == (70, 70, 71, size) and theirs != key
    for wrong in (b"", key[:-1], key + b"\0", bytes(size)):
        keys.request(pid, wrong)
    keys.request(other, key)
    assert cancelled == []
    keys.request(pid, key)
    keys.remove(pid, key)
    keys.request(pid, key)
    assert cancelled == ["mine"]
    keys.request(same, theirs)
    assert cancelled == ["mine", "another server's"]


# Through a real server ----------------------------------------------------------------------------------------------


def test_a_statement_smuggled_behind_a_failed_copy_does_not_run(bed):
    """A half sent CopyData, an error, and a value that ends it and begins a Query of its own."""
    client = Wire(bed, user="trusted")
    client.read()
    client.ask(wire.query(b"CREATE TABLE IF NOT EXISTS smuggled (a int)"))
    client.socket.sendall(group(b"COPY smuggled FROM STDIN"))
    client.socket.sendall(wire.FLUSH_MESSAGE)
    client.read(until=b"G")
    hidden = wire.SYNC_MESSAGE + wire.query(b"DROP TABLE smuggled")
    carrier = wire.parse(b"", b"SELECT $1::bytea") + wire.bind(b"", b"", [hidden]) + wire.execute(b"")
    tail = wire.SYNC_MESSAGE + carrier[: carrier.index(hidden)]
    bad = wire.message(wire.COPY_DATA, b"not a number\n" * 10_000)
    client.socket.sendall(bad + wire.message(wire.COPY_DATA, b"x" * (10 + len(tail)))[:15])  # its first 10 bytes
    client.read(until=b"E")
    try:
        client.socket.sendall(b"x" * len(tail) + wire.SYNC_MESSAGE + carrier + wire.SYNC_MESSAGE)
        client.read()
        client.read()
    except OSError:
        pass
    finally:
        client.socket.close()
    with bed.direct() as direct:
        assert direct.execute("SELECT to_regclass('smuggled')").fetchone()[0] is not None
        direct.execute("DROP TABLE smuggled")
