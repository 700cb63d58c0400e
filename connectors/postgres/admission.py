"""What must be true before a statement goes to the server: it is judged, the waiting is done, and it is written down.

The synchronous path judges and records. Where a verdict asks for a current catalog or for an approval, a generator goes
on with the same statements: it yields what to wait for, and the proxy sends the result in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from msgspec import Struct

from taprail.connectors.postgres import messages
from taprail.connectors.postgres.names import Unsettled
from taprail.connectors.postgres.outlook import Outlook, unpinned, unreadable
from taprail.connectors.postgres.scripts import Script, scripts, told_at_once
from taprail.connectors.postgres.state import OWN_PREFIX, Run, State
from taprail.schemas.errors import RefusedError, SpoolError
from taprail.schemas.guard import (
    NOT_ASKED,
    UNKNOWN_ROWS,
    Durability,
    Facts,
    Release,
    Request,
    Verdict,
    asks_otherwise,
)

FEATURE_NOT_SUPPORTED, IO_ERROR, SYNTAX_ERROR, QUERY_CANCELED = "0A000", "58030", "42601", "57014"
_CATALOG_TRIES = 3


class CatalogWait(Struct, frozen=True):
    """The guard needs a current catalog; answer None, or why there is none."""

    request: Request


class RowsWait(Struct, frozen=True):
    """The planner is to be asked of all these statements together; answer how many rows it expects."""

    requests: tuple[Request, ...]


class ApprovalWait(Struct, frozen=True):
    """A statement is held, or a script, of which `requests` are the statements; answer how the wait ended."""

    request: Request
    verdict: Verdict
    held: Run
    requests: tuple[Request, ...]


class RecordWait(Struct, frozen=True):
    """The statement is written down, and must be as durable as this before it runs; answer None, or why it isn't."""

    durability: Durability


Wait = CatalogWait | RowsWait | ApprovalWait | RecordWait
WaitResult = Release | RefusedError | int | None


@dataclass(init=False)
class Candidate:
    """A statement that was judged, and the outlook that it was judged under."""

    request: Final[Request]
    verdict: Final[Verdict]
    outlook: Final[Outlook]

    def __init__(self, request: Request, verdict: Verdict, outlook: Outlook) -> None:
        self.request, self.verdict, self.outlook = request, verdict, outlook


Refuse = Callable[[bytes], None]
_Steps = Generator[Wait, WaitResult, "list[Run] | bytes"]


