"""The guard: judges a statement by its facts, the session and the catalog. Pure, synchronous, cached.

The cache's key holds everything that a verdict depends on: the normalised text for queries and DML (their literals
decide nothing), the exact text for everything else and for calls that set something, the person, the place, the
search_path and the catalog's epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from msgspec import json, structs

from taprail.connectors.postgres.outlook import inert
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Catalog, Facts, MaskPlan, Part, RelationInfo, Request, SessionContext, Verdict
from taprail.schemas.records import RelationUse
from taprail.streams.masking import plan as masking
from taprail.streams.policy import sql
from taprail.streams.policy.decision import Case, Decision, RuleSettings
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.lineage import column_lineage
from taprail.streams.policy.rules import RULES
from taprail.streams.policy.sizes import LONG_CHARACTERS, TEXT_BYTES_KEPT

VERDICTS_MAX, SESSIONS_MAX = 20_000, 10_000  # a verdict and what the recorder keeps of it: 4 KB
_END = "; \n\t"
SYNTAX, SYNTAX_ERROR = "syntax", "42601"
_MAKING = ("CREATE TABLE", "CREATE VIEW", "CREATE MATERIALIZED VIEW", "CREATE SEQUENCE", "SELECT INTO", "DROP ")
# Functions that are volatile and write nothing that a change feed shows; large objects aren't in one.
_HARMLESS = frozenset(
    {
        "random",
        "clock_timestamp",
        "timeofday",
        "pg_sleep",
        "nextval",
        "setval",
        "set_config",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "random_normal",
        "setseed",
        "pg_notify",
        "currval",
        "lastval",
        "pg_cancel_backend",
        "pg_backend_pid",
        "pg_is_in_recovery",
        "pg_try_advisory_lock",
        "pg_advisory_lock",
        "pg_advisory_unlock",
        "pg_advisory_unlock_all",
        "pg_advisory_xact_lock",
        "pg_try_advisory_xact_lock",
        "pg_table_size",
        "pg_total_relation_size",
        "pg_relation_size",
        "pg_database_size",
        "pg_size_pretty",
        "pg_indexes_size",
        "lo_close",
        "lo_creat",
        "lo_create",
        "lo_from_bytea",
        "lo_lseek",
        "lo_lseek64",
        "lo_open",
        "lo_put",
        "lo_tell",
        "lo_tell64",
        "lo_truncate",
        "lo_truncate64",
        "lo_unlink",
        "loread",
        "lowrite",
    }
)


class _Shelf:
    """The verdicts for all sessions that agree in whatever a verdict may depend on.

    by_text        on texts that are taken exactly, or hold no literal
    by_normalised  on queries and DML
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.by_text: dict[str, Verdict] = {}
        self.by_normalised: dict[str, Verdict] = {}

    def turn_to(self, epoch: int) -> None:
        """Forget what an older catalog said."""
        self.epoch = epoch
        self.by_text.clear()
        self.by_normalised.clear()


class _Seat:
    """One session's place at a shelf, as long as nothing has changed that a verdict may depend on."""

    def __init__(self, session: SessionContext, shelf: _Shelf) -> None:
        self.shelf = shelf
        self._person = session.person
        self._environment, self._database, self._role = session.environment, session.database, session.role
        self._search_path, self._purpose = session.search_path, session.purpose
        self._reshaped = session.reshaped

    def holds(self, session: SessionContext) -> bool:
        """Whether it is still the session's. The person is compared by identity, which is quick and never too much."""
        return (
            self._person is session.person
            and self._search_path == session.search_path
            and self._purpose == session.purpose
            and self._reshaped == session.reshaped
            and self._role == session.role
            and self._database == session.database
            and self._environment == session.environment
        )


