"""Client to server: every message of a client is understood, judged where it runs something, and only then forwarded.

A refused message is not answered here: in its place the server gets a text that fails, and the server's error is
replaced by the refusal (`answers.py`). So the error comes in its turn, the transaction is aborted as by any other
error, and ReadyForQuery tells the truth about it.
"""

from __future__ import annotations

from functools import partial

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import rows
from taprail.connectors.postgres.admission import FEATURE_NOT_SUPPORTED, Admission, Candidate, unparsed
from taprail.connectors.postgres.large_objects import FunctionCall, parse_function_call
from taprail.connectors.postgres.names import Unsettled
from taprail.connectors.postgres.outlook import after, forgets_all, without
from taprail.connectors.postgres.state import OWN_PREFIX, Answer, Portal, Prepared, Run, State
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.guard import Part

REFUSED_TEXT = b"/* taprail */ refused"  # what the server's log shows of a refused statement: a syntax error
REFUSED_NAME = OWN_PREFIX + b"_refused"
MARK_NAME = OWN_PREFIX + b"_mark"
_MARK_CALL = b"pg_catalog.pg_logical_emit_message(true,'taprail',"
_MARK_TEXT = b"SELECT " + _MARK_CALL + b"$1::pg_catalog.text)"
_SENT = frozenset(
    (wire.QUERY, wire.PARSE, wire.BIND, wire.DESCRIBE, wire.EXECUTE, wire.CLOSE, wire.FUNCTION_CALL, wire.COPY_DONE)
) | {wire.COPY_FAIL, wire.FLUSH}
_IN_COPY = frozenset((wire.COPY_DONE, wire.COPY_FAIL, wire.SYNC, wire.FLUSH, wire.TERMINATE))


