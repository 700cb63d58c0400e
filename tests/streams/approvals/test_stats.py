"""How many approvals there were, how fast, how many unread: from the log alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from msgspec.structs import replace

from taprail.schemas.avro import encode, encode_suffix, enriched_schema_of, schema_of
from taprail.schemas.ledger import Entry, Header
from taprail.schemas.records import Approval, ApprovalState, ApprovalStatus, Enrichment, Person, Statement, Terms
from taprail.streams.approvals.stats import stats
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.cli import main
from tests.streams.audit.conftest import World

ANN = Person("ann", "Ann", "person")
ENRICHMENT = Enrichment("Ann", (), True, (), (), 9)
SECOND_US = 1_000_000


def empty(kind: type[Any], **fields: Any) -> Any:
    values = {name: 0 if hint in (int, "int") else "" for name, hint in kind.__annotations__.items()}
    given = {"relations": (), "approvers": (), "lineage": (), "matched": (), "terms": None, "values": None}
    common = {"person": ANN, "tap": "t", "epoch": 1, "environment": "prod"}
    return replace(kind(**values), **({n: v for n, v in given.items() if n in values} | common | fields))


def asked(number: int, rule: str, *steps: tuple[ApprovalStatus, float]) -> list[Any]:
    """An approval, and what it came to after how many seconds."""
    at_us, name = number * 1_000 * SECOND_US, f"t-1-{number}"
    held = empty(Approval, approval_id=name, sequence=number, time_us=at_us, rule=rule, terms=Terms(), access=None)
    states = [
        ApprovalState(name, at_us + int(seconds * SECOND_US), status, "prod", "shop", ANN) for status, seconds in steps
    ]
    return [held, ApprovalState(name, at_us, "requested", "prod", "shop", ANN), *states]


def log(root: Path, *records: Any) -> Path:
    world = World(root)
    book = SchemaBook(world.directory)
    schemas = {
        **{k: (n, *book.add(n, json.dumps(schema_of(k)))) for n, k in ((30, Approval), (31, ApprovalState))},
        Statement: (20, *book.add(20, json.dumps(enriched_schema_of(Statement)))),
    }
    with world.open() as open_log:
        for offset, record in enumerate(records):
            number, sha256, kind = schemas[type(record)]
            value = b"\0" + number.to_bytes(4, "big") + encode(record)
            value += encode_suffix(ENRICHMENT) if isinstance(record, Statement) else b""
            header = Header("taprail.audit", 0, offset, record.time_us, number, sha256, kind)
            open_log.append([Entry(header, value)])
        open_log.publish()
    return world.directory


def test_how_approvals_went_by_rule(tmp_path: Path) -> None:
    directory = log(
        tmp_path,
        *asked(1, "unbounded-write", ("approved", 2), ("run", 3)),
        *asked(2, "unbounded-write", ("approved", 60), ("failed", 61)),
        *asked(2, "unbounded-write", ("approved", 60)),  # told again after a crash
        *asked(3, "unbounded-write", ("refused", 10)),
        *asked(4, "unbounded-write", ("expired", 300)),
        *asked(5, "opaque-code", ("cancelled", 4)),
        *asked(6, "opaque-code"),
        empty(Statement, sequence=900, time_us=1, rule="opaque-code", approval="t-1-1-remembered", writes=True),
        empty(Statement, sequence=901, time_us=1, rule="opaque-code", approval="t-1-1", held_sequence=1, writes=True),
    )
    answer = stats(directory, 0, 1 << 62)
    found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert found == [
        {"rule": "unbounded-write", "environment": "prod", "asked": 4, "approved": 2, "refused": 1, "expired": 1,
         "cancelled": 0, "failed": 1, "waiting": 0, "median_s": 10.0, "p95_s": 55.0, "rubber_stamped": 1, "spared": 0},
        {"rule": "opaque-code", "environment": "prod", "asked": 2, "approved": 0, "refused": 0, "expired": 0,
         "cancelled": 1, "failed": 0, "waiting": 1, "median_s": None, "p95_s": None, "rubber_stamped": 0, "spared": 1},
    ]  # fmt: skip
    assert stats(directory, 4_000 * SECOND_US, 5_000 * SECOND_US).rows[0][2] == 1
    run = CliRunner().invoke(
        main, ["approvals", "stats", "--directory", str(directory), "--since", "1969-01-01", "--format", "csv"]
    )
    assert run.exit_code == 0 and run.stdout.splitlines()[1].startswith(
        "unbounded-write,prod,4,2,1,1,0,1,0,10.0,55.0,1,0"
    )