class Admission:
    """Judges and records the statements of one session, in order."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._steps: _Steps | None = None
        self._then: Callable[[list[Run]], None] | None = None
        self._refuse: Refuse | None = None
        self.wait: Wait | None = None

    def judge(
        self,
        outlook: Outlook,
        text: str,
        protocol: Literal["simple", "extended"],
        values: tuple[bytes | None, ...] = (),
    ) -> Candidate:
        """The guard's verdict, made stricter where the protocol itself can't carry the statement safely."""
        return self._judge(Request(text, outlook.context, protocol, values, self._state.transaction), outlook)

    def _judge(self, request: Request, outlook: Outlook) -> Candidate:
        try:
            verdict = self._state.guard.judge(request)
        except RefusedError as error:
            verdict = unparsed(error)
        if verdict.action == "hold" or (verdict.action == "deny" and verdict.by_policy):
            verdict = self._state.guard.lifted(request, verdict)
        if verdict.action != "deny" and not verdict.needs_catalog:
            verdict = _strict(outlook, request.text, verdict)
        return Candidate(request, verdict, outlook)

    def admit(
        self, candidates: Sequence[Candidate], then: Callable[[list[Run]], None], refuse: Refuse, *, runs: bool = True
    ) -> None:
        """Call `then` with a recorded run for each candidate, or `refuse` with one error, now or after a wait.

        With `runs` false nothing is about to be executed, so a hold passes and nothing is recorded but a denial.
        """
        waits = denied = False
        for candidate in candidates:
            verdict = candidate.verdict
            action = verdict.action
            asks = runs and (action == "hold" or verdict.needs_rows)
            waits = waits or verdict.needs_catalog or asks
            denied = denied or action == "deny"
        if not waits and not denied:
            done = self._record(candidates) if runs else []
            if isinstance(done, bytes):
                refuse(done)
            elif not done or self._state.durability == "process":
                then(done)
            else:
                self._begin(self._settle(done), then, refuse)
            return
        if waits and not self._state.quiet:
            raise Unsettled  # wait with nothing in flight: the transaction's state is known then
        self._begin(self._slow(list(candidates), runs), then, refuse)

    def _begin(self, steps: _Steps, then: Callable[[list[Run]], None], refuse: Refuse) -> None:
        self._steps, self._then, self._refuse = steps, then, refuse
        self.resume(None)

    def resume(self, result: WaitResult) -> None:
        """Go on with the statements that waited, with what the wait brought."""
        assert self._steps is not None and self._then is not None and self._refuse is not None
        self.wait = None
        try:
            self.wait = self._steps.send(result)
        except StopIteration as stop:
            then, refuse = self._then, self._refuse
            self._steps = self._then = self._refuse = None
            if isinstance(stop.value, bytes):
                refuse(stop.value)
            else:
                then(stop.value)

    def deny(self, request: Request, verdict: Verdict) -> bytes:
        """Write a denied statement down; the error for the client."""
        try:
            ticket = self._state.recorder.statement(request, verdict)
        except SpoolError as error:
            return _spool_refusal(error)
        run = Run(request, verdict, ticket)
        run.result_status, run.transaction, run.sqlstate = "denied", "none", verdict.sqlstate
        self._state.finish(run)
        text = verdict.message  # the grammar's own words, which are the server's
        if not text:
            rule = f" (rule {verdict.rule})" if verdict.rule else ""
            text = f"{verdict.reason or 'taprail refused this statement'}{rule}"
        return messages.error(verdict.sqlstate, text, hint=verdict.hint, position=verdict.position)

    def _record(
        self, candidates: Sequence[Candidate], approvals: dict[int, tuple[Release, Run]] | None = None
    ) -> list[Run] | bytes:
        recorder, runs = self._state.recorder, []
        try:
            if spending := [candidate.verdict for candidate in candidates if candidate.verdict.spends]:
                for approval in _spent(spending):
                    recorder.spend(approval)
            for index, candidate in enumerate(candidates):
                request, verdict = candidate.request, candidate.verdict
                if approvals and index in approvals:
                    release, held = approvals[index]
                    ticket = recorder.statement(
                        request, verdict, approval=release.approval_id, held_sequence=held.ticket.sequence
                    )
                else:
                    ticket = recorder.statement(request, verdict)
                runs.append(Run(request, verdict, ticket))
        except RefusedError as error:  # what it wanted to use is used
            return messages.error("42501", error.message, hint=error.hint)
        except SpoolError as error:
            self._abandon(runs)
            return _spool_refusal(error)
        return runs

    def _abandon(self, runs: list[Run]) -> None:
        for run in runs:
            run.result_status, run.transaction = "cancelled", "none"
            self._state.finish(run)

    def _slow(self, candidates: list[Candidate], runs: bool) -> _Steps:
        """Catalogs and denials of all statements first: nobody is asked to approve what would be denied anyway."""
        for index, candidate in enumerate(candidates):
            request, verdict = candidate.request, candidate.verdict
            for _ in range(_CATALOG_TRIES):
                if not verdict.needs_catalog:
                    break
                failure = yield CatalogWait(request)
                if isinstance(failure, RefusedError):
                    verdict = replace(_denied(verdict, str(failure), FEATURE_NOT_SUPPORTED), needs_catalog=False)
                else:
                    verdict = self._judge(request, candidate.outlook).verdict
            if runs and verdict.needs_rows and verdict.action != "deny":
                request, verdict = yield from self._with_rows(candidate, verdict)
            if verdict.needs_catalog:
                verdict = _denied(
                    verdict, "the catalog of this database changes too fast to judge the statement", "55000"
                )
            if verdict.action == "deny":
                return self.deny(request, verdict)
            candidates[index] = Candidate(request, verdict, candidate.outlook)
        if not runs:
            return []
        approvals: dict[int, tuple[Release, Run]] = {}
        for script in scripts(candidates):
            lifted = self._state.guard.lifted(script.request, script.verdict) if len(script.places) > 1 else None
            if lifted is not None and lifted.action != "hold":
                for place in script.places:
                    candidates[place] = _lifted_with(candidates[place], lifted)
                continue
            answer = yield from self._hold(script)
            if isinstance(answer, bytes):
                return answer
            approvals |= dict.fromkeys(script.places, answer)
        done = self._changed(candidates, approvals) or self._record(candidates, approvals)
        if isinstance(done, bytes):
            for _, held in approvals.values():
                self._give_up(held)
            return done
        return done if self._state.durability == "process" else (yield from self._settle(done))

    def _changed(self, candidates: list[Candidate], approvals: Mapping[int, tuple[Release, Run]]) -> bytes:
        """The error where somebody was waited for, and what was sent with it may not run any more; b"" where it may.

        The gate has looked at what was approved when that was; others of the message may have waited longer.
        """
        for index, candidate in enumerate(candidates if approvals else ()):
            now, held = self._judge(candidate.request, candidate.outlook).verdict, candidate.verdict
            fresh = not (now.needs_catalog or now.needs_rows) and now.action != "deny"
            if index in approvals:
                fresh = fresh and now.catalog_epoch == held.catalog_epoch and not asks_otherwise(now, held)
                reason = "this was approved, and the catalog or the policy has changed since"
            else:
                fresh = fresh and now.action != "hold"
                reason = "this was allowed when it was sent, and isn't any more"
            if not fresh:
                return self.deny(candidate.request, _denied(held, reason, "42501", "send it again"))
            candidates[index] = Candidate(candidate.request, replace(held, mask=now.mask), candidate.outlook)
        return b""

    def _give_up(self, held: Run) -> None:
        """It was approved, and doesn't run."""
        if held.result_status == "unknown":
            held.result_status, held.transaction = "error", "none"
            self._state.finish(held)

    def _with_rows(
        self, candidate: Candidate, verdict: Verdict
    ) -> Generator[Wait, WaitResult, tuple[Request, Verdict]]:
        """The statement with what the planner expects of it, and the verdict on that."""
        expected = yield from self._expected((candidate.request,), verdict.explainable)
        if isinstance(expected, RefusedError):
            return candidate.request, _denied(verdict, expected.message, QUERY_CANCELED)
        request = replace(candidate.request, expected=expected)
        return request, self._judge(request, candidate.outlook).verdict

    def _expected(
        self, requests: tuple[Request, ...], explainable: bool
    ) -> Generator[Wait, WaitResult, int | RefusedError]:
        """Rows, or why nobody wants to know any more: the client has cancelled."""
        known = [request.expected for request in requests]
        if NOT_ASKED not in known:
            return sum(known) if UNKNOWN_ROWS not in known else UNKNOWN_ROWS
        found = (yield RowsWait(requests)) if explainable else UNKNOWN_ROWS
        return found if isinstance(found, int | RefusedError) else UNKNOWN_ROWS

    def _settle(self, runs: list[Run]) -> _Steps:
        """Wait until their records are where the connection wants them."""
        failure = yield RecordWait(self._state.durability)
        if isinstance(failure, RefusedError):
            self._abandon(runs)
            return _spool_refusal(failure)
        return runs

    def _hold(self, script: Script) -> Generator[Wait, WaitResult, tuple[Release, Run] | bytes]:
        """Write down that it is held, and wait for what comes of it; or, where told at once, until it is asked for."""
        state, request, verdict = self._state, script.request, script.verdict
        inside = state.in_block or state.group_ran or state.context.transaction_status != "I"
        if inside and not verdict.hold_in_transaction:
            verdict = told_at_once(verdict)
        rows = yield from self._expected(script.requests, verdict.explainable)
        if isinstance(rows, RefusedError):
            return self.deny(request, _denied(verdict, rows.message, QUERY_CANCELED))
        verdict = replace(verdict, estimated_rows=rows)
        try:
            held = Run(request, verdict, state.recorder.statement(request, verdict))
        except SpoolError as error:
            return _spool_refusal(error)
        if verdict.terms.mode == "wait":
            who = f" by {', '.join(verdict.approvers)}" if verdict.approvers else ""
            text = f"waiting for an approval{who}, at most {verdict.hold_seconds} s: {verdict.reason}"
            hint = verdict.hint or "cancel the statement to stop waiting"
            state.notices.append(messages.notice("00000", text, hint=hint))
        release = yield ApprovalWait(request, verdict, held, script.requests)
        assert isinstance(release, Release)
        if release.approved:
            return release, held
        held.result_status = "denied" if release.status == "ok" else release.status
        held.transaction = "none"
        held.sqlstate = QUERY_CANCELED if held.result_status == "cancelled" else verdict.sqlstate
        state.finish(held)
        ended = {
            "denied": "the approval was refused",
            "expired": "nobody approved in time",
            "cancelled": "canceling statement due to user request",
            "error": "the approval can't be used",
        }
        text = release.reason or ended[held.result_status]
        rule = f" (rule {verdict.rule})" if verdict.rule and held.result_status != "cancelled" else ""
        return messages.error(held.sqlstate, text + rule, hint=release.hint or verdict.hint)


