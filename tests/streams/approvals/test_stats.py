"""How many approvals there were, how fast, how many unread: from the log alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from msgspec.structs import replace

from taprail.schemas.avro import encode, encode_suffix, enriched_schema_of, schema_of
from taprail.schemas.ledger import Entry, Header
from taprail.schemas.records import Approval, Enrichment, Outcome, Person, Statement
from taprail.streams.approvals.stats import stats
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.cli import main
from tests.streams.audit.conftest import World

ANN = Person("ann", "Ann", "person")
ENRICHMENT = Enrichment("Ann", (), True, (), (), 9)
SECOND_US = 1_000_000


def empty(kind: type[Any], **fields: Any) -> Any:
    values = {name: 0 if hint in (int, "int") else "" for name, hint in kind.__annotations__.items()}
    lists = {name: () for name in ("relations", "approvers", "lineage", "matched") if name in values}
    return replace(kind(**values), **lists, person=ANN, tap="t", epoch=1, environment="prod", **fields)


def asked(number: int, rule: str, ended: str, seconds: float) -> list[Any]:
    """An approval that ended so, after so many seconds; "" for one that still waits."""
    at_us = number * 1_000 * SECOND_US
    name, end_us = f"t-1-{number}", at_us + int(seconds * SECOND_US)
    records = [empty(Approval, approval_id=name, sequence=number, time_us=at_us, rule=rule, values=None)]
    if ended == "approved":
        records.append(empty(Statement, sequence=number + 500, time_us=end_us, approval=name, writes=True, values=None))
    elif ended:
        records.append(empty(Outcome, sequence=number + 500, time_us=end_us, statement_epoch=1,
                             statement_sequence=number, status=ended))  # fmt: skip
    return records


def log(root: Path, *records: Any) -> Path:
    world = World(root)
    book = SchemaBook(world.directory)
    schemas = {
        Approval: (30, *book.add(30, json.dumps(schema_of(Approval)))),
        **{k: (n, *book.add(n, json.dumps(enriched_schema_of(k)))) for n, k in ((20, Statement), (21, Outcome))},
    }
    with world.open() as open_log:
        for offset, record in enumerate(records):
            number, sha256, kind = schemas[type(record)]
            value = b"\0" + number.to_bytes(4, "big") + encode(record)
            value += b"" if isinstance(record, Approval) else encode_suffix(ENRICHMENT)
            header = Header("taprail.audit", 0, offset, record.time_us, number, sha256, kind)
            open_log.append([Entry(header, value)])
        open_log.publish()
    return world.directory


def test_how_approvals_went_by_rule(tmp_path: Path) -> None:
    directory = log(
        tmp_path,
        *asked(1, "unbounded-write", "approved", 2),
        *asked(2, "unbounded-write", "approved", 60),
        *asked(3, "unbounded-write", "denied", 10),
        *asked(4, "unbounded-write", "expired", 300),
        *asked(5, "opaque-code", "cancelled", 4),
        *asked(6, "opaque-code", "", 0),
    )
    answer = stats(directory, 0, 1 << 62)
    found = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert found == [
        {"rule": "unbounded-write", "environment": "prod", "asked": 4, "approved": 2, "refused": 1, "expired": 1,
         "cancelled": 0, "waiting": 0, "median_s": 35.0, "p95_s": 264.0, "rubber_stamped": 1},
        {"rule": "opaque-code", "environment": "prod", "asked": 2, "approved": 0, "refused": 0, "expired": 0,
         "cancelled": 1, "waiting": 1, "median_s": 4.0, "p95_s": 4.0, "rubber_stamped": 0},
    ]  # fmt: skip
    assert stats(directory, 4_000 * SECOND_US, 5_000 * SECOND_US).rows[0][2] == 1
    run = CliRunner().invoke(
        main, ["approvals", "stats", "--directory", str(directory), "--since", "1969-01-01", "--format", "csv"]
    )
    assert run.exit_code == 0 and run.stdout.splitlines()[1].startswith("unbounded-write,prod,4,2,1,1,0,0,35.0,264.0,1")