class PolicyGuard:
    """Implements `Guard`. `catalog_of` gives the catalog of a session's database.

    `hash_key_of` gives the key of an environment's masked values, b"" where they are redacted.
    """

    def __init__(
        self,
        catalog_of: Callable[[str], Catalog],
        settings: RuleSettings,
        hash_key_of: Callable[[str], bytes] = lambda environment: b"",
    ) -> None:
        self._catalog_of, self._settings, self._hash_key_of = catalog_of, settings, hash_key_of
        self.policy_version = policy_version(settings)
        self._seats: dict[str, _Seat] = {}  # by session
        self._shelves: dict[tuple[Any, ...], _Shelf] = {}
        self.kept = 0  # verdicts, on all shelves

    def split(self, text: str) -> tuple[Part, ...]:
        return sql.split(text)

    def judge(self, request: Request) -> Verdict:
        session = request.session
        catalog = self._catalog_of(session.database)
        if not catalog.current:
            return self._unjudged(sql.normalise(request.text), catalog)
        seat = self._seats.get(session.session)
        if seat is None or not seat.holds(session):
            seat = self._sit(session)
        if len(request.text) > LONG_CHARACTERS:  # what is normalised of it is its beginning: no key, and too large
            return self._judge(request.text, sql.normalise(request.text), session, catalog)
        shelf = seat.shelf
        if shelf.epoch != catalog.epoch:
            shelf.turn_to(catalog.epoch)
        verdict = shelf.by_text.get(request.text)
        if verdict is None:
            normalised = sql.normalise(request.text)
            verdict = shelf.by_normalised.get(normalised)
            if verdict is None:
                verdict = self._judge(request.text, normalised, session, catalog)
                self._remember(shelf, request.text, normalised, verdict)
        return verdict

    def _sit(self, session: SessionContext) -> _Seat:
        if len(self._seats) >= SESSIONS_MAX:
            self._seats.clear()
        seat = self._seats[session.session] = _Seat(session, self._shelves.setdefault(_place(session), _Shelf()))
        return seat

    def _remember(self, shelf: _Shelf, text: str, normalised: str, verdict: Verdict) -> None:
        facts = verdict.facts
        if facts.executes or facts.fetches or verdict.rule == SYNTAX:
            return  # it depends on what the session has prepared, too
        if self.kept >= VERDICTS_MAX:
            self._seats, self._shelves, self.kept = {}, {}, 0
        self.kept += 1
        if facts.utility or facts.settings:
            shelf.by_text[text] = verdict
        else:
            shelf.by_normalised[normalised] = verdict
            if text.rstrip(_END) == normalised.rstrip(_END):
                shelf.by_text[text] = verdict

    def _unjudged(self, normalised: str, catalog: Catalog) -> Verdict:
        return Verdict(
            "deny",
            Facts(""),
            normalised,
            sql.fingerprint(normalised),
            self.policy_version,
            catalog_epoch=catalog.epoch,
            needs_catalog=True,
            rule="catalog",
            reason="the catalog isn't current",
            hint="try again",
        )

    def _judge(self, text: str, normalised: str, session: SessionContext, catalog: Catalog) -> Verdict:
        fingerprint = sql.fingerprint(normalised)
        try:
            facts, node, arguments = self._understand(text, session)
        except RefusedError as error:
            return Verdict(
                "deny",
                Facts(""),
                normalised,
                fingerprint,
                self.policy_version,
                catalog_epoch=catalog.epoch,
                rule=SYNTAX,
                reason="the statement can't be parsed" if isinstance(error, sql.UnparsableError) else error.message,
                message=error.message,
                hint=error.hint,
                sqlstate=SYNTAX_ERROR,
                position=error.position,
            )
        clear = set(session.person.groups) & set(self._settings.clear_groups)
        if session.reshaped and not clear and masking.personal(catalog):
            catalog = Reshaped(catalog)
        relations = tuple(catalog.resolve(r.schema, r.name, session.search_path, session.role) for r in facts.relations)
        masked = not clear and masking.reaches(facts, _judged(facts, relations), catalog)
        case = Case(facts, node, arguments, session, catalog, relations, masked, self._settings)
        decision = _first([d for rule in RULES if (d := rule(case)) is not None])
        if decision is not None and decision.action == "hold" and len(text.encode()) > TEXT_BYTES_KEPT:
            hint = f"whoever approves must see all of it: send at most {TEXT_BYTES_KEPT} bytes at once"
            decision = structs.replace(decision, action="deny", hint=hint)
        key = self._hash_key_of(session.environment)
        plan = masking.plan(facts, node, session, catalog, key) if masked else None
        return self._verdict(facts, normalised, catalog, decision, plan, relations)

    def _verdict(
        self,
        facts: Facts,
        normalised: str,
        catalog: Catalog,
        decision: Decision | None,
        plan: MaskPlan | None,
        relations: tuple[RelationInfo | None, ...],
    ) -> Verdict:
        if facts.tag.startswith(_MAKING) and any(catalog.named(r.name) for r in facts.relations if r.access == "write"):
            facts = replace(facts, reshapes=True)  # what it makes may stand before another of its name
        writes = facts.writes or bool(facts.executes) or any(_may_write(f, catalog) for f in facts.functions)
        writes = writes and not facts.prepares  # PREPARE runs nothing, and the server keeps its text, mark and all
        mark: Literal["carried", "none", "impossible"] = "none"
        if writes:
            mark = "carried" if facts.markable else "impossible"
        verdict = Verdict(
            decision.action if decision else "mask" if plan else "allow",
            facts,
            normalised,
            sql.fingerprint(normalised),
            self.policy_version,
            catalog_epoch=catalog.epoch,
            mark=mark,
            mask=plan,
            relations=tuple(map(_classified, facts.relations, relations)),
            lineage=_lineage(normalised, relations) if len(normalised) <= LONG_CHARACTERS else (),
            inert=inert(facts, mark) and not facts.utility and facts.tag != "SELECT INTO",
        )
        if decision is None:
            return verdict
        holds = decision.action == "hold"
        return replace(
            verdict,
            rule=decision.rule,
            reason=decision.reason,
            hint=decision.hint,
            approvers=self._settings.approver_groups if holds else (),
            hold_seconds=self._settings.hold_seconds,
        )

    def _understand(self, text: str, session: SessionContext) -> tuple[Facts, Any, tuple[Any, ...]]:
        """Facts and parse tree, and what EXECUTE passes: it and FETCH are what was prepared or declared.

        Raises RefusedError.
        """
        statements = sql.parse(text).stmts
        if len(statements) > 1:
            raise RefusedError("several statements where one was expected", hint="send them one by one")
        if not statements:
            return Facts("", markable=False), sql.parse("SELECT 1").stmts[0].stmt, ()
        node = statements[0].stmt
        facts = facts_of(node)
        if facts.executes:
            execute = node.explain_stmt.query.execute_stmt if node.HasField("explain_stmt") else node.execute_stmt
            known = session.prepared.get(facts.executes)
            return *self._prepared(facts, known, "prepared statement", facts.executes), tuple(execute.params)
        if facts.fetches:
            return *self._prepared(facts, session.cursors.get(facts.fetches), "cursor", facts.fetches), ()
        return facts, node, ()

    def _prepared(self, facts: Facts, text: str | None, what: str, name: str) -> tuple[Facts, Any]:
        if text is None:
            raise RefusedError(
                f"the tap doesn't know the {what} {name!r}", hint=f"make the {what} in this session, by SQL"
            )
        node = sql.parse(text).stmts[0].stmt
        inner = facts_of(node)
        kind = node.WhichOneof("node")
        body = node.prepare_stmt.query if kind == "prepare_stmt" else node.declare_cursor_stmt.query
        made = replace(
            inner,
            tag=facts.tag,
            relations=(*inner.relations, *facts.relations),
            functions=(*inner.functions, *facts.functions),
            operators=(*inner.operators, *facts.operators),
            settings=(*inner.settings, *facts.settings),
            executes=facts.executes,
            fetches=facts.fetches,
            prepares="",
            declares="",
            utility=True,
            explain_analyze=facts.explain_analyze,
            writes=inner.writes and bool(facts.executes) and (facts.tag != "EXPLAIN" or facts.explain_analyze),
        )
        return made, body