def _spent(verdicts: Sequence[Verdict]) -> list[str]:
    """The approvals that these use up: one for each statement, but a script's once for all of it."""
    alone = [verdict.approval for verdict in verdicts if verdict.statements == 1]
    return [*alone, *{verdict.approval for verdict in verdicts if verdict.statements > 1}]


def _lifted_with(candidate: Candidate, lifted: Verdict) -> Candidate:
    """One statement of a script that a grant lets run as a whole."""
    verdict = candidate.verdict
    action: Literal["mask", "allow"] = "mask" if verdict.mask is not None else "allow"
    approval, spends, statements = lifted.approval, lifted.spends, lifted.statements
    verdict = replace(verdict, action=action, approval=approval, spends=spends, statements=statements)
    return replace(candidate, verdict=verdict)


def unparsed(error: RefusedError) -> Verdict:
    """The verdict for a text that libpg_query can't split: nothing is known of it, so it doesn't run."""
    reason = "the statement can't be parsed"  # the grammar's own words quote the text, so only the person sees them
    told = Verdict("deny", Facts(""), "", "", "", reason=reason, message=error.message, hint=error.hint)
    return replace(told, sqlstate=SYNTAX_ERROR, position=error.position)


def _strict(outlook: Outlook, text: str, verdict: Verdict) -> Verdict:
    facts = verdict.facts
    plain = not (facts.settings or facts.copy or facts.prepares or facts.executes or facts.deallocates)
    if plain and outlook.path_known and outlook.text_certain:
        return verdict
    send_sync = "end the pipeline with a Sync (or send the statements one by one) before this statement"
    if name := unpinned(facts):
        return _denied(verdict, f"{name} can't be changed in a session of the tap", FEATURE_NOT_SUPPORTED)
    if unreadable(outlook, text):
        return _denied(
            verdict,
            "an earlier statement of the pipeline may change how this text is read",
            FEATURE_NOT_SUPPORTED,
            send_sync,
        )
    if not outlook.path_known and (facts.relations or facts.functions):
        return _denied(
            verdict, "an earlier statement of the pipeline changes search_path", FEATURE_NOT_SUPPORTED, send_sync
        )
    if facts.copy == "out" and verdict.mask is not None:
        return _denied(verdict, "COPY can't be masked", FEATURE_NOT_SUPPORTED, "use SELECT")
    own = OWN_PREFIX.decode()
    if any((name or "").startswith(own) for name in (facts.prepares, facts.executes, facts.deallocates)):
        return _denied(verdict, f"names that begin with {own} belong to the tap", "42939")
    return verdict


def _denied(verdict: Verdict, reason: str, sqlstate: str, hint: str = "") -> Verdict:
    return replace(verdict, action="deny", reason=reason, sqlstate=sqlstate, hint=hint, mark="none", mask=None)


def _spool_refusal(error: SpoolError | RefusedError) -> bytes:
    return messages.error(
        IO_ERROR, f"the statement can't be written down, so it doesn't run: {error.message}", hint=error.hint
    )
