"""From what safeguards and policies say of a statement to the verdict that the tap carries out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from taprail.connectors.postgres.outlook import inert
from taprail.schemas.guard import RETRY_SECONDS, Catalog, Facts, MaskPlan, Meter, RelationInfo, RowLimit, Verdict
from taprail.schemas.records import Demand, RelationUse, Terms
from taprail.streams.policy.decision import Case, Decision, RuleSettings
from taprail.streams.policy.lineage import column_lineage
from taprail.streams.policy.policy import ApprovalTerms, Policy
from taprail.streams.policy.ruling import Live, Ruling
from taprail.streams.policy.sizes import LONG_CHARACTERS

GRANT_SECONDS = 900  # how long an approval lasts that isn't used at once, unless a policy says otherwise
_PLANNED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
_MAKING = ("CREATE TABLE", "CREATE VIEW", "CREATE MATERIALIZED VIEW", "CREATE SEQUENCE", "SELECT INTO", "DROP ")
# PostgreSQL's own functions (and those of extensions that only compute) that are volatile and write nothing that a
# change feed shows; large objects aren't in one.
_HARMLESS = frozenset(
    {
        "array_sample", "array_shuffle", "bernoulli", "clock_timestamp", "current_query", "currval", "lastval",
        "nextval", "random", "random_normal", "setseed", "setval", "system", "timeofday", "set_config", "txid_status",
        "uuidv4", "uuidv7", "gen_random_bytes", "gen_random_uuid", "gen_salt", "pgp_pub_encrypt",
        "pgp_pub_encrypt_bytea", "pgp_sym_encrypt", "pgp_sym_encrypt_bytea", "lo_close", "lo_creat", "lo_create",
        "lo_from_bytea", "lo_get", "lo_lseek", "lo_lseek64", "lo_open", "lo_put", "lo_tell", "lo_tell64", "lo_truncate",
        "lo_truncate64", "lo_unlink", "loread", "lowrite", "pg_advisory_lock", "pg_advisory_lock_shared",
        "pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared", "pg_advisory_xact_lock",
        "pg_advisory_xact_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
        "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared", "pg_available_wal_summaries", "pg_backend_pid",
        "pg_blocking_pids", "pg_cancel_backend", "pg_collation_actual_version", "pg_database_collation_actual_version",
        "pg_database_size", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_indexes_size",
        "pg_isolation_test_session_is_blocked", "pg_jit_available", "pg_lock_status", "pg_notification_queue_usage",
        "pg_notify", "pg_prepared_xact", "pg_relation_size", "pg_safe_snapshot_blocking_pids", "pg_sequence_last_value",
        "pg_size_pretty", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_stat_have_stats", "pg_table_size",
        "pg_tablespace_size", "pg_total_relation_size", "pg_wal_summary_contents",
    }
)  # fmt: skip
_HARMLESS_PREFIXES = ("pg_control_", "pg_current_", "pg_get_", "pg_is_", "pg_last_", "pg_partition_", "pg_show_",
                      "pg_stat_get_", "pg_xact_", "uuid_generate_")  # fmt: skip


class Pending(NamedTuple):
    """A verdict before it is decided.

    base        as if nothing forbade the statement: allow or mask
    decision    a safeguard's
    unapprovable  what to do instead, where whoever approves wouldn't see all of the statement; '' where they would
    """

    base: Verdict
    decision: Decision | None
    ruling: Ruling
    live: Live | None
    settings: RuleSettings
    unapprovable: str


def base(case: Case, normalised: str, fingerprint: str, plan: MaskPlan | None, policy_version: str) -> Verdict:
    facts, catalog = case.facts, case.catalog
    if facts.tag.startswith(_MAKING) and any(catalog.named(r.name) for r in facts.relations if r.access == "write"):
        facts = replace(facts, reshapes=True)  # what it makes may stand before another of its name
    mark: Literal["carried", "none", "impossible"] = "none"
    if may_write(facts, catalog):
        mark = "carried" if facts.markable else "impossible"
    return Verdict(
        "mask" if plan else "allow",
        facts,
        normalised,
        fingerprint,
        policy_version,
        catalog_epoch=catalog.epoch,
        mark=mark,
        mask=plan,
        relations=tuple(map(_classified, facts.relations, case.relations)),
        lineage=_lineage(normalised, case.relations) if len(normalised) <= LONG_CHARACTERS else (),
        inert=inert(facts, mark) and not facts.utility and facts.tag != "SELECT INTO",
        own_code=_own_code(case),
        touches=_touches(case),
        explainable=_explainable(case),
    )


def _own_code(case: Case) -> bool:
    facts = case.facts
    called = (*facts.functions, *(f"operator {name}" for name in facts.operators))
    return not facts.opaque and all(case.catalog.builtin(name) for name in called)


def _touches(case: Case) -> frozenset[str]:
    """All that it can touch by name, below views too; nothing where a name isn't known to stand for what it did."""
    if case.session.reshaped or any(info is None for info in case.relations):
        return frozenset()
    known = [info for info in case.relations if info is not None]
    below = [case.catalog.by_oid(oid) for info in known for oid in info.reads]
    if any(info is None for info in below):
        return frozenset()
    return frozenset(f"{info.schema}.{info.name}" for info in (*known, *below) if info is not None)


