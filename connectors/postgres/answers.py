"""Server to client: every answer is matched with what was asked, counted, masked, and passed on in order.

Rows take the fast path of `rows.py`. An answer that wasn't asked for ends the session: a tap that has lost count of the
answers can't tell whose rows it passes on.
"""

from __future__ import annotations

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import rows
from taprail.connectors.postgres.endings import Endings
from taprail.connectors.postgres.large_objects import masked_result
from taprail.connectors.postgres.masks import RowActions, original_position, row_actions, scrubbed
from taprail.connectors.postgres.startup import PINNED_SETTINGS, same_as_pinned
from taprail.connectors.postgres.state import Answer, AnswerKind, Failure, Run, State
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import TransactionStatus

_STATUSES: dict[bytes, TransactionStatus] = {b"I": "I", b"T": "T", b"E": "E"}
_FATAL = frozenset({"FATAL", "PANIC"})
_COPY_END = b"d\0\0\0\x06\xff\xff"  # the trailer of a binary COPY, which is no row: no other has -1 columns
PROGRAM_LIMIT_EXCEEDED = "54000"


class Answers:
    """What the server sends, message by message."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._inbox = wire.Inbox()
        self._endings = Endings(state)
        self._passing = 0  # bytes of a DataRow or CopyData that are still to come, and go to the client as they are
        self._run: Run | None = None  # whose rows come now
        self._actions: RowActions | None = None  # None: no rows may come; (): they pass as they are
        self._hidden = False  # rows that come now are the tap's own
        self._over = False  # a limit of rows has ended the session
        self.fatal = False  # the server has said why it ends the connection
        self._answer_bytes = state.limits.answer_bytes

    @property
    def half_sent(self) -> bool:
        """The client has the beginning of a message, so nothing else may be sent before its end."""
        return self._passing > 0

    def feed(self, data: bytes) -> None:
        """Take what the server sent. Raises ProtocolError."""
        to_client = self._state.to_client
        if self._over:
            return
        if self._run is None and self._actions is None:
            self._begin()  # what was asked since the last answer
        if self._passing:
            data = self._pass_on(data)
        if not data or not (data := self._inbox.add(data)):
            return
        size, start, sent, need = len(data), 0, 0, 5  # before `sent` everything is passed on, replaced or hidden
        while size - start >= 5:
            kind = data[start]
            if kind == wire.DATA_ROW or kind == wire.COPY_DATA:
                if self._run is not None and self._run.limit is not None and not self._hidden:
                    size = self._within(self._run, data, start, kind)
                    if size < len(data):
                        data = data[:size]  # what is beyond the limit has never been
                    if start == size:
                        break
                if self._actions == ():
                    start = self._plain_rows(data, start, kind)
                    continue
                to_client.append(data[sent:start])
                end = self._own_rows(data, start, kind)
                sent = end
                if end == start:  # the first row isn't whole
                    need = wire.frame_end(data, start, self._state.limits.masked_row_bytes) - start
                    break
                start = end
                continue
            end = wire.frame_end(data, start, self._answer_bytes)
            if end > size:
                need = end - start
                break
            replaced = self._handle(kind, data[start + 5 : end])
            if replaced is not None:
                to_client += (data[sent:start], replaced)
                sent = end
            start = end
        if start > sent:
            to_client.append(data[sent:start])
        if start < size:
            self._inbox.keep(data[start:], need)

    def _handle(self, kind: int, body: bytes) -> bytes | None:
        """What the client gets instead, None for the message as it is. Compiled, quicker than a table of methods."""
        if kind == wire.BIND_COMPLETE:
            return self._bind_complete()
        if kind == wire.ROW_DESCRIPTION:
            return self._row_description(body)
        if kind == wire.COMMAND_COMPLETE:
            return self._command_complete(body)
        if kind == wire.READY:
            return self._ready(body)
        if kind == wire.PARSE_COMPLETE:
            return self._parse_complete()
        if kind == wire.NO_DATA:
            return self._described(b"")
        if kind == wire.PARAMETER_DESCRIPTION:
            return self._parameter_description()
        if kind == wire.CLOSE_COMPLETE:
            return self._close_complete()
        if kind == wire.ERROR:
            return self._error(body)
        if kind == wire.NOTICE:
            return self._notice(body)
        if kind == wire.PARAMETER_STATUS:
            return self._parameter_status(body)
        return self._handle_rarer(kind, body)

    def _handle_rarer(self, kind: int, body: bytes) -> bytes | None:
        if kind == wire.PORTAL_SUSPENDED:
            return self._portal_suspended()
        if kind == wire.EMPTY_QUERY:
            return self._empty_query()
        if kind == wire.FUNCTION_CALL_RESPONSE:
            return self._function_result(body)
        if kind == wire.COPY_IN:
            return self._copy_in()
        if kind == wire.COPY_OUT:
            return self._copy_out()
        if kind == wire.NOTIFICATION or kind == wire.COPY_DONE:
            return None
        raise ProtocolError(f"the server sent message {chr(kind)!r}, which has no place here")

    # Rows -----------------------------------------------------------------------------------------------------------

    def _pass_on(self, data: bytes) -> bytes:
        """The rest of a row that was passed on before it was whole; what follows it."""
        taken = min(self._passing, len(data))
        self._passing -= taken
        self._state.to_client.append(data[:taken])
        if self._run is not None:
            self._run.count(0, taken)
        return data[taken:]

    def _plain_rows(self, data: bytes, start: int, kind: int) -> int:
        """Count a run of rows that pass as they are, the beginning of the next included; where it ends."""
        end, count = rows.skip(data, start, kind)
        if len(data) - end >= 5 and data[end] == kind:
            whole = wire.frame_end(data, end, self._state.limits.data_bytes)
            count, end, self._passing = count + 1, len(data), whole - len(data)
        if self._run is not None:
            self._run.count(count, end - start)
        return end

    def _within(self, run: Run, data: bytes, start: int, kind: int) -> int:
        """Count the rows at `start` against their limit; where the first one beyond it begins, else where `data` ends.

        A row counts as soon as a part of it may go to the client.
        """
        limit = run.limit
        assert limit is not None
        end, count = rows.skip(data, start, kind)
        begun = self._actions == () and len(data) - end >= 5 and data[end] == kind
        wanted = count + 1 if begun else count
        given = limit.meter.take(wanted)
        run.metered += given
        if given == wanted:
            return len(data)
        cut = start
        for _ in range(given):
            cut += rows.uint32(data, cut + 1) + 1
        if not begun and data[cut:end] == _COPY_END:
            return len(data)
        self._over = True
        run.result_status, run.sqlstate = "error", PROGRAM_LIMIT_EXCEEDED
        most = f"{limit.rows} in 60 minutes are the most (rule {limit.rule})"
        text = f"{limit.message}: the result is cut after {run.metered} rows, since {most}"
        hint = f"{limit.hint or 'ask for fewer rows, or wait'}; this session has ended, so connect again"
        self._state.failure = Failure(text, PROGRAM_LIMIT_EXCEEDED, hint, cancels=True)
        return cut

    def _own_rows(self, data: bytes, start: int, kind: int) -> int:
        """Rows that are rewritten, or hidden; where their run ends, `start` if the first isn't whole."""
        if self._hidden:
            end, _ = rows.skip(data, start, kind)
            if self._run is None and end > start:
                self._endings.search_path(data[start + 5 : end])
            return end
        if not self._actions or kind != wire.DATA_ROW:
            raise ProtocolError("the server sent rows where none were asked for, or none that can be masked")
        try:
            changed, end, count = rows.rewrite(data, start, self._actions)
        except ValueError as error:
            raise ProtocolError(f"a masked result can't be read: {error}") from error
        if end == start and wire.frame_end(data, start, self._state.limits.masked_row_bytes) <= len(data):
            raise ProtocolError("the server sent a row that isn't one")
        assert self._run is not None
        self._run.count(count, end - start)
        self._state.to_client.append(changed)
        return end

    def _expect_rows(self, run: Run | None, description: bytes | None) -> None:
        """Rows of `run` may come next, in columns of this description."""
        self._actions = ()
        if run is None or run.plan is None:
            return
        if description is None:
            self._actions = None
        elif description:
            self._actions, run.masked = row_actions(run.plan, description)

    # What is expected -----------------------------------------------------------------------------------------------

    def _head(self) -> Answer:
        answer = self._next()
        if answer is None:
            raise ProtocolError("the server answered what nobody asked")
        return answer

    def _next(self) -> Answer | None:
        """What is expected now. The end of a COPY that didn't begin, or has ended, is owed nothing."""
        queue = self._state.queue
        while (answer := queue.first) is not None and answer.kind == "copy end":
            queue.take()
        return answer

    def _take(self, kind: AnswerKind, other: AnswerKind | None = None) -> Answer:
        answer = self._head()
        if (answer.kind != kind and answer.kind != other) or answer.refusal or answer.must_fail:
            kinds = f"{kind} or {other}" if other else kind
            raise ProtocolError(f"the server did {kinds} where {answer.kind} was asked")
        return self._state.queue.take()

    def _begin(self) -> None:
        """Get ready for the rows of what is expected now."""
        self._run, self._actions, self._hidden = None, None, False
        answer = self._next()
        if answer is None or answer.refusal:
            return
        if answer.kind == "execute":
            self._run, self._hidden = answer.run, answer.hidden
            if not answer.hidden:
                self._expect_rows(answer.run, answer.portal.description if answer.portal else None)
        elif answer.kind == "query":
            self._hidden = answer.hidden
            if answer.step < len(answer.steps):
                self._run, self._hidden = answer.steps[answer.step]
                if not self._hidden:
                    self._expect_rows(self._run, None)

    def _row_description(self, body: bytes) -> bytes | None:
        if self._head().kind != "query":
            return self._described(body)
        self._begin()
        if self._hidden:
            return b""
        if self._run is None:
            raise ProtocolError("the server describes rows of a statement that has ended")
        self._expect_rows(self._run, body)
        return None

    def _described(self, description: bytes) -> bytes | None:
        answer = self._take("describe", "describe portal")
        if answer.portal is not None:
            answer.portal.description = description
        self._begin()
        return b"" if answer.hidden else None

    def _parameter_description(self) -> bytes | None:
        if self._head().kind != "describe":
            raise ProtocolError("the server described parameters that nobody asked for")
        return None

    def _parse_complete(self) -> bytes | None:
        answer = self._take("parse")
        self._begin()
        if answer.hidden:
            return b""
        self._state.statements.confirm(answer.name, answer.prepared)
        if self._state.context.prepared:
            self._state.context.prepared.pop(answer.name.decode(errors="replace"), None)
        return None

    def _bind_complete(self) -> bytes | None:
        answer = self._take("bind")
        self._begin()
        if answer.hidden:
            return b""
        self._state.portals.confirm(answer.name, answer.portal)
        if self._state.context.cursors:
            self._state.context.cursors.pop(answer.name.decode(errors="replace"), None)
        return None

    def _close_complete(self) -> bytes | None:
        answer = self._take("close")
        self._begin()
        if answer.hidden:
            return b""
        (self._state.statements if answer.closes == b"S" else self._state.portals).confirm(answer.name, None)
        return None

    def _portal_suspended(self) -> bytes | None:
        answer = self._take("execute")
        if answer.run is not None and not answer.hidden:
            self._endings.suspended(answer.run)
        self._begin()
        return b"" if answer.hidden else None

    def _empty_query(self) -> bytes | None:
        if self._head().kind == "execute":
            self._take("execute")
            self._begin()
        elif self._head().kind != "query" or self._head().steps or self._head().refusal:
            raise ProtocolError("the server answered an empty query that nobody sent")
        return None

    def _command_complete(self, body: bytes) -> bytes | None:
        answer = self._head()
        hidden = answer.hidden
        if answer.kind == "query" and answer.step < len(answer.steps):
            run, hidden = answer.steps[answer.step]
            answer.step += 1
            if not hidden:
                self._endings.completed(run, body[:-1])
        elif answer.kind == "query" and answer.hidden:
            return b""
        else:
            self._take("execute")
            if answer.run is not None and not hidden:
                self._endings.completed(answer.run, body[:-1])
        self._begin()
        return b"" if hidden else None

    def _function_result(self, body: bytes) -> bytes | None:
        answer = self._head()
        if not answer.calls or answer.step:
            raise ProtocolError("the server answered a function call that nobody sent")
        run, _ = answer.steps[0]
        answer.step = 1
        run.count(1, len(body))
        masked = masked_result(run.plan, answer.calls) if run.plan is not None else None
        run.masked = int(masked is not None)
        self._endings.completed(run, b"SELECT 1")
        self._begin()
        return masked

    # Errors, and the end of a group ---------------------------------------------------------------------------------

    def _error(self, body: bytes) -> bytes | None:
        answer = self._next()
        fields = wire.parse_fields(body)
        scrub = self._scrubs()
        self.fatal = self.fatal or fields.get("V", fields.get("S", "")) in _FATAL
        if answer is None and not self.fatal:
            raise ProtocolError("the server failed at what nobody asked")
        if answer is None or self.fatal:
            return wire.error_response(scrubbed(fields)) if scrub else None
        self._endings.failed(answer, self._run, fields.get("C", ""))
        self._begin()
        if answer.hidden and answer.kind == "query":
            return b""
        if answer.refusal:
            return answer.refusal
        if scrub:
            fields = scrubbed(fields)
        elif not (answer.insertions and "P" in fields):
            return None
        if "P" in fields:
            fields["P"] = original_position(fields["P"], answer.insertions)
        return wire.error_response(fields)

    def _notice(self, body: bytes) -> bytes | None:
        head, scrub = self._next(), self._scrubs()
        insertions = head.insertions if head is not None else ()
        if not scrub and not insertions:
            return None
        fields = wire.parse_fields(body)
        if scrub:
            fields = scrubbed(fields)
        if "P" in fields:
            fields["P"] = original_position(fields["P"], insertions)
        return wire.notice_response(fields)

    def _scrubs(self) -> bool:
        """A plan of the open transaction, or of what is answered now, asks for it."""
        head = self._next()
        for run in (self._run, head.run if head else None):
            if run is not None and run.plan is not None and run.plan.scrub:
                return True
        prepared = (head.portal.prepared if head.portal else head.prepared) if head else None
        return self._endings.scrub or (prepared is not None and prepared.scrub)

    def _ready(self, body: bytes) -> bytes | None:
        status = _STATUSES.get(body)
        if status is None:
            raise ProtocolError(f"the server is ready in an unknown transaction status {body!r}")
        expected = self._next()
        if (expected is None or expected.kind not in ("sync", "query")) and self._endings.lost_sync():
            return None
        answer = self._head()
        if answer.kind not in ("sync", "query") or answer.step != len(answer.steps):
            raise ProtocolError(f"the server is ready before it has done {answer.kind}")
        self._state.queue.take()
        self._endings.ready(answer, status)
        self._begin()
        return b"" if answer.hidden else None

    # The rest -------------------------------------------------------------------------------------------------------

    def _parameter_status(self, body: bytes) -> bytes | None:
        name, value = wire.parse_parameter_status(body)
        if name in PINNED_SETTINGS and not same_as_pinned(name, value):
            raise ProtocolError(
                f"the server changed {name} to {value!r}, so the tap can't read this session's statements any more",
                hint=f"leave {name} at {PINNED_SETTINGS[name]}",
            )
        if name == "search_path":
            self._state.change_context().search_path = value
        elif name == "application_name":
            self._state.change_context().client = value
        return None

    def _copy_in(self) -> bytes | None:
        if self._head().kind not in ("execute", "query") or self._hidden or self._run is None:
            raise ProtocolError("the server wants COPY data that nobody offered")
        self._endings.copy_in(self._run)
        return None

    def _copy_out(self) -> bytes | None:
        if self._head().kind not in ("execute", "query") or self._hidden or self._run is None:
            raise ProtocolError("the server sends COPY data that nobody asked for")
        if self._run.plan is not None:
            raise ProtocolError("COPY can't be masked", hint="use SELECT")
        self._actions = ()
        return None

    def ask_path(self) -> None:
        self._endings.ask_path()
        self._begin()

    def close(self) -> None:
        """The session ends: what was sent and not answered has an unknown outcome."""
        self._endings.close()
