"""How executions end: completed, failed, or never run because something before them failed; committed or rolled back.

A run's outcome is written down when ReadyForQuery tells what became of its transaction.
"""

from __future__ import annotations

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.outlook import apply_names, changes_names, end_transaction, forgets_all
from taprail.connectors.postgres.state import Answer, Run, State
from taprail.schemas.guard import TransactionStatus

SHOW_PATH = b"SHOW search_path"


class Endings:
    """The bookkeeping of one session's answers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._done: list[Run] = []  # ended in the group that is being answered
        self._failed = False
        self._savepoints: list[tuple[str, int]] = []  # of the open transaction: name, sequence of its statement
        self._ignored_syncs = 0
        self.scrub = False  # a plan that scrubs has run in the open transaction

    def suspended(self, run: Run) -> None:
        """The row limit of an Execute was reached."""
        run.result_status = "ok"
        self._end(run)

    def completed(self, run: Run, tag: bytes) -> None:
        state, facts = self._state, run.verdict.facts
        counted = wire.tag_rows(tag)
        if counted >= 0:
            run.rows = counted
        run.result_status = "ok"
        self._end(run)
        if run.verdict.inert:
            return
        if changes_names(facts):
            apply_names(state.change_context(), facts, run.request.text)
            if forgets_all(facts):
                state.statements.confirm_clear()
            elif facts.deallocates or facts.prepares:
                state.statements.confirm((facts.deallocates or facts.prepares).encode(), None)
            if facts.declares:
                state.portals.confirm(facts.declares.encode(), None)
        if facts.reshapes:
            state.change_context().reshaped = True
        if facts.savepoint:
            self._savepoint(run)
        elif facts.transaction and tag in (b"COMMIT", b"ROLLBACK"):
            self._savepoints.clear()
            for earlier in self._done:
                if earlier.transaction == "unknown":
                    earlier.transaction = "committed" if tag == b"COMMIT" else "rolled_back"

    def _savepoint(self, run: Run) -> None:
        """SAVEPOINT, RELEASE or ROLLBACK TO; of several with one name the newest counts."""
        kind, name = run.verdict.facts.transaction, run.verdict.facts.savepoint
        if kind == "savepoint":
            self._savepoints.append((name, run.ticket.sequence))
            return
        names = [made for made, _ in self._savepoints]
        if name not in names:
            return  # it was made where the tap doesn't look: by code, which has none that outlives it
        index = len(names) - 1 - names[::-1].index(name)
        if kind == "release":
            del self._savepoints[index:]
            return
        del self._savepoints[index + 1 :]
        run.undoes_from = self._savepoints[index][1] + 1
        for earlier in self._done:
            if earlier is not run and earlier.transaction == "unknown" and earlier.ticket.sequence >= run.undoes_from:
                earlier.transaction = "rolled_back"

    def failed(self, answer: Answer, run: Run | None, sqlstate: str) -> None:
        """The server has refused what `answer` stands for; like the server, skip what can't run any more."""
        state = self._state
        self._failed = True
        run = run or answer.run or self._meant_by(answer)
        if run is not None:
            run.result_status, run.sqlstate, run.transaction = "error", sqlstate, "rolled_back"
            self._end(run)
        state.copy_in = False
        if answer.hidden or any(hidden for _, hidden in answer.steps):
            state.mark_prepared = False
        if answer.kind == "query":
            for skipped, _ in answer.steps[answer.step :]:
                self._skip(skipped)
            answer.step = len(answer.steps)
        elif answer.kind != "sync":
            while (first := state.queue.first) is not None and first.kind != "sync":
                self._drop(state.queue.take())
            if not state.queue:
                state.skipping = True

    def _meant_by(self, answer: Answer) -> Run | None:
        """The execution that a failing Parse, Bind or Describe was the preparation of, if it was asked for already."""
        for later in self._state.queue.all():
            if later.kind == "sync":
                break
            if later.run is not None and later.portal is not None:
                same_statement = answer.prepared is not None and later.portal.prepared is answer.prepared
                if same_statement or later.portal is answer.portal:
                    return later.run
        return None

    def _drop(self, answer: Answer) -> None:
        for run in (answer.run, *(run for run, _ in answer.steps)):
            if run is not None:
                self._skip(run)
        if answer.hidden:
            self._state.mark_prepared = False
        if answer.kind == "describe portal" and answer.portal is not None and answer.portal.description is None:
            answer.portal.described = False

    def _skip(self, run: Run) -> None:
        if run.result_status == "unknown":
            run.result_status, run.transaction = "cancelled", "none"
            self._end(run)

    def _end(self, run: Run) -> None:
        self._done.append(run)
        self.scrub = self.scrub or (run.plan is not None and run.plan.scrub)

    def ready(self, answer: Answer, status: TransactionStatus) -> None:
        """A group is answered."""
        state = self._state
        state.answered = answer.group
        state.statements.answered(answer.group)
        state.portals.answered(answer.group)
        state.context.transaction_status = status
        self._ignored_syncs = state.copied_ahead = 0
        state.copying = None
        done, self._done = self._done, []
        for run in done:
            if run.transaction == "unknown":
                run.transaction = "open" if status != "I" else "rolled_back" if self._failed else "committed"
            state.finish(run)
        self._failed = False
        if state.quiet and not state.group_ran:
            state.in_block = status != "I"
        if status == "I":
            if not state.queue:  # nothing else runs
                state.context.leans_on.clear()
            self.scrub = False
            self._savepoints.clear()
            state.portals.confirm_end()
            if state.context.reshaped or state.context.cursors:
                end_transaction(state.change_context())
            if state.quiet and not state.group_ran:
                state.path_moved = False
        if answer.hidden:
            state.path_pending = False
        elif not state.path_reported and state.changed_group == answer.group:
            state.path_pending = True
        if state.path_pending and status != "E" and not state.queue:
            self.ask_path()

    def ask_path(self) -> None:
        """Servers before PostgreSQL 18 don't report search_path: ask, and the next statement waits for the answer."""
        state = self._state
        state.path_pending = True
        state.expect(Answer("query", state.group, hidden=True), wire.query(SHOW_PATH))
        state.end_group()

    def search_path(self, body: bytes) -> None:
        """The row that answers `ask_path`."""
        reader = wire.Reader(body, "DataRow")
        if reader.uint16() == 1:
            self._state.change_context().search_path = reader.take(reader.int32()).decode(errors="replace")

    def copy_in(self, run: Run) -> None:
        """COPY FROM STDIN begins. The server ignores every Sync that it finds before the end of the data."""
        state = self._state
        kept, owed = [], state.queue.all()
        state.copy_in, state.copying = True, run
        run.size_in, state.copied_ahead = state.copied_ahead, 0
        for index, answer in enumerate(owed):
            if answer.kind == "copy end":
                state.copy_in = False
                kept += owed[index + 1 :]
                break
            if answer.kind == "sync":
                self._ignored_syncs += 1
            else:
                kept.append(answer)
        state.queue.put(kept)

    def lost_sync(self) -> bool:
        """ReadyForQuery for a Sync that was thought to be ignored: COPY failed before the server read any data."""
        if self._ignored_syncs == 0:
            return False
        self._ignored_syncs -= 1
        return True

    def close(self) -> None:
        """The session ends; what isn't answered has an unknown outcome."""
        state = self._state
        pending = list(self._done)
        for answer in state.queue.all():
            pending += [run for run in (answer.run, *(run for run, _ in answer.steps)) if run is not None]
        seen: set[int] = set()
        for run in pending:
            if id(run) not in seen:
                seen.add(id(run))
                state.finish(run)
        self._done.clear()
        state.queue.put([])
