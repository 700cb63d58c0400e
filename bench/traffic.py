"""Records of one tap, as busy applications make them: the same statements again and again, with other values.

Of 1,000 statements four are denied, one is held, two read much, and 80 are masked; nine in ten carry an envelope with
their values. An outcome follows each, and an opened session every two hundredth. 630 bytes a statement, 320 an outcome.
"""

from __future__ import annotations

import io
import random
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
from confluent_kafka import Producer
from msgspec import Struct
from msgspec.structs import replace

from taprail.connectors.kafka.registry import Registry, frame
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.records import Outcome, Person, RelationUse, Session, Statement

PEOPLE, SESSIONS, SHAPES, TABLES = 150, 600, 400, 60
BODIES = 20_000  # records that are made whole; then they come again with other numbers and times
LARGE_READ_ROWS = 50_000
TOPICS: dict[type[Struct], str] = {
    Statement: "taprail.statements",
    Outcome: "taprail.outcomes",
    Session: "taprail.sessions",
}
PRODUCER = {"linger.ms": 2, "compression.type": "lz4", "queue.buffering.max.messages": 200_000}


class Shape(Struct, frozen=True):
    """A statement without its values."""

    tag: str
    normalized: str
    relations: tuple[RelationUse, ...]


class Traffic:
    """`alike` False gives each statement a text of its own, so that nothing that was remembered helps."""

    def __init__(self, endpoints: Endpoints, alike: bool = True) -> None:
        self.tap, self.sequence = f"tap-{secrets.token_hex(4)}", 0
        self._alike = alike
        self._random = random.Random(7)
        self._sealer = Sealer("data-bench", secrets.token_bytes(32))
        registry = Registry(endpoints.registry_url)
        self._frames = {r: frame(registry.register(f"taprail.{r.__name__}", avro.schema_of(r))) for r in TOPICS}
        self._producer = Producer({**endpoints.kafka.client_config("tap"), **PRODUCER})
        fields = avro.schema_of(Statement)["fields"][:5]
        assert fields[-1]["name"] == "session"
        self._head = fastavro.parse_schema({**avro.schema_of(Statement), "name": "Head", "fields": fields})
        self._bodies = [self._cut(record) for record in self._records()]
        self.mean_bytes = statistics.fmean(45 + len(rest) for _, _, rest in self._bodies)

    def send(self, count: int, sent: Callable[[int, float], None] = lambda sequence, at_s: None) -> None:
        """The next `count` records, in the tap's order; `sent` is told of each, with the time it was handed over."""
        for _ in range(count):
            kind, session, rest = self._bodies[self.sequence % len(self._bodies)]
            self.sequence += 1
            at_s = time.time()
            head = io.BytesIO()
            fields = {"tap": self.tap, "epoch": 1, "sequence": self.sequence, "time_us": int(at_s * 1e6)}
            fastavro.schemaless_writer(head, self._head, fields | {"session": session})
            self._produce(TOPICS[kind], self._frames[kind] + head.getvalue() + rest, session)
            sent(self.sequence, at_s)
        self._producer.poll(0)

    def flush(self) -> None:
        self._producer.flush(60)

    def _produce(self, topic: str, value: bytes, key: str) -> None:
        while True:
            try:
                return self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.05)

    def _cut(self, record: Any) -> tuple[type[Struct], str, bytes]:
        """Type, session, and what stands behind the head: it is used with other heads."""
        body = io.BytesIO(avro.encode(record))
        fastavro.schemaless_reader(body, self._head, None)
        return type(record), record.session, body.read()

    def _records(self) -> Iterator[Statement | Outcome | Session]:
        shapes = [_shape(number) for number in range(SHAPES)]
        sessions = [self._session(number) for number in range(SESSIONS)]
        for number in range(BODIES // 2):
            session, shape = self._random.choice(sessions), self._random.choice(shapes)
            if not self._alike:
                shape = replace(shape, normalized=f"{shape.normalized} /* {number} */")
            statement = self._statement(number, session, shape)
            yield statement
            yield self._outcome(number, statement)
            if number % 200 == 0:
                yield session

    def _session(self, number: int) -> Session:
        subject = f"auth0|{number % PEOPLE:024x}"
        person = Person(subject, f"Person {number % PEOPLE}", "person", ("engineers", "oncall"), "https://idp.example/")
        return Session(
            self.tap, 1, 0, 0, f"{self.tap}-{number:05}", "prod", "orders-db", "orders", person, "opened", "oidc",
            "app_engineer", "DBeaver 24.1", f"10.1.{number % 200}.{number % 250}:{40_000 + number}",
        )  # fmt: skip

    def _statement(self, number: int, session: Session, shape: Shape) -> Statement:
        statement = Statement(
            session.tap, 1, 0, 0, session.session, session.environment, session.server, session.database,
            session.person, "", "allow", "default", shape.tag, shape.tag != "SELECT", shape.relations,
            f"{abs(hash(shape)):032x}", shape.normalized, "", "policy-42", 17, session.role, session.client,
            session.client_address, "extended", number, "carried" if shape.tag != "SELECT" else "none",
        )  # fmt: skip
        turn = number % 1000
        if turn % 10:
            values = self._random.randbytes(40 + turn % 160)
            statement = replace(statement, values=self._sealer.seal(values, f"{self.tap}/1/{number}"))
        if turn < 4:
            return replace(statement, action="deny", rule="protected-environment", tag="DROP TABLE")
        if turn == 4:
            return replace(statement, action="hold", rule="large-write", approvers=("data-owners",), expires_us=1)
        if turn % 100 < 9:
            return replace(statement, action="mask", rule="personal-data")
        return statement

    def _outcome(self, number: int, statement: Statement) -> Outcome:
        status = {"deny": "denied", "hold": "expired"}.get(statement.action, "ok")
        much = number % 1000 in (100, 200)
        rows = LARGE_READ_ROWS if much else number % 50
        return Outcome(
            statement.tap, 1, 0, 0, statement.session, statement.environment, statement.server, statement.database,
            statement.person, "", 1, number, status, "SELECT" if much else statement.tag,  # type: ignore[arg-type]
            statement.relations, rows, rows * 120, number % 2, 800 + number, "", number, "committed",
            statement.fingerprint,
        )  # fmt: skip


def _shape(number: int) -> Shape:
    table, other = f"table_{number % TABLES}", f"lines_{number % TABLES}"
    classes = ("email", "name") if number % 5 == 0 else ()
    read, joined = RelationUse("public", table, "read", classes), RelationUse("public", other, "read")
    written = RelationUse("public", table, "write", classes)
    if number % 5 == 3:
        return Shape("UPDATE", f"UPDATE {table} a SET status_{number} = $1, seen = $2 WHERE id = $3", (written,))
    if number % 5 == 4:
        return Shape("INSERT", f"INSERT INTO {table} (a, b, c_{number}) VALUES ($1, $2, $3)", (written,))
    columns = ", ".join(f"{'ab'[i % 2]}.column_{(number + i) % 17}" for i in range(1 + number % 9))
    sql = f"SELECT {columns} FROM {table} a JOIN {other} b ON b.a_id = a.id WHERE a.id = $1 AND b.seen > $2"
    return Shape("SELECT", sql, (read, joined))
