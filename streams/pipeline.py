"""The statement path, on one page: topic -> step -> topic.

    taprail.statements ─┐ 1 seen?      a spool repeats after a crash: (tap, epoch, sequence) counts once
    taprail.outcomes   ─┤ 2 enrich     person as the directory has it, sensitivity         -> taprail.audit
    taprail.sessions   ─┘ 3 detect     stateless rules on each record                      -> taprail.detections
                            and each policy that denied, held or reported it               -> taprail.matches
                          4 decide     a held statement asks for an approval               -> taprail.approvals
                          5 tell       alerts for people, OCSF for the SIEM                -> taprail.alerts, .siem
                            and goes on where the tap says how its statement ended         -> taprail.approval-states
                          6 account    which sequence numbers were seen                    -> taprail.coverage
    taprail.changes, .decisions, .grants 7 keep: what others decided and attributed        -> taprail.audit

Everything of a batch is one Kafka transaction (`connectors/kafka/loop.py`). The audit body is the record's own bytes
followed by the encoded enrichment, so nothing is encoded again; and what recurs is rendered once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Message
from msgspec import Struct, convert, json

from taprail.connectors.kafka.loop import Out
from taprail.connectors.kafka.registry import frame, unframe
from taprail.connectors.siem.ocsf import datastore_activity, detection_finding
from taprail.schemas import avro, control, reader, records
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RecordError, StackError
from taprail.schemas.records import (
    Approval,
    ApprovalState,
    ApprovalStatus,
    Coverage,
    DeadLetter,
    Detection,
    Person,
    Range,
    Statement,
    Terms,
    approval_id_of,
    statement_id,
)
from taprail.streams.detections.found import Found, alert_of, detection_of, relation_names
from taprail.streams.detections.matched import matched, matches
from taprail.streams.detections.rules import SESSION_RULES, STATEMENT_RULES, Rule, outcome_rules
from taprail.streams.identity.enrich import Directory, enrich_encoded
from taprail.streams.sequence import Seen, ranges

AUDIT = "taprail.audit"
TAPS = {"taprail.statements": "statement", "taprail.outcomes": "outcome", "taprail.sessions": "session"}
PASSED = {
    "taprail.changes": "change",
    "taprail.decisions": "decision",
    "taprail.grants": "grant",
    "taprail.policies": "policy_release",
}
TOPICS = (*TAPS, *PASSED)
POISON_WINDOW, POISON_MIN = 200, 50
RECORD_BYTES_MAX = 950_000  # no tap writes more; with what we add it must still fit into Kafka's 1 MiB
_RECORDS: dict[str, type[Struct]] = {
    "statement": records.Statement,
    "outcome": records.Outcome,
    "session": records.Session,
}
_PASSED: dict[str, type[Struct]] = {
    "change": records.Change,
    "decision": control.SignedRecord,
    "grant": control.SignedRecord,
    "policy_release": control.SignedRecord,
}
_KIND_HEADERS = {
    kind: (("kind", kind.encode()),)
    for kind in (*TAPS.values(), *PASSED.values(), "detection", "alert", "approval", "approval_state")
}


class Frames(Struct, frozen=True):
    """Confluent frames by record: of the enriched records by kind, of all others by type."""

    enriched: Mapping[str, bytes]
    plain: Mapping[type[Struct], bytes]


def register(register_schema: Callable[[str, dict[str, Any]], int]) -> Frames:
    """Register what the pipeline writes. Raises StackError where the registry doesn't answer."""
    enriched = {
        kind: frame(register_schema(f"taprail.Enriched{r.__name__}", avro.enriched_schema_of(r)))
        for kind, r in _RECORDS.items()
    }
    plain = {r: frame(register_schema(f"taprail.{r.__name__}", avro.schema_of(r))) for r in avro.RECORDS}
    return Frames(enriched, plain)