class Requests:
    """What a client sends, message by message."""

    def __init__(self, state: State, admission: Admission) -> None:
        self._state = state
        self._admission = admission
        self._inbox = wire.Inbox()
        self._passing = 0  # bytes of a CopyData that are still to come
        self._dropping = False  # they don't go on, as the beginning of their message didn't
        self.stalled = False
        limits = state.limits
        self._query_bytes, self._bind_bytes = limits.query_bytes, limits.bind_bytes
        self._small_bytes = limits.small_bytes
        self._name_bytes, self._names = limits.statement_name_bytes, limits.names

    @property
    def waiting(self) -> int:
        """Bytes that arrived and can't be handled yet; none while the rest of their message is what is waited for."""
        return 0 if self._inbox.incomplete else len(self._inbox)

    def feed(self, data: bytes) -> None:
        """Take what the client sent. Raises ProtocolError."""
        if self.stalled or self._admission.wait is not None:
            self._inbox.keep(data)
            return
        if self._passing:
            taken = min(self._passing, len(data))
            self._passing -= taken
            if not self._dropping:  # what was begun must end, or the server takes the next messages for its rest
                self._state.to_server.append(data[:taken])
                self._state.count_in(taken)
            data = data[taken:]
        if data and (data := self._inbox.add(data)):
            self._run(data)

    def go_on(self) -> None:
        """Handle what waits, after an answer or the end of a wait."""
        self.stalled = False
        if data := self._inbox.add(b""):
            self._run(data)

    def _run(self, data: bytes) -> None:
        state, size, start, need = self._state, len(data), 0, 5
        while size - start >= 5 and self._admission.wait is None and not state.ended:
            kind = data[start]
            if kind == wire.COPY_DATA:
                start = self._copy_data(data, start)
                continue
            end = wire.frame_end(data, start, self._largest(kind))
            if end > size:
                need = end - start
                break
            if state.copy_in and kind not in _IN_COPY:
                raise ProtocolError(f"message {chr(kind)!r} inside COPY FROM STDIN")
            if not state.skipping or kind == wire.SYNC or kind == wire.TERMINATE:
                try:
                    self._handle(kind, data[start:end])
                except Unsettled:
                    self.stalled, need = True, 0
                    break
            elif kind not in _SENT:
                raise _unknown(kind)
            start = end
        if self._admission.wait is not None:
            need = 0
        if start < size:
            self._inbox.keep(data[start:], need)

    def _largest(self, kind: int) -> int:
        if kind == wire.QUERY or kind == wire.PARSE:
            return self._query_bytes
        return self._bind_bytes if kind == wire.BIND or kind == wire.FUNCTION_CALL else self._small_bytes

    def _handle(self, kind: int, frame: bytes) -> None:
        """By the message's type; compiled, this is quicker than a table of methods."""
        if kind == wire.BIND:
            self._bind(frame)
        elif kind == wire.EXECUTE:
            self._execute(frame)
        elif kind == wire.DESCRIBE:
            self._describe(frame)
        elif kind == wire.SYNC:
            self._sync(frame)
        elif kind == wire.PARSE:
            self._parse(frame)
        elif kind == wire.QUERY:
            self._query(frame)
        elif kind == wire.CLOSE:
            self._close(frame)
        elif kind == wire.FLUSH:
            self._flush(frame)
        elif kind == wire.FUNCTION_CALL:
            self._function_call(frame)
        elif kind == wire.COPY_DONE or kind == wire.COPY_FAIL:
            self._copy_end(frame)
        elif kind == wire.TERMINATE:
            self._terminate(frame)
        else:
            raise _unknown(kind)

    # Simple query ---------------------------------------------------------------------------------------------------

    def _query(self, frame: bytes) -> None:
        body = wire.parse_query(frame[5:])
        outlook = self._state.look()
        refuse = self._refuse_query
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return refuse(_not_utf8())
        try:
            parts = self._state.guard.split(text)
        except RefusedError as error:
            candidate = self._admission.judge(outlook, text, "simple")
            verdict = candidate.verdict if candidate.verdict.action == "deny" else unparsed(error)
            return refuse(self._admission.deny(candidate.request, verdict))
        if not parts:
            self._state.expect(Answer("query", self._state.group), wire.query(b""))
            return self._state.end_group()
        candidates: list[Candidate] = []
        for part in parts:
            statement = text if len(parts) == 1 else body[part.start : part.start + part.length].decode()
            candidate = self._admission.judge(outlook, statement, "simple")
            outlook = after(outlook, candidate.verdict, statement)
            candidates.append(candidate)
        self._admission.admit(candidates, partial(self._send_query, frame, parts), refuse)

    def _send_query(self, frame: bytes, parts: tuple[Part, ...], runs: list[Run]) -> None:
        state, body = self._state, frame[5:-1]
        steps: list[tuple[Run, bool]] = []
        insertions: list[tuple[int, int]] = []
        pieces: list[bytes] = []
        copied = 0
        aborted = state.quiet and state.context.transaction_status == "E"
        for part, run in zip(parts, runs, strict=True):
            if run.ticket.mark and not aborted:
                mark = b"SELECT " + _MARK_CALL + _literal(run.ticket.mark) + b");"
                pieces += (body[copied : part.start], mark)
                copied = part.start
                insertions.append((len(body[:copied].decode()), len(mark.decode())))
                steps.append((run, True))
            steps.append((run, False))
        if insertions:
            frame = wire.query(b"".join(pieces) + body[copied:])
        answer = Answer("query", state.group, steps=tuple(steps), insertions=tuple(insertions))
        state.expect(answer, frame)
        for run in runs:
            self._ran(run)
        state.end_group()

    def _refuse_query(self, error: bytes) -> None:
        self._state.expect(Answer("query", self._state.group, refusal=error), wire.query(REFUSED_TEXT))
        self._state.end_group()

    def _function_call(self, frame: bytes) -> None:
        """Judged and recorded as the SELECT that it stands for. No mark goes with it: it changes large objects only,
        which no change feed shows."""
        call = parse_function_call(frame[5:])
        if not call.text:
            text = "a function call message for a function that isn't one of large objects doesn't pass the tap"
            error = wire.error(FEATURE_NOT_SUPPORTED, text, hint="call the function with SELECT")
            return self._refuse_query(error)
        candidate = self._admission.judge(self._state.look(), call.text, "extended", call.arguments)
        self._admission.admit([candidate], partial(self._send_call, frame, call), self._refuse_query)

    def _send_call(self, frame: bytes, call: FunctionCall, runs: list[Run]) -> None:
        state = self._state
        state.expect(Answer("query", state.group, steps=((runs[0], False),), calls=call.result_type), frame)
        self._ran(runs[0])
        state.end_group()

    # Extended query -------------------------------------------------------------------------------------------------

    def _parse(self, frame: bytes) -> None:
        state = self._state
        parsed = wire.parse_parse(frame[5:])
        if not self._own_name(parsed.name):
            return
        taken = parsed.name and state.statements.get(parsed.name, state.answered) is not None
        if len(state.statements) >= self._names:
            hint = "close prepared statements that aren't used any more"
            return self._refuse(wire.error("53400", "too many prepared statements in one session", hint=hint))
        try:
            text = parsed.text.decode()
        except UnicodeDecodeError:
            return self._refuse(_not_utf8())
        send = self._send_doomed if taken else self._send_parse
        if self._is_empty(text):
            return send(wire.parse(parsed.name, b""), parsed.name, Prepared("", empty=True), [])
        candidate = self._admission.judge(state.look(), text, "extended")
        plan = candidate.verdict.mask
        then = partial(send, frame, parsed.name, Prepared(text, scrub=plan is not None and plan.scrub))
        self._admission.admit([candidate], then, self._refuse, runs=False)

    def _is_empty(self, text: str) -> bool:
        """Whether there is no statement in the text: only then may the server get an empty one instead."""
        stripped = text.strip()
        if stripped and stripped[0] not in "-/;":
            return False
        try:
            return not self._state.guard.split(text)
        except RefusedError:
            return False

    def _send_parse(self, frame: bytes, name: bytes, prepared: Prepared, _: list[Run]) -> None:
        self._state.set_outlook(without(self._state.look(), "prepared", name))
        self._state.statements.change(name, prepared)
        self._state.expect(Answer("parse", self._state.group, name=name, prepared=prepared), frame)

    def _send_doomed(self, frame: bytes, name: bytes, _: object = None, __: object = None) -> None:
        """The name is taken, so the server must fail here; if it doesn't, the tap has lost track of the names."""
        state = self._state
        state.expect(Answer("parse", state.group, name=name, must_fail=True), frame)
        state.skipping = True

    def _bind(self, frame: bytes) -> None:
        state = self._state
        bound = wire.parse_bind(frame[5:])
        if not self._own_name(bound.portal) or not self._own_name(bound.statement):
            return
        prepared = state.statements.get(bound.statement, state.answered)
        if prepared is None:
            hint = "" if bound.statement not in map(str.encode, state.context.prepared) else "run it with EXECUTE"
            text = f"prepared statement {_shown(bound.statement)} does not exist"
            return self._refuse(wire.error("26000", text, hint=hint))
        if bound.portal and state.portals.get(bound.portal, state.answered) is not None:
            return self._send_doomed(frame, bound.portal)
        if len(state.portals) >= self._names:
            return self._refuse(wire.error("53400", "too many open portals in one session", hint="close some"))
        outlook = state.look()
        state.set_outlook(without(outlook, "cursors", bound.portal))
        portal = Portal(prepared, bound.parameters, outlook.context.search_path if outlook.path_known else None)
        state.portals.change(bound.portal, portal)
        state.expect(Answer("bind", state.group, name=bound.portal, portal=portal), frame)

    def _describe(self, frame: bytes) -> None:
        target = wire.parse_target(frame[5:], "Describe")
        if not self._own_name(target.name):
            return
        if target.kind == b"S":
            return self._state.expect(Answer("describe", self._state.group), frame)
        portal = self._state.portals.get(target.name, self._state.answered)
        if portal is not None:
            portal.described = True
        self._state.expect(Answer("describe portal", self._state.group, portal=portal), frame)

    def _execute(self, frame: bytes) -> None:
        state = self._state
        name = wire.parse_execute(frame[5:])
        if not self._own_name(name):
            return
        portal = state.portals.get(name, state.answered)
        if portal is None:
            hint = "" if name.decode(errors="replace") not in state.context.cursors else "read the cursor with FETCH"
            return self._refuse(wire.error("34000", f"portal {_shown(name)} does not exist", hint=hint))
        if portal.prepared.empty:
            return state.expect(Answer("execute", state.group), frame)
        outlook = state.look()
        if portal.path != (outlook.context.search_path if outlook.path_known else None):
            text = "search_path has changed since the portal was bound, so the tap can't judge what it reads"
            return self._refuse(wire.error("55000", text, hint="bind it again"))
        candidate = self._admission.judge(outlook, portal.prepared.text, "extended", portal.parameters)
        self._admission.admit([candidate], partial(self._send_execute, frame, name, portal), self._refuse)

    def _send_execute(self, frame: bytes, name: bytes, portal: Portal, runs: list[Run]) -> None:
        state, run = self._state, runs[0]
        aborted = state.quiet and state.context.transaction_status == "E"
        if run.ticket.mark and not aborted:
            self._send_mark(run)
        if run.plan is not None and not portal.described:
            portal.described = True
            described = Answer("describe portal", state.group, hidden=True, run=run, portal=portal)
            state.expect(described, wire.describe(b"P", name))
        state.expect(Answer("execute", state.group, run=run, portal=portal), frame)
        self._ran(run)

    def _send_mark(self, run: Run) -> None:
        """Execute the tap's own prepared statement, made when it is first needed or was dropped."""
        state = self._state
        owed = partial(Answer, group=state.group, hidden=True, run=run)
        if not state.mark_prepared:
            state.expect(owed("close"), wire.close(b"S", MARK_NAME))
            state.expect(owed("parse", name=MARK_NAME), wire.parse(MARK_NAME, _MARK_TEXT))
            state.mark_prepared = True
        state.expect(owed("bind", name=MARK_NAME), wire.bind(MARK_NAME, MARK_NAME, [run.ticket.mark.encode()]))
        state.expect(owed("execute"), wire.execute(MARK_NAME))
        state.expect(owed("close"), wire.close(b"P", MARK_NAME))

    def _close(self, frame: bytes) -> None:
        state = self._state
        target = wire.parse_target(frame[5:], "Close")
        if not self._own_name(target.name):
            return
        names = state.statements if target.kind == b"S" else state.portals
        names.change(target.name, None)
        state.expect(Answer("close", state.group, name=target.name, closes=target.kind), frame)

    def _sync(self, frame: bytes) -> None:
        state = self._state
        if state.copy_in:  # the server ignores it inside COPY, and owes nothing for it
            state.to_server.append(frame)
            return
        state.skipping = False
        state.expect(Answer("sync", state.group), frame)
        state.end_group()

    def _flush(self, frame: bytes) -> None:
        self._state.to_server.append(frame)

    def _refuse(self, error: bytes) -> None:
        """Let the server fail here, and skip to Sync as it does."""
        state = self._state
        state.expect(Answer("parse", state.group, refusal=error), wire.parse(REFUSED_NAME, REFUSED_TEXT))
        state.skipping = True

    def _own_name(self, name: bytes) -> bool:
        """Whether the client may use this name; if not, it is refused here."""
        if not name:
            return True
        if len(name) > self._name_bytes:
            self._refuse(wire.error("42622", "the name of a prepared statement or portal is too long"))
        elif name.startswith(OWN_PREFIX):
            self._refuse(wire.error("42939", f"names that begin with {OWN_PREFIX.decode()} belong to the tap"))
        else:
            return True
        return False

    # COPY, and the end ------------------------------------------------------------------------------------------------

    def _copy_data(self, data: bytes, start: int) -> int:
        """Pass a run of CopyData on, the beginning of the next included; where it ends."""
        end, _ = rows.skip(data, start, wire.COPY_DATA)
        if len(data) - end >= 5 and data[end] == wire.COPY_DATA:
            whole = wire.frame_end(data, end, self._state.limits.data_bytes)
            end, self._passing = (whole, 0) if whole <= len(data) else (len(data), whole - len(data))
        self._dropping = self._state.skipping
        if not self._dropping:
            self._state.to_server.append(data[start:end])
            self._state.count_in(end - start)
        return end

    def _copy_end(self, frame: bytes) -> None:
        state = self._state
        state.to_server.append(frame)
        if state.copy_in:
            state.copy_in = False
        elif state.queue:
            state.queue.append(Answer("copy end", state.group))  # sent before CopyInResponse was seen

    def _terminate(self, frame: bytes) -> None:
        self._state.to_server.append(frame)
        self._state.ended = True

    def _ran(self, run: Run) -> None:
        """What the server will know once it has run the statement that was just sent."""
        state, facts = self._state, run.verdict.facts
        state.group_ran = True
        state.set_outlook(after(state.look(), run.verdict, run.request.text))
        if forgets_all(facts):
            state.statements.clear()
        elif facts.deallocates:
            state.statements.change(facts.deallocates.encode(), None)
        if facts.prepares:  # where SQL gets the name, the protocol has lost it
            state.statements.change(facts.prepares.encode(), None)
        if facts.declares:
            state.portals.change(facts.declares.encode(), None)
        if forgets_all(facts) or facts.opaque:
            state.mark_prepared = False
        if facts.transaction == "begin":
            state.in_block = True
        elif facts.transaction in ("commit", "rollback", "two_phase"):
            state.in_block = False


def _literal(mark: str) -> bytes:
    """A string literal; standard_conforming_strings is on, so only quotes need care."""
    if "\0" in mark:
        raise ProtocolError("a mark holds a zero byte")
    return b"'" + mark.encode().replace(b"'", b"''") + b"'"


def _unknown(kind: int) -> ProtocolError:
    return ProtocolError(f"message {chr(kind)!r} isn't one that a client sends here")


def _not_utf8() -> bytes:
    return wire.error("22021", "the statement isn't valid UTF-8", hint="set client_encoding to UTF8")


def _shown(name: bytes) -> str:
    return f'"{name.decode(errors="replace")}"'
