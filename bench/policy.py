"""What policies cost: a verdict that is known, one that isn't, and judging the log again.

The baseline is the same guard with plain Python predicates instead of CEL, and no policy at all. Rules are those that
ship, repeated under other names up to the number that is measured; the statements are the ones of their own tests.

    make bench-policy
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from figures import Figures
from msgspec.structs import replace

from taprail.connectors.postgres.catalog import PostgresCatalog, Snapshot
from taprail.schemas.avro import encode, encode_suffix, enriched_schema_of
from taprail.schemas.guard import Request, SessionContext
from taprail.schemas.ledger import Entry, Header
from taprail.schemas.records import Enrichment, Person, RelationUse, Statement
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.log import Limits, Log
from taprail.streams.audit.signer import KeySigner, default_state, generate_key
from taprail.streams.policy.backtest import backtest
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.example import TABLES, ExampleCatalog, facts_of_example
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.policy.own import NAMES
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.policy import Example, Policy
from taprail.streams.policy.ruling import InForce, PolicySet
from taprail.streams.tap import GARBAGE_THRESHOLD

ROUNDS = 5
TEXTS = 400  # different ones, none of which touches personal data: its lineage has a cost of its own
KNOWN = 20_000
PAST, PAST_TEXTS = 200_000, 2_000


def main() -> None:
    out = Figures("policy")
    gc.freeze()  # as a tap does
    gc.set_threshold(GARBAGE_THRESHOLD)
    sets = {size: PolicySet(_rules(size)) for size in (0, 10, 100)}
    once, known = _per_verdict(sets, _unknown), _per_verdict(sets, _known)
    for size in (10, 100):
        mine, none = statistics.median(known[size]), statistics.median(known[0])
        out.figure(f"a verdict that is known, {size} rules", round(mine, 2), "us", "no rule", round(none, 2))
    for size in (10, 100):
        mine, none = statistics.median(once[size]), statistics.median(once[0])
        out.figure(f"a verdict that isn't, {size} rules", round(mine), "us", "no rule", round(none))
        most = f"a verdict that isn't, {size} rules, p99 (to be under 500)"
        out.figure(most, round(_p99(once[size])), "us", "no rule", round(_p99(once[0])))
    ratio = statistics.median(known[100]) / statistics.median(known[10])
    out.figure("100 rules beside 10, on a statement's path", round(ratio, 2), "times", "to be at most 1.3")
    cel, python = _predicates()
    out.figure(
        "100 conditions over facts that are there, in CEL", round(cel, 1), "us", "plain Python", round(python, 1)
    )
    count, seconds = _backtest()
    rate = round(count / seconds * 60)
    out.figure(f"a backtest of {count:,} statements", rate, "statements/minute", "to be at least 1,000,000")


def _backtest() -> tuple[int, float]:
    """(statements, seconds) of the shipped policies on a log of PAST statements, PAST_TEXTS of them different."""
    with tempfile.TemporaryDirectory() as folder:
        _log(Path(folder))
        started = time.perf_counter()
        report = backtest(Path(folder, "log"), shipped(), RuleSettings(), "UTC", 0, 1 << 62)
        return report.statements, time.perf_counter() - started


def _log(folder: Path) -> None:
    """As the ledger writes it, from records as a tap writes them."""
    (folder / "log").mkdir()
    generate_key(folder / "log.key", "bench")
    number, book = 20, SchemaBook(folder / "log")
    sha256, kind = book.add(number, json.dumps(enriched_schema_of(Statement)))
    empty: dict[str, Any] = {n: 0 if hint in (int, "int") else "" for n, hint in Statement.__annotations__.items()}
    empty |= {"tap": "t", "epoch": 1, "tag": "SELECT", "action": "allow", "environment": "prod", "writes": False}
    empty |= {
        "relations": (RelationUse("public", "orders", "read"),),
        "approvers": (),
        "lineage": (),
        "matched": (),
        "terms": None,
    }
    suffix = encode_suffix(Enrichment("Ann", ("engineers",), True, (), (), 9))
    with Log(
        folder / "log", KeySigner(folder / "log.key", default_state(folder / "log.key"), "bench"), Limits()
    ) as log:
        entries = []
        for sequence in range(1, PAST + 1):
            text = f"SELECT id, total AS t{sequence % PAST_TEXTS} FROM orders WHERE customer_id = $1"
            person = Person(f"p{sequence % 50}", "Ann", "person", ("engineers",))
            values = {"sequence": sequence, "time_us": sequence * 1_000, "normalized": text, "person": person}
            value = b"\0" + number.to_bytes(4, "big") + encode(Statement(**empty | values | {"values": None})) + suffix
            header = Header("taprail.audit", 0, sequence, sequence * 1_000, number, sha256, kind)
            entries.append(Entry(header, value))
        for first in range(0, PAST, 5_000):
            log.append(entries[first : first + 5_000])
            log.publish()


def _rules(size: int) -> list[Policy]:
    """`size` policies that are decided once."""
    from taprail.streams.policy.conditions import condition
    from taprail.streams.policy.policy import listed

    plain = [p for p in shipped().policies if not any(condition(c).live for c in listed(p.match))]
    made = []
    for n in range(size):
        rule = plain[n % len(plain)]
        match = tuple(f"({text}) && statement.kind != 'NONE {n}'" for text in listed(rule.match))  # no two alike
        made.append(replace(rule, id=f"rule-{n}", match=match))
    return made


def _snapshot() -> Snapshot:
    """The tables of policies' tests, as a tap has loaded them."""
    example = ExampleCatalog(TABLES)
    relations = {oid: info for oid in example.oids() if (info := example.by_oid(oid)) is not None}
    return Snapshot(
        relations,
        {(info.schema, info.name): oid for oid, info in relations.items()},
        example.sensitive(),
        builtin=NAMES,
        others=frozenset(),
        volatile=frozenset(),
        plain_names=frozenset(info.name for info in relations.values()),
    )