class Pipeline:
    """The step of the loop; see the module. One instance serves one session of the loop."""

    def __init__(self, frames: Frames, directory: Directory, sealer: Sealer, large_read_rows: int) -> None:
        self._frames, self._directory, self._sealer = frames, directory, sealer
        self._rules: dict[str, tuple[Rule, ...]] = {
            "statement": STATEMENT_RULES,
            "outcome": outcome_rules(large_read_rows),
            "session": SESSION_RULES,
        }
        self._types = {
            kind: reader.type_of(avro.schema_of(record), avro.choices_of(record))
            for kind, record in (_RECORDS | _PASSED).items()
        }
        self._seen: dict[tuple[str, int], Seen] = {}
        self._read_well: deque[bool] = deque(maxlen=POISON_WINDOW)
        self._decode_statement = avro.decoder(Statement)

    def restore(self, topic: str, partition: int, kept: str) -> None:
        self._seen[topic, partition] = Seen(kept)

    def forget(self, topic: str, partition: int) -> None:
        self._seen.pop((topic, partition), None)

    def keep(self, topic: str, partition: int) -> str:
        return self._seen[topic, partition].keep()

    def process(self, messages: Sequence[Message]) -> list[Out]:
        out: list[Out] = []
        covered: dict[tuple[str, int], list[int]] = {}
        now_us = time.time_ns() // 1000
        for message in messages:
            topic = message.topic() or ""
            try:
                if topic in PASSED:
                    out.append(self._pass_on(PASSED[topic], message))
                else:
                    self._tap_record(TAPS[topic], message, now_us, covered, out)
                self._read_well.append(True)
            except RecordError as error:
                out.append(self._dead_letter(message, error, now_us))
        for (tap, epoch), sequences in covered.items():
            seen = tuple(Range(first, last) for first, last in ranges(sequences))
            out.append(self._record("taprail.coverage", f"{tap}/{epoch}", Coverage(tap, epoch, now_us, seen)))
        return out

    def _tap_record(
        self, kind: str, message: Message, now_us: int, covered: dict[tuple[str, int], list[int]], out: list[Out]
    ) -> None:
        encoded, record = self._read(kind, message)
        tap, epoch, sequence = record["tap"], record["epoch"], record["sequence"]
        if sequence < 1:
            raise RecordError(f"a {kind} has the number {sequence}; numbers begin at 1")
        if not self._seen[message.topic() or "", message.partition() or 0].new(tap, epoch, sequence):
            return
        covered.setdefault((tap, epoch), []).append(sequence)
        found = [f for rule in self._rules[kind] if (f := rule(record)) is not None]
        if kind == "statement" and record["matched"]:
            found += matched(record)
            out += (self._record("taprail.matches", each.policy, each) for each in matches(record))
        suffix = enrich_encoded(record, self._directory, tuple(f.rule for f in found), now_us)
        value = self._frames.enriched[kind] + encoded + suffix
        out.append(_audit(kind, statement_id(tap, epoch, sequence), value))
        for each in found:
            self._detected(each, detection_of(each, record, kind), out)
        if kind == "statement":
            out.append(Out("taprail.siem", message.key() or b"", json.encode(datastore_activity(record))))
            if record["action"] == "hold":
                self._held(self._decode_statement(encoded), out)
        elif kind == "outcome" and record["approval"] and (state := state_of(record)) is not None:
            out += self._both("taprail.approval-states", "approval_state", f"{state.approval_id}/{state.status}", state)

    def _read(self, kind: str, message: Message) -> tuple[bytes, Mapping[str, Any]]:
        """The Avro body and its fields. It is exactly one record, so that what is appended to it is read as ours."""
        schema_id, encoded = unframe(message.value())
        if len(encoded) > RECORD_BYTES_MAX:
            raise RecordError(f"{len(encoded)} bytes are more than anybody of ours writes")
        try:
            return encoded, reader.read(encoded, self._types[kind])
        except (ValueError, IndexError) as error:
            raise RecordError(f"{len(encoded)} bytes under schema {schema_id} are not a {kind}: {error}") from error

    def _detected(self, found: Found, detection: Detection, out: list[Out]) -> None:
        out += self._both("taprail.detections", "detection", detection.detection_id, detection)
        out.append(Out("taprail.siem", detection.detection_id.encode(), json.encode(detection_finding(detection))))
        if found.alert:
            alert = alert_of(detection)
            out += self._both("taprail.alerts", "alert", alert.alert_id, alert)

    def _held(self, statement: Statement, out: list[Out]) -> None:
        approval = approval_of(statement)
        out += self._both("taprail.approvals", "approval", approval.approval_id, approval)

    def _pass_on(self, kind: str, message: Message) -> Out:
        self._read(kind, message)
        return _audit(kind, (message.key() or b"").decode(errors="replace"), message.value() or b"")

    def _both(self, topic: str, kind: str, key: str, record: Struct) -> tuple[Out, Out]:
        """To its own topic, and into the audit log."""
        value = self._frames.plain[type(record)] + avro.encode(record)
        return Out(topic, key.encode(), value), _audit(kind, key, value)

    def _record(self, topic: str, key: str, record: Struct) -> Out:
        return Out(topic, key.encode(), self._frames.plain[type(record)] + avro.encode(record))

    def _dead_letter(self, message: Message, error: RecordError, now_us: int) -> Out:
        """Keep what can't be read. Where most of it can't, the fault is ours: stop rather than send it all there."""
        self._read_well.append(False)
        bad = self._read_well.count(False)
        if bad >= POISON_MIN and 2 * bad > len(self._read_well):
            raise StackError(
                f"{bad} of the last {len(self._read_well)} records can't be read: {error}",
                hint="taps and streams may be of different versions, or somebody writes to the taps' topics",
            )
        topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        place = f"{topic}/{partition}/{offset}"
        value, reason = message.value() or b"", str(error)
        if len(value) > RECORD_BYTES_MAX:
            reason += f"; the first {RECORD_BYTES_MAX} of its {len(value)} bytes are kept"
        sealed = self._sealer.seal(value[:RECORD_BYTES_MAX], place)
        letter = DeadLetter(topic, partition, offset, now_us, "pipeline", reason, sealed)
        return self._record("taprail.dead-letters", place, letter)


