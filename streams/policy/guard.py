"""The guard: judges a statement by its facts, the session and the catalog. Pure, synchronous, cached.

The cache's key holds everything that a verdict depends on: the normalised text for queries and DML (their literals
decide nothing), the exact text for everything else and for calls that set something, the person, the place, the
search_path and the catalog's epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import json, structs

from taprail.schemas.control import Grant
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import NOT_ASKED, Catalog, Facts, Part, RelationInfo, Request, SessionContext, Verdict
from taprail.streams.masking import plan as masking
from taprail.streams.policy import sql, verdicts
from taprail.streams.policy.changing import Changing, estimate_facts
from taprail.streams.policy.decision import Case, RuleSettings, strictest
from taprail.streams.policy.describe import describe
from taprail.streams.policy.dotted import calls
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.history import History
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.passwords import gives_password
from taprail.streams.policy.policy import Policy
from taprail.streams.policy.prepared import with_body
from taprail.streams.policy.reading import read
from taprail.streams.policy.ruling import InForce, PolicySet
from taprail.streams.policy.safeguards import SAFEGUARDS
from taprail.streams.policy.sizes import LONG_CHARACTERS, TEXT_BYTES_KEPT
from taprail.streams.policy.verdicts import writes_itself

VERDICTS_MAX, SESSIONS_MAX = 20_000, 10_000  # a verdict and what the recorder keeps of it: 4 KB
_END = "; \n\t"
SYNTAX, SYNTAX_ERROR = "syntax", "42601"


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

    def __init__(self, session: SessionContext, shelf: _Shelf, names_client: bool) -> None:
        self.shelf, self._names_client = shelf, names_client
        self._person = session.person
        self._environment, self._database, self._role = session.environment, session.database, session.role
        self._search_path, self._purpose = session.search_path, session.purpose
        self._reshaped, self._client, self._device = session.reshaped, session.client, session.device

    def holds(self, session: SessionContext) -> bool:
        """Whether it is still the session's. The person is compared by identity, which is quick and never too much."""
        return (
            self._person is session.person
            and self._search_path == session.search_path
            and self._purpose == session.purpose
            and self._reshaped == session.reshaped
            and (self._client == session.client or not self._names_client)
            and self._role == session.role
            and self._device == session.device
            and self._database == session.database
            and self._environment == session.environment
        )


class _Limited(NamedTuple):
    """A verdict as it is under these limits, and as it would be if they were used up."""

    limits: tuple[Policy, ...]
    verdict: Verdict
    denied: Verdict


class _Found(NamedTuple):
    """A statement that is understood: its text, and what `_understand` made of it."""

    text: str
    normalised: str
    facts: Facts
    node: Any
    arguments: tuple[Any, ...]
    calls: frozenset[str]


