"""The story, a function a step. Each looks at real evidence: what clients saw, what topics and the log hold."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

from taprail.connectors.kafka.follow import Followed, Follower
from taprail.schemas.records import Alert, Change, Statement, statement_id
from taprail.streams.audit import questions
from taprail.streams.audit.copy import copy_log
from taprail.streams.audit.verify import verify
from taprail.streams.demo.clients import Tap
from taprail.streams.demo.play import Evidence, Step, expect
from taprail.streams.demo.world import DOOMED

ALERT_SECONDS_MAX = 5.0
LOG_SECONDS_MAX = 20.0
NOTEBOOK_ROWS = 100_000


class Scene(Struct, frozen=True):
    """What the steps share: the tap, a way round it, the topics, the approver's hand, and the log."""

    tap: Tap
    round_the_tap: str
    follow: Callable[[], Follower]
    pending: Callable[[str], list[dict[str, Any]]]
    approve: Callable[[str, str], str]
    delivered: Callable[[str, float], Alert | None]
    log: Path
    public_key: Path

    def steps(self) -> list[Step]:
        return [
            Step("ann reads customers in psql: e-mails are masked, ids are not", self.masked_read),
            Step("ann's DROP TABLE in prod is denied, and her session lives", self.denied_drop),
            Step("ann's DELETE without WHERE is held; bob approves; it runs once, its rows name it", self.held_delete),
            Step("the agent without a purpose is refused; with one it is allowed and recorded with it", self.agent),
            Step("somebody updates a row round the tap: alerted within 5 s", self.round_tap),
            Step("a notebook reads 100,000 rows: alerted", self.large_read),
            Step("the log answers: who tried to drop, what was read in bulk, how many agents", self.questions),
            Step("the log verifies; a copy with one byte changed doesn't, and the record is named", self.verified),
        ]

    def masked_read(self) -> Evidence:
        out, err = self.tap.psql_answers("ann", "prod", "SELECT id, email FROM customers ORDER BY id LIMIT 3;\n")
        rows = [line.split(",") for line in out.splitlines()]
        expect([row[0] for row in rows] == ["1", "2", "3"], f"ids {rows}, {err}")
        expect(all("@mail.example" not in row[1] and row[1] for row in rows), f"an e-mail in the clear: {rows}")
        return {"psql": out.splitlines()}

    def denied_drop(self) -> Evidence:
        script = "DROP TABLE customers;\nSELECT 'alive', count(*) FROM orders;\n"
        with self.follow() as follower:
            out, err = self.tap.psql_answers("ann", "prod", script)
            expect("no-drop-in-prod" in err and "ERROR" in err, f"no denial with its rule: {err!r}")
            expect(out.startswith("alive,"), f"the session didn't live: {out!r} {err!r}")
            alert = _alert(follower, "denied-destructive", ALERT_SECONDS_MAX)
        return {"psql": out.splitlines(), "error": err.splitlines(), "alert": alert.title}

    def held_delete(self) -> Evidence:
        with self.follow() as follower:
            psql = self.tap.start_psql("ann", "prod", "DELETE FROM carts;\n")
            (request,) = _eventually(lambda: self.pending("bob"), lambda found: bool(found), 15.0)
            answer = self.approve("bob", request["approval_id"])
            out, err = psql.communicate(timeout=30)
            expect(out.strip() == f"DELETE {DOOMED}", f"psql: {out!r} {err!r}")
            changes = _changes(follower, "carts", "delete", DOOMED)
        (person,) = {c.person.subject if c.person else "nobody" for c in changes}
        expect(person == "ann", f"the deleted rows name {person}")
        expect({c.approval for c in changes} == {request["approval_id"]}, "the rows don't name the approval")
        (statement,) = {statement_id(c.tap, c.epoch, c.sequence) for c in changes}
        return {
            "notice": err.splitlines(),
            "approval": request["approval_id"],
            "answer": answer,
            "statement": statement,
            "rows": [c.key for c in changes],
        }

    def agent(self) -> Evidence:
        question = "SELECT count(*) FROM customers"
        purpose = "answer ticket 4711"
        with self.follow() as follower, self.tap.connect("agent", "prod") as connection:
            refused = ""
            try:
                connection.execute(question)
            except psycopg.Error as error:
                refused = str(error)
            expect("agent-purpose" in refused, f"not refused without a purpose: {refused!r}")
            connection.execute(f"SET taprail.purpose = '{purpose}'")
            row = connection.execute(question).fetchone()

            def with_purpose(followed: Followed) -> bool:
                record = followed.record
                return isinstance(record, Statement) and record.person.kind == "agent" and record.purpose == purpose

            recorded = follower.until(with_purpose, ALERT_SECONDS_MAX)
        if recorded is None:
            expect(False, "no statement of the agent with its purpose on the topic")
        return {"refused": refused.splitlines(), "customers": row, "purpose": purpose}

    def round_tap(self) -> Evidence:
        with self.follow() as follower:
            with psycopg.connect(self.round_the_tap) as connection:
                connection.execute("UPDATE customers SET city = city || ' ' WHERE id = 7")
            committed = time.monotonic()
            alert = _alert(follower, "unattributed-change", ALERT_SECONDS_MAX)
            seconds = round(time.monotonic() - committed, 3)
        return {"alert": alert.title, "summary": alert.summary, "seconds": seconds, "webhook": self._told(alert)}

    def large_read(self) -> Evidence:
        with self.follow() as follower, self.tap.connect("ann", "prod") as connection:
            rows = connection.execute(f"SELECT * FROM orders LIMIT {NOTEBOOK_ROWS}").fetchall()
            expect(len(rows) == NOTEBOOK_ROWS, f"{len(rows)} rows")
            alert = _alert(follower, "large-read", ALERT_SECONDS_MAX)
        return {"rows": len(rows), "alert": alert.title, "summary": alert.summary, "webhook": self._told(alert)}

    def _told(self, alert: Alert) -> str:
        """The same alert at the webhook's receiver, signed."""
        told = self.delivered(alert.alert_id, ALERT_SECONDS_MAX)
        expect(told == alert, f"the webhook was told {told}")
        return f"{alert.alert_id}, its signature holds"

    def questions(self) -> Evidence:
        asked = {
            "who tried to drop a table": questions.WHO_TRIED_TO_DROP,
            "what was read in bulk": questions.READ_IN_BULK,
            "how many agents read customers": questions.AGENTS_THAT_READ.format(relation="customers"),
        }
        evidence: Evidence = {}
        for title, query in asked.items():
            _, rows = _eventually(partial(questions.sql, self.log, query), _answered, LOG_SECONDS_MAX)
            evidence[title] = [list(map(str, row)) for row in rows]
        expect(any("ann" in row for row in evidence["who tried to drop a table"]), f"ann isn't named: {evidence}")
        expect(any("orders" in " ".join(row) for row in evidence["what was read in bulk"]), f"no orders: {evidence}")
        expect(evidence["how many agents read customers"] == [["1"]], f"not one agent: {evidence}")
        return evidence

    def verified(self) -> Evidence:
        with tempfile.TemporaryDirectory(prefix="taprail-demo-") as scratch:
            copy = Path(scratch) / "log"
            copy_log(self.log, copy)
            sound = verify(copy, self.public_key)
            expect(sound.ok, f"the log doesn't verify: {sound.to_text()}")
            segment = min(copy.rglob("*.seg"))
            data = bytearray(segment.read_bytes())
            place = len(data) // 3
            data[place] ^= 1
            segment.write_bytes(data)
            spoilt = verify(copy, self.public_key)
        expect(not spoilt.ok and bool(spoilt.problems), "a changed byte was not seen")
        return {"verified": sound.to_text(), "byte changed": place, "named": [str(p) for p in spoilt.problems[:2]]}