class Reshaped:
    """A catalog after DDL in the open transaction: no name is known to stand for what it stood for."""

    current = True

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.epoch = catalog.epoch
        self.builtin, self.volatile, self.sensitive = catalog.builtin, catalog.volatile, catalog.sensitive

    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None:
        return None

    def named(self, name: str) -> bool:
        return True

    def by_oid(self, oid: int) -> RelationInfo | None:
        return None

    def oids(self) -> frozenset[int]:
        return frozenset()

    def newest(self) -> Mapping[int, int]:
        return {}


def policy_version(settings: RuleSettings) -> str:
    """Names the policy in force: a hash over the rules' files and their settings."""
    digest = hashlib.sha256(json.encode(settings))
    folder = Path(__file__).parent
    for path in [*sorted((folder / "rules").glob("*.py")), *sorted((folder.parent / "masking").glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _place(session: SessionContext) -> tuple[Any, ...]:
    """What of a session a verdict may depend on."""
    person = session.person
    return (
        session.environment,
        session.database,
        session.role,
        session.search_path,
        person.subject,
        person.kind,
        person.groups,
        session.purpose,
        session.reshaped,
    )


def _judged(facts: Facts, relations: tuple[RelationInfo | None, ...]) -> list[RelationInfo | None]:
    """The relations that matter to masking: what a statement makes or drops needn't be known."""
    makes = facts.tag.startswith(_MAKING)
    pairs = zip(facts.relations, relations, strict=True)
    return [info for use, info in pairs if info is not None or not (makes and use.access == "write")]


def _first(decisions: list[Decision]) -> Decision | None:
    return next((d for d in decisions if d.action == "deny"), decisions[0] if decisions else None)


def _may_write(function: str, catalog: Catalog) -> bool:
    return catalog.volatile(function) and function.rpartition(".")[2] not in _HARMLESS


def _lineage(normalised: str, relations: tuple[RelationInfo | None, ...]) -> tuple[str, ...]:
    """Where personal data goes. Other statements are spared the milliseconds that it costs, once for each text."""
    known = [info for info in relations if info is not None]
    personal = any(column.data_class for info in known for column in info.columns)
    return column_lineage(normalised, known) if personal else ()


def _classified(use: RelationUse, info: RelationInfo | None) -> RelationUse:
    if info is None:
        return use
    classes = tuple(sorted({c.data_class for c in info.columns if c.data_class}))
    return RelationUse(info.schema, info.name, use.access, classes)