class PolicyGuard:
    """Implements `Guard`. `catalog_of` gives the catalog of a session's database.

    `in_force` are the shipped policies unless others are named. `hash_key_of` gives the key of an environment's masked
    values, b"" where they are redacted. `changing` gives the facts `now` and `history` of a session and counts rows,
    `lifting` what was given for a time and lets a held or denied statement run.
    """

    def __init__(
        self,
        catalog_of: Callable[[str], Catalog],
        settings: RuleSettings,
        hash_key_of: Callable[[str], bytes] = lambda environment: b"",
        *,
        in_force: InForce | None = None,
        changing: Changing | None = None,
        lifting: Callable[[Request, Verdict], Grant | None] = lambda request, verdict: None,
    ) -> None:
        self._lifting = lifting
        self._catalog_of, self._settings, self._hash_key_of = catalog_of, settings, hash_key_of
        self._changing = changing or Changing("UTC", History())
        self._in_force = in_force if in_force is not None else InForce(shipped())
        self._policies: PolicySet = self._in_force.policies
        self.policy_version = policy_version(settings, self._policies)
        self._seats: dict[str, _Seat] = {}  # by session
        self._shelves: dict[tuple[Any, ...], _Shelf] = {}
        self.kept = 0  # verdicts, on all shelves

    def _take_over(self, policies: PolicySet) -> None:
        """From this statement on these policies count, and what was judged by others is forgotten."""
        self._policies = policies
        self.policy_version = policy_version(self._settings, policies)
        self._seats, self._shelves, self.kept = {}, {}, 0

    def split(self, text: str) -> tuple[Part, ...]:
        return sql.split(text)

    def judge(self, request: Request) -> Verdict:
        session = request.session
        if self._in_force.policies is not self._policies:
            self._take_over(self._in_force.policies)
        catalog = self._catalog_of(session.database)
        if not catalog.current:
            return self._unjudged(sql.normalise(request.text), catalog)
        seat = self._seats.get(session.session)
        if seat is None or not seat.holds(session):
            seat = self._sit(session)
        if len(request.text) > LONG_CHARACTERS:  # what is normalised of it is its beginning: no key, and too large
            verdict = self._judge(request.text, sql.normalise(request.text), session, catalog)
            return verdict if verdict.pending is None else self._now(verdict, request)
        shelf = seat.shelf
        if shelf.epoch != catalog.epoch:
            shelf.turn_to(catalog.epoch)
        found = shelf.by_text.get(request.text)
        if found is None:
            normalised = sql.normalise(request.text)
            found = shelf.by_normalised.get(normalised)
            if found is None:
                found = self._judge(request.text, normalised, session, catalog)
                self._remember(shelf, request.text, normalised, found)
        return found if found.pending is None else self._now(found, request)

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        """What lets it run doesn't change how: what is masked stays masked."""
        grant = self._lifting(request, verdict)
        if grant is None:
            return verdict
        action: Literal["mask", "allow"] = "mask" if verdict.mask is not None else "allow"
        spends = grant.kind == "statement"
        return replace(verdict, action=action, approval=grant.grant_id, spends=spends, hint="")

    def _now(self, verdict: Verdict, request: Request) -> Verdict:
        """The verdict at this moment: some policies look at the time, at what was done before, at what is expected."""
        pending, expected = verdict.pending, request.expected
        assert isinstance(pending, verdicts.Pending) and pending.live is not None
        if expected == NOT_ASKED and self._policies.asks_rows and verdict.action != "deny" and pending.live.asks_rows:
            return replace(verdict, needs_rows=True)
        uses = verdict.relations if self._policies.asks_new else ()
        changing = {**self._changing(request.session, uses), "estimate": estimate_facts(expected)}
        ruling, limits = self._policies.rule_live(pending.ruling, pending.live, changing)
        found = verdict if ruling is pending.ruling else verdicts.final(pending._replace(ruling=ruling))
        if limits and found.action != "deny":
            found = self._limited(found, limits, request)
        return found if expected == NOT_ASKED else replace(found, estimated_rows=expected)

    def _limited(self, verdict: Verdict, limits: tuple[Policy, ...], request: Request) -> Verdict:
        """The verdict with its limit of rows; without one where break-glass access would lift the denial beyond it."""
        kept = verdict.limited.made
        if not isinstance(kept, _Limited) or kept.limits != limits:
            limit = verdicts.limit_of(limits, partial(self._changing.meter, request.session.person))
            kept = _Limited(limits, replace(verdict, limit=limit), verdicts.used_up(verdict, limit))
            verdict.limited.made = kept
        grant = self._lifting(request, kept.denied)
        if grant is None or grant.kind != "break_glass":
            return kept.verdict
        return verdict if verdict.action == "hold" else replace(verdict, approval=grant.grant_id)

    def _sit(self, session: SessionContext) -> _Seat:
        if len(self._seats) >= SESSIONS_MAX:
            self._seats.clear()
        names_client = self._policies.names_client
        place = (*_place(session), *((session.client, session.client_address) if names_client else ()))
        seat = self._seats[session.session] = _Seat(session, self._shelves.setdefault(place, _Shelf()), names_client)
        return seat

    def _remember(self, shelf: _Shelf, text: str, normalised: str, verdict: Verdict) -> None:
        facts = verdict.facts
        if facts.executes or facts.fetches or verdict.rule == SYNTAX:
            return  # it depends on what the session has prepared, too
        if self.kept >= VERDICTS_MAX:
            self._seats, self._shelves, self.kept = {}, {}, 0
        self.kept += 1
        if facts.utility or facts.settings or not sql.literals_are_values(text):
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
        reading = read(node, arguments)
        called = calls(reading, session, catalog)
        casts = [f"cast {name}" for name in reading.types if catalog.runs_code(name)]
        if called or casts:
            facts = replace(facts, functions=(*facts.functions, *called, *casts))
        found = _Found(text, normalised, facts, node, arguments, frozenset(called))
        case = self._case(found, session, catalog, masked=not clear)
        asked = structs.replace(case, catalog=catalog)  # what names stood for before DDL counts, too
        told = describe(asked, reading, normalised, fingerprint, writes=writes_itself(facts, catalog))
        ruling, live = self._policies.rule(told)
        if clear and any(match.verdict == "mask" and not match.trial for match in ruling.matches):
            case = self._case(found, session, catalog, masked=True)
        decision = strictest([d for rule in SAFEGUARDS if (d := rule(case)) is not None])
        key = self._hash_key_of(session.environment)
        plan = masking.plan(facts, node, session, case.catalog, key, case.calls) if case.masked else None
        base = verdicts.base(case, normalised, fingerprint, plan, self.policy_version)
        pending = verdicts.Pending(base, decision, ruling, live, self._settings, _unapprovable(text, facts))
        return verdicts.final(pending)

    def _case(self, found: _Found, session: SessionContext, catalog: Catalog, *, masked: bool) -> Case:
        """`masked`: this person sees personal data masked."""
        facts = found.facts
        if session.reshaped and masked and masking.personal(catalog):
            catalog = Reshaped(catalog)
        relations = tuple(catalog.resolve(r.schema, r.name, session.search_path, session.role) for r in facts.relations)
        reaches = masked and masking.reaches(facts, verdicts.judged(facts, relations), catalog)
        settings = self._settings
        return Case(facts, found.node, found.arguments, session, catalog, relations, reaches, settings, found.calls)

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
        return with_body(facts, text)


