"""What the two directions of a session share: names, expected answers, and what waits to be sent.

A *group* is what the server answers with one ReadyForQuery: a Query message, or everything up to a Sync. Groups are
numbered from 1; `group` is the open one, `answered` the last that has its ReadyForQuery.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final, Literal

from msgspec import Struct

from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.names import Names, Unsettled
from taprail.connectors.postgres.outlook import Outlook
from taprail.schemas.errors import SpoolError
from taprail.schemas.guard import (
    Durability,
    Ending,
    Guard,
    MaskPlan,
    Recorder,
    Request,
    Result,
    SessionContext,
    Status,
    Ticket,
    Verdict,
)

AnswerKind = Literal["parse", "bind", "describe", "describe portal", "execute", "close", "sync", "query", "copy end"]
_TAKEN_MAX: Final = 256
OWN_PREFIX = b"_taprail"  # names of prepared statements and portals that clients may not use


class Failure(Struct, frozen=True):
    """Why the tap must end the session, as a FATAL error says it. `cancels`: what runs may not go on at the server."""

    text: str
    sqlstate: str = "58030"
    hint: str = ""
    cancels: bool = False


class Prepared:
    """A prepared statement, named or not. `scrub`: its mask plan takes values out of errors, from planning on."""

    __slots__ = ("empty", "scrub", "text")

    def __init__(self, text: str, *, empty: bool = False, scrub: bool = False) -> None:
        self.text, self.empty, self.scrub = text, empty, scrub


class Portal:
    """A bound statement. `description` is the body of its RowDescription, b"" where it returns no rows.

    `path` is the search_path that its names were resolved in, None where the tap couldn't know it.
    """

    __slots__ = ("described", "description", "parameters", "path", "prepared")

    def __init__(self, prepared: Prepared, parameters: tuple[bytes | None, ...], path: str | None) -> None:
        self.prepared, self.parameters, self.path = prepared, parameters, path
        self.described = False  # a Describe is on its way, or answered
        self.description: bytes | None = None


class Run:
    """One execution of one statement, from its record to its outcome. `metered` rows count against `limit` already."""

    __slots__ = (
        *("first_row_us", "limit", "masked", "metered", "request", "result_status", "rows", "size", "size_in"),
        *("sqlstate", "ticket", "transaction", "undoes_from", "verdict"),
    )

    def __init__(self, request: Request, verdict: Verdict, ticket: Ticket) -> None:
        self.request, self.verdict, self.ticket = request, verdict, ticket
        self.limit = verdict.limit
        self.rows = self.size = self.size_in = self.masked = self.first_row_us = 0
        self.undoes_from = self.metered = 0
        self.sqlstate = ""
        self.result_status: Status = "unknown"
        self.transaction: Ending = "unknown"

    @property
    def plan(self) -> MaskPlan | None:
        return self.verdict.mask

    def result(self) -> Result:
        return Result(
            self.result_status,
            self.rows,
            self.size,
            self.masked,
            self.sqlstate,
            self.transaction,
            self.size_in,
            self.first_row_us,
            self.undoes_from,
            self.metered,
        )

    def count(self, rows: int, size: int) -> None:
        """Rows of the result, as the server has sent them."""
        if self.first_row_us == 0 and size:
            self.first_row_us = time.time_ns() // 1000
        self.rows += rows
        self.size += size


class Answer:
    """What the server owes for one message. `hidden` answers are the tap's own and never reach the client.

    refusal     error to send in place of the server's, for a message that stands for a refused one
    steps       of a query: (run, hidden) a statement, in order; `step` is the one that is being answered
    insertions  of a query: (character offset, length) of what the tap put into its text
    calls       the type (OID) of what it returns where the message is a function call, which has one step; else 0
    """

    __slots__ = (
        "calls",
        "closes",
        "group",
        "hidden",
        "insertions",
        "kind",
        "must_fail",
        "name",
        "portal",
        "prepared",
        "refusal",
        "run",
        "step",
        "steps",
    )

    def __init__(
        self,
        kind: AnswerKind,
        group: int,
        *,
        hidden: bool = False,
        run: Run | None = None,
        name: bytes = b"",
        prepared: Prepared | None = None,
        portal: Portal | None = None,
        closes: bytes = b"",
        refusal: bytes = b"",
        must_fail: bool = False,
        steps: tuple[tuple[Run, bool], ...] = (),
        insertions: tuple[tuple[int, int], ...] = (),
        calls: int = 0,
    ) -> None:
        self.kind, self.group, self.hidden, self.run = kind, group, hidden, run
        self.name, self.prepared, self.portal = name, prepared, portal
        self.closes, self.refusal, self.must_fail = closes, refusal, must_fail
        self.steps, self.step, self.insertions, self.calls = steps, 0, insertions, calls


class Owed:
    """The answers that the server owes, in order."""

    __slots__ = ("_answers", "_at")

    def __init__(self) -> None:
        self._answers: list[Answer] = []
        self._at = 0  # what stands before it has been taken

    def __len__(self) -> int:
        return len(self._answers) - self._at

    @property
    def first(self) -> Answer | None:
        return self._answers[self._at] if self._at < len(self._answers) else None

    def append(self, answer: Answer) -> None:
        self._answers.append(answer)

    def take(self) -> Answer:
        answer = self._answers[self._at]
        self._at += 1
        if self._at == len(self._answers) or self._at == _TAKEN_MAX:
            self._answers, self._at = self._answers[self._at :], 0
        return answer

    def all(self) -> list[Answer]:
        return self._answers[self._at :]

    def put(self, answers: list[Answer]) -> None:
        """These instead of all."""
        self._answers, self._at = answers, 0


class State:
    """One session between a client and a server, without sockets. Only this module's users change it."""

    def __init__(
        self,
        context: SessionContext,
        guard: Guard,
        recorder: Recorder,
        limits: Limits,
        path_reported: bool,
        durability: Durability,
    ) -> None:
        self.context = context  # as the server has confirmed it
        self.outlook = Outlook(context)  # as the next statement will find it
        self.guard, self.recorder, self.limits = guard, recorder, limits
        self.durability = durability  # of a record before its statement runs
        self.path_reported = path_reported  # PostgreSQL 18 reports search_path; older ones are asked
        self.to_server: list[bytes] = []
        self.to_client: list[bytes] = []
        self.notices: list[bytes] = []  # ours, for the client, as soon as no message is half sent
        self.queue = Owed()
        self.statements: Names[Prepared] = Names()
        self.portals: Names[Portal] = Names()
        self.group, self.answered = 1, 0
        self.transaction = 0  # the number of the transaction that the next statement is part of
        self.changed_group = 0  # the last group whose statements change what later texts mean
        self.group_ran = False  # the open group has sent an execution
        self.path_moved = False  # search_path was changed inside the open transaction
        self.path_pending = False  # the server has been, or must be, asked for search_path
        self.skipping = False  # like the server: nothing counts until Sync
        self.copy_in = False
        self.copying: Run | None = None  # whose COPY data the client sends
        self.copied_ahead = 0  # bytes of COPY data before the server has asked for any
        self.mark_prepared = False
        self.in_block = False  # after what was sent, the server will be inside a transaction block
        self.ended = False  # the client said goodbye
        self.failure: Failure | None = None

    @property
    def quiet(self) -> bool:
        """The server has answered every group that was ended."""
        return self.answered == self.group - 1

    def count_in(self, size: int) -> None:
        """COPY data of the client's went on."""
        if self.copying is not None:
            self.copying.size_in += size
        else:
            self.copied_ahead += size

    def expect(self, answer: Answer, data: bytes) -> None:
        """Forward `data` and remember what the server owes for it."""
        self.queue.append(answer)
        self.to_server.append(data)

    def end_group(self) -> None:
        self.statements.end_group(self.group)
        self.portals.end_group(self.group)
        self.group += 1
        self.group_ran = False
        if not self.in_block:
            self.transaction += 1

    def change_context(self) -> SessionContext:
        """The context, to be changed: a copy, for what was asked under the old one keeps that."""
        self.context = replace(self.context)
        self.context.prepared, self.context.cursors = dict(self.context.prepared), dict(self.context.cursors)
        return self.context

    def look(self) -> Outlook:
        """The outlook for the next statement. Raises Unsettled while an unanswered group may have changed it."""
        if self.changed_group == self.group:
            return self.outlook
        if self.changed_group > self.answered or self.path_pending:
            raise Unsettled
        if self.changed_group or self.outlook.context is not self.context or self.outlook.path_moved != self.path_moved:
            self.outlook, self.changed_group = Outlook(self.context, path_moved=self.path_moved), 0
        return self.outlook

    def set_outlook(self, outlook: Outlook) -> None:
        if outlook is not self.outlook:
            self.outlook, self.changed_group = outlook, self.group
            self.path_moved = self.path_moved or outlook.path_moved

    def finish(self, run: Run) -> None:
        """Write down how a run ended. The statement itself is in the spool; a spool that fails ends the session."""
        try:
            self.recorder.outcome(run.ticket, run.request, run.verdict, run.result())
        except SpoolError as error:
            self.failure = Failure(f"an outcome can't be written down: {error.message}")