def approval_of(statement: Statement) -> Approval:
    """What a held statement asks for."""
    return Approval(
        approval_id=approval_id_of(statement.tap, statement.epoch, statement.sequence),
        time_us=statement.time_us,
        expires_us=statement.expires_us,
        tap=statement.tap,
        epoch=statement.epoch,
        sequence=statement.sequence,
        session=statement.session,
        environment=statement.environment,
        server=statement.server,
        database=statement.database,
        person=statement.person,
        purpose=statement.purpose,
        role=statement.role,
        rule=statement.rule,
        reason=statement.reason,
        tag=statement.tag,
        relations=relation_names({"relations": avro.plain(statement.relations)}),
        normalized=statement.normalized,
        fingerprint=statement.fingerprint,
        binding=statement.binding,
        approvers=statement.approvers,
        kind="script" if statement.statements > 1 else "statement",
        terms=statement.terms or Terms(),
        remember=statement.remember,
        statements=statement.statements,
        estimated_rows=statement.estimated_rows,
        values=statement.values,
    )


_ENDS: Mapping[str, tuple[ApprovalStatus, str]] = {
    "ok": ("run", ""),
    "error": ("failed", "the statement failed"),
    "unknown": ("failed", "how the statement ended isn't known"),
    "cancelled": ("cancelled", "the requester stopped waiting"),
    "expired": ("expired", "nobody decided in time"),
}


def state_of(outcome: Mapping[str, Any]) -> ApprovalState | None:
    """What an approval came to whose statement has ended; None for a refusal, which its vote has told."""
    ended = _ENDS.get(outcome["status"])
    if ended is None:
        return None
    status, reason = ended
    return ApprovalState(
        approval_id=outcome["approval"],
        time_us=outcome["time_us"],
        status=status,
        environment=outcome["environment"],
        database=outcome["database"],
        person=convert(outcome["person"], Person) if status != "expired" else None,
        reason=f"{reason} (SQLSTATE {outcome['sqlstate']})" if status == "failed" and outcome["sqlstate"] else reason,
    )


def _audit(kind: str, key: str, value: bytes) -> Out:
    return Out(AUDIT, key.encode(), value, _KIND_HEADERS[kind])