def _unapprovable(text: str, facts: Facts) -> str:
    """What to do instead, where whoever approves wouldn't see all of it; '' where they would."""
    if len(text.encode()) > TEXT_BYTES_KEPT:
        return f"whoever approves must see all of it: send at most {TEXT_BYTES_KEPT} bytes at once"
    if gives_password(text, facts):
        return "whoever approves must see all of it, and what may hold a password is shown to nobody"
    return ""


class Reshaped:
    """A catalog after DDL in the open transaction: no name is known to stand for what it stood for."""

    current = True

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.epoch = catalog.epoch
        self.builtin, self.volatile, self.sensitive = catalog.builtin, catalog.volatile, catalog.sensitive
        self.callable, self.runs_code = catalog.callable, catalog.runs_code

    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None:
        return None

    def candidates(self, schema: str, name: str, search_path: str, role: str) -> tuple[RelationInfo, ...]:
        return ()

    def named(self, name: str) -> bool:
        return True

    def by_oid(self, oid: int) -> RelationInfo | None:
        return None

    def oids(self) -> frozenset[int]:
        return frozenset()

    def newest(self) -> Mapping[int, int]:
        return {}


def policy_version(settings: RuleSettings, policies: PolicySet) -> str:
    """Names what is in force: the version of the policies, and a hash over the safeguards' files and the settings."""
    digest = hashlib.sha256(json.encode(settings))
    folder = Path(__file__).parent
    for path in [*sorted((folder / "safeguards").glob("*.py")), *sorted((folder.parent / "masking").glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{policies.version}-{digest.hexdigest()[:8]}"


def _place(session: SessionContext) -> tuple[Any, ...]:
    """What of a session a verdict may depend on, but for the client, which few policies name."""
    person = session.person
    return (
        session.environment,
        session.database,
        session.role,
        session.search_path,
        person.issuer,
        person.subject,
        person.name,
        person.kind,
        person.groups,
        person.on_behalf_of,
        person.via,
        session.method,
        session.device,
        session.purpose,
        session.reshaped,
    )