def _alert(follower: Follower, rule: str, seconds_max: float) -> Alert:
    found = follower.until(lambda f: isinstance(f.record, Alert) and f.record.rule == rule, seconds_max)
    expect(found is not None, f"no alert of {rule} within {seconds_max:.0f} s")
    assert found is not None
    alert: Alert = found.record
    return alert


def _changes(follower: Follower, table: str, operation: str, count: int) -> list[Change]:
    changes: list[Change] = []
    deadline = time.monotonic() + LOG_SECONDS_MAX
    while len(changes) < count and time.monotonic() < deadline:
        followed = follower.poll(0.1)
        record = followed.record if followed else None
        if isinstance(record, Change) and (record.table, record.operation) == (table, operation):
            changes.append(record)
    expect(len(changes) == count, f"{len(changes)} {operation}s of {table} instead of {count}")
    return changes


def _eventually(look: Callable[[], Any], held: Callable[[Any], bool], seconds_max: float) -> Any:
    """Look until it holds, or the time is up; returns what was seen last."""
    deadline = time.monotonic() + seconds_max
    while not held(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    expect(held(seen), f"not within {seconds_max:.0f} s: {seen}")
    return seen


def _answered(answer: tuple[Any, list[Any]]) -> bool:
    return any(row[0] for row in answer[1])