def _guard(policies: PolicySet) -> tuple[PolicyGuard, SessionContext]:
    catalog = PostgresCatalog()
    catalog.replace(_snapshot())
    guard = PolicyGuard(lambda _: catalog, RuleSettings(), in_force=InForce(policies))
    person = Person("ann", "Ann", "person", ("engineers",))
    return guard, SessionContext("s", "tap", "prod", "main", "shop", "app", person, "oidc")


def _unknown() -> Iterator[str]:
    for n in range(TEXTS):
        yield f"SELECT o.id, o.total AS t{n} FROM orders o WHERE o.customer_id = $1 AND o.total > $2 ORDER BY 1 LIMIT 9"


def _known() -> Iterator[str]:
    for n in range(KNOWN):
        yield f"SELECT id, total FROM orders WHERE id = {n}"


def _per_verdict(sets: Mapping[int, PolicySet], texts: Callable[[], Iterator[str]]) -> dict[int, list[float]]:
    """Microseconds for each verdict, by the set's size; in turns, for a machine has better and worse minutes."""
    taken: dict[int, list[float]] = {size: [] for size in sets}
    for _ in range(ROUNDS):
        for size, policies in sets.items():
            guard, session = _guard(policies)
            guard.judge(Request("SELECT id, total FROM orders WHERE id = 0", session, "simple"))
            requests = [Request(text, session, "simple") for text in texts()]
            for request in requests:
                started = time.perf_counter()
                guard.judge(request)
                taken[size].append((time.perf_counter() - started) * 1e6)
    return taken


def _predicates() -> tuple[float, float]:
    """The conditions of 100 rules over one statement's facts, and the same questions as Python."""
    [facts] = facts_of_example(Example("SELECT id, total FROM orders WHERE id = 1"))
    lasting = {name: facts[name] for name in ("statement", "person", "session")}
    policies = PolicySet(_rules(100))
    s, p, c = cast(Any, facts["statement"]), cast(Any, facts["person"]), cast(Any, facts["session"])
    questions: list[Callable[[], bool]] = [
        lambda: c.protected and any(k.startswith(("DROP", "TRUNCATE")) for k in s.kinds),
        lambda: c.protected and len(s.unfiltered) > 0,
        lambda: p.kind == "agent" and c.protected and (s.writes or s.opaque or s.copy == "in"),
        lambda: any(n in ("pg_catalog.pg_authid.rolpassword", "pg_catalog.pg_shadow.passwd") for n in s.columns),
        lambda: c.protected and any(r.verb == "read" and not r.filtered and len(r.classes) > 0 for r in s.relations),
    ]
    cel = _median(lambda: policies.rule(lasting))
    return cel, _median(lambda: [questions[n % len(questions)]() for n in range(100)])


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def _median(work: Callable[[], object], times: int = 500) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1e6)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