def _explainable(case: Case) -> bool:
    """Whether planning it runs nothing but PostgreSQL's own code: views, and tables with code of their own, may."""
    facts = case.facts
    plain = facts.tag in _PLANNED and not (facts.utility or facts.executes or facts.fetches)
    tables = all(info is not None and info.kind in "rp" and not info.code for info in case.relations)
    return plain and tables and _own_code(case)


def final(pending: Pending) -> Verdict:
    """The strictest that anybody says. A policy's `allow` lifts no safeguard."""
    decision, policy = pending.decision, pending.ruling.policy
    verdict = replace(
        pending.base, matched=pending.ruling.matches, pending=pending if pending.live is not None else None
    )
    if decision is not None and decision.action == "deny":
        return replace(verdict, action="deny", rule=decision.rule, reason=decision.reason, hint=decision.hint)
    if policy is not None and policy.verdict == "deny":
        reason, hint = _reason(pending), policy.hint
        # Where a safeguard holds it as well, nothing that lifts the policy may let it run.
        return replace(verdict, action="deny", rule=policy.id, reason=reason, hint=hint, by_policy=decision is None)
    holds = pending.ruling.holds if policy is not None and policy.verdict == "hold" else ()
    if decision is not None:
        reason = "; ".join(dict.fromkeys([decision.reason, *(p.message or p.title for p in holds)]))
        verdict = replace(verdict, rule=decision.rule, reason=reason, hint=decision.hint)
        return _held(pending, verdict, [ApprovalTerms(), *(each.approval for each in holds)])
    if policy is not None and holds:
        others = (each.message or each.title for each in holds if each is not policy)
        reason = "; ".join(dict.fromkeys([_reason(pending), *others]))
        verdict = replace(verdict, rule=policy.id, reason=reason, hint=policy.hint, by_policy=True)
        return _held(pending, verdict, [policy.approval, *(p.approval for p in holds if p is not policy)])
    return verdict


def limit_of(policies: Sequence[Policy], meter: Callable[[int], Meter]) -> RowLimit:
    """The strictest of them: they all count the same rows. `meter` makes one that gives so many."""
    policy = min(policies, key=_rows_per_hour)
    rows = _rows_per_hour(policy)
    return RowLimit(rows, policy.id, policy.message or policy.title, policy.hint, meter(rows))


def used_up(verdict: Verdict, limit: RowLimit) -> Verdict:
    """What it would be if the rows were."""
    return replace(verdict, action="deny", rule=limit.rule, reason=limit.message, hint=limit.hint, by_policy=True)


def _rows_per_hour(policy: Policy) -> int:
    assert policy.rows_per_hour is not None
    return policy.rows_per_hour


def _reason(pending: Pending) -> str:
    """Why, without anything that a person typed as a value."""
    policy = pending.ruling.policy
    assert policy is not None
    if pending.ruling.failed:
        return f"policy {policy.id} couldn't be answered, so it counts: {pending.ruling.failed}"
    return policy.message or policy.title


def _held(pending: Pending, verdict: Verdict, asked: Sequence[ApprovalTerms]) -> Verdict:
    """Held until everybody is asked whom any of these wants, on the strictest of their terms."""
    if pending.unapprovable:
        return replace(verdict, action="deny", hint=pending.unapprovable)
    settings, first = pending.settings, asked[0]
    mode: Literal["wait", "retry"] = "retry" if any(each.mode == "retry" for each in asked) else "wait"
    seconds = settings.hold_seconds if mode == "wait" else RETRY_SECONDS
    demands = [Demand(t.by or settings.approver_groups, t.quorum, t.every_group, t.emergency) for t in asked]
    return replace(
        verdict,
        action="hold",
        approvers=demands[0].approvers,
        hold_seconds=min(each.seconds or seconds for each in asked),
        hold_in_transaction=all(each.in_transaction for each in asked),
        terms=Terms(
            mode=mode,
            quorum=first.quorum,
            every_group=first.every_group,
            emergency=first.emergency,
            ticket=any(each.ticket for each in asked),
            grant_seconds=min(each.grant_seconds or GRANT_SECONDS for each in asked),
            remember_seconds=min(each.remember_days for each in asked) * 86_400,
            also=tuple(each for each in dict.fromkeys(demands) if each != demands[0]),
        ),
    )


def judged(facts: Facts, relations: tuple[RelationInfo | None, ...]) -> list[RelationInfo | None]:
    """The relations that matter to masking: what a statement makes or drops needn't be known."""
    makes = facts.tag.startswith(_MAKING)
    pairs = zip(facts.relations, relations, strict=True)
    return [info for use, info in pairs if info is not None or not (makes and use.access == "write")]


def may_write(facts: Facts, catalog: Catalog) -> bool:
    """Whether a change feed may show something of it, so that it must carry a mark."""
    writes = bool(facts.executes) or writes_itself(facts, catalog)
    return writes and not facts.prepares  # PREPARE runs nothing, and the server keeps its text, mark and all


def writes_itself(facts: Facts, catalog: Catalog) -> bool:
    """Whether its text, or that of what it executes, may change something; the functions that it calls included."""
    called = (*facts.functions, *(f"operator {name}" for name in facts.operators))
    return facts.writes or any(_writing(name, catalog) for name in called)


def _writing(function: str, catalog: Catalog) -> bool:
    if not catalog.builtin(function):
        return True
    name = function.rpartition(".")[2]
    return catalog.volatile(function) and name not in _HARMLESS and not name.startswith(_HARMLESS_PREFIXES)


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
