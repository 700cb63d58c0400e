"""Any bytes from either side end in an orderly state: forwarded, answered, or one ProtocolError."""

from __future__ import annotations

from dataclasses import replace

import postgast
from hypothesis import given, settings
from hypothesis import strategies as st

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.session import Session
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.guard import Facts, Field, MaskPlan, Part, Request, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person

SECRET = b"ann@example.com"
PLAN = MaskPlan({(99, 2): "email"}, frozenset({99}))


class Guard:
    """`select` is masked, `drop` is denied, anything else is allowed and marked."""

    def split(self, text):
        try:
            texts = postgast.split(text)
        except postgast.PgQueryError as error:
            raise RefusedError(str(error)) from error
        parts, at = [], 0
        for statement in texts:
            at = text.encode().index(statement.encode(), at)
            parts.append(Part(at, len(statement.encode())))
        return tuple(parts)

    def judge(self, request: Request) -> Verdict:
        verdict = Verdict("allow", Facts("X"), "", "", "", mark="carried")
        if "select" in request.text:
            return replace(verdict, action="mask", mask=PLAN)
        return replace(verdict, action="deny", reason="no", mark="none") if "drop" in request.text else verdict

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return verdict


class Recorder:
    def __init__(self):
        self.open = 0

    def statement(self, request, verdict, **_):
        self.open += 1
        return Ticket(1, 1, "mark" if verdict.mark == "carried" else "", 0)

    def outcome(self, ticket, request, verdict, result):
        self.open -= 1

    def session(self, *_):
        pass


def session_of(recorder):
    person = Person("ann", "Ann", "person")
    return Session(SessionContext("s", "t", "e", "m", "d", "r", person, "none"), Guard(), recorder)


texts = st.sampled_from(
    [b"select 1", b"drop table t", b"update t set a = 1", b"select 1; update t set a = 1", b"", b"sel", b"\xff"]
)
names = st.sampled_from([b"", b"a", b"_taprail_mark"])
kinds = st.sampled_from([b"S", b"P"])
client_messages = st.one_of(
    texts.map(wire.query),
    st.builds(wire.parse, names, texts),
    st.builds(wire.bind, names, names),
    st.builds(wire.describe, kinds, names),
    st.builds(wire.close, kinds, names),
    names.map(wire.execute),
    st.sampled_from(
        [wire.SYNC_MESSAGE, wire.FLUSH_MESSAGE, wire.message(wire.COPY_DONE), wire.message(wire.COPY_DATA, b"1")]
    ),
    st.binary(max_size=30),
)
email = Field("email", 99, 2, 25, 0)
server_messages = st.one_of(
    st.sampled_from([b"1", b"2", b"3", b"n", b"s", b"I", b"c"]).map(lambda kind: wire.message(kind[0])),
    st.sampled_from(["I", "T", "E"]).map(wire.ready),
    st.just(wire.row_description([email])),
    st.just(wire.data_row([SECRET])),
    st.sampled_from(["SELECT 1", "COMMIT", "UPDATE 3"]).map(wire.command_complete),
    st.just(wire.error("23505", "duplicate", detail=SECRET.decode())),
    st.just(wire.message(wire.COPY_IN, b"\0\0\0")),
    st.just(wire.message(wire.COPY_OUT, b"\0\0\0")),
    st.binary(max_size=30),
)
moves = st.lists(st.tuples(st.just(True), client_messages) | st.tuples(st.just(False), server_messages), max_size=40)


@settings(max_examples=300)
@given(moves)
def test_any_conversation_ends_in_order(conversation):
    recorder = Recorder()
    session = session_of(recorder)
    try:
        for from_client, data in conversation:
            (session.from_client if from_client else session.from_server)(data)
            assert b"drop table" not in session.take_to_server()
            session.take_to_client()
    except ProtocolError as error:
        assert str(error)
    session.close()
    assert recorder.open == 0  # every statement has exactly one outcome


@settings(max_examples=300)
@given(st.lists(server_messages, max_size=30))
def test_no_answer_brings_a_masked_value_out(answers):
    """The server may say what it likes: where every statement is masked, the value never reaches the client."""
    session = session_of(Recorder())
    group = wire.parse(b"", b"select 1") + wire.bind(b"", b"") + wire.execute(b"") + wire.SYNC_MESSAGE
    session.from_client(wire.query(b"select 1") + group)
    sent = b""
    try:
        for answer in answers:
            session.from_server(answer)
            sent += session.take_to_client()
    except ProtocolError:
        pass
    assert SECRET not in sent


@given(st.lists(client_messages, max_size=15), st.data())
def test_any_split_is_judged_and_forwarded_alike(frames, data):
    whole = b"".join(frames)

    def outcome(pieces):
        session, sent = session_of(Recorder()), b""
        try:
            for piece in pieces:
                session.from_client(piece)
                sent += session.take_to_server()
        except ProtocolError:
            sent += session.take_to_server() + b"<error>"
        return sent

    cut = data.draw(st.integers(0, len(whole)))
    assert outcome([whole]) == outcome([whole[:cut], whole[cut:]])
