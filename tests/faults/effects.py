"""A load of writes through the tap, and what the log must hold of it: effects in PostgreSQL against leaves.

A client that loses its connection in the middle can't know whether its statement was committed; the log must. So each
attempt inserts an id of its own, and in the end the rows decide: each has exactly one statement leaf and one change.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import msgspec
import psycopg

from taprail.schemas.records import Envelope, statement_id
from taprail.streams.audit import segment
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.entry import decode_header
from taprail.streams.stream import data_sealer
from taprail.streams.values import Values
from tests.system.installation import Installation, eventually

CLIENTS = 4
PAUSE_SECONDS = 0.03  # between a client's statements: a steady load, not all that the machine can do
SETTLE_SECONDS_MAX = 90.0  # a hanging client of Kafka's is given up after 25 s
FIRST_ID = 1_000_000  # no integer of this size has bytes that look like digits
HANG_SECONDS_MAX = 40.0
# What a client may see: the server or the tap ended the session and says so, or no connection at all.
CONNECTION_ENDED = (None, "57P01", "57P02", "57P03", "08006")
INSERT = re.compile(r"INSERT INTO effects VALUES \((\d+)\)")


class Load:
    """Clients that insert, each attempt an id that was never used before, and go on after every error.

    It runs inside its block, and may be entered again. `slowest_s` is the longest that a write took.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._ids = itertools.count(FIRST_ID)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.slowest_s = 0.0
        self.attempted: set[int] = set()
        self.acknowledged: set[int] = set()
        self.errors: list[psycopg.Error] = []
        self.strange: list[BaseException] = []
        with installation.directly() as connection:
            connection.execute("CREATE TABLE effects (id bigint PRIMARY KEY)")
            connection.execute("ALTER TABLE effects REPLICA IDENTITY FULL")

    def __enter__(self) -> Load:
        self._stop.clear()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(HANG_SECONDS_MAX)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def goes_on(self, writes: int = 10 * CLIENTS) -> None:
        """Wait until so much more was written after what has just happened."""
        wanted = len(self.acknowledged) + writes
        eventually(lambda: len(self.acknowledged) >= wanted, HANG_SECONDS_MAX, "statements run")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._installation.connect("ann") as connection:
                    while not self._stop.is_set():
                        began = time.monotonic()
                        self._write(connection)
                        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                        time.sleep(PAUSE_SECONDS)
            except psycopg.Error as error:
                self.errors.append(error)
                time.sleep(0.05)
            except BaseException as error:
                self.strange.append(error)
                raise

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        """One in three in the simple protocol, one as a bind value, two together in a transaction of their own."""
        (first,) = self._next(1)
        match first % 3:
            case 0:
                connection.execute(f"INSERT INTO effects VALUES ({first})".encode())
                self.acknowledged.add(first)
            case 1:
                connection.execute("INSERT INTO effects VALUES (%s)", [first])
                self.acknowledged.add(first)
            case _:
                ids = {first, *self._next(1)}
                with connection.transaction():
                    for each in ids:
                        connection.execute("INSERT INTO effects VALUES (%s)", [each])
                self.acknowledged |= ids

    def _next(self, count: int) -> list[int]:
        ids = list(itertools.islice(self._ids, count))
        self.attempted.update(ids)
        return ids


class Leaves:
    """What the log holds, read from its segments, the values opened with the data key."""

    def __init__(self, installation: Installation) -> None:
        self.statements: dict[int, list[str]] = defaultdict(list)  # id in the table -> statements that inserted it
        self.named: Counter[tuple[str, str]] = Counter()  # kind and (tap, epoch, sequence)
        self.sequences: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.outcomes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.changes: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.unattributed: set[str] = set()  # operations
        self.alerts: Counter[str] = Counter()  # rules
        self._sealer = data_sealer(installation.loaded)
        book = SchemaBook(installation.log)
        for _, path in segment.segments(installation.log):
            for frame in segment.read_frames(path):
                header = decode_header(frame.entry.header)
                self._take(header.kind, book.decode(header, frame.entry.payload))

    def _take(self, kind: str, record: dict[str, Any]) -> None:
        match kind:
            case "statement" | "outcome" | "session":
                name = statement_id(record["tap"], record["epoch"], record["sequence"])
                self.named[kind, name] += 1
                self.sequences[record["tap"], record["epoch"]].append(record["sequence"])
                if kind == "statement" and (inserted := self._inserted(record)) is not None:
                    self.statements[inserted].append(name)
                if kind == "outcome":
                    about = statement_id(record["tap"], record["statement_epoch"], record["statement_sequence"])
                    self.outcomes[about].append(record)
            case "change" if record["attribution"] == "unattributed":
                self.unattributed.add(record["operation"])
            case "change" if record["table"] == "effects" and record["operation"] == "insert":
                self.changes[int(record["key"].removeprefix("id="))].append(record)
            case "alert":
                self.alerts[record["rule"]] += 1

    def _inserted(self, statement: dict[str, Any]) -> int | None:
        if statement["tag"] != "INSERT" or statement["values"] is None:
            return None
        envelope = msgspec.convert(statement["values"], Envelope)
        values = msgspec.json.decode(self._sealer.open(envelope), type=Values)
        if literal := INSERT.search(values.text):
            return int(literal[1])
        (value,) = values.parameters
        assert value is not None
        return int(value) if value.isdigit() else int.from_bytes(value, "big")  # text or binary format


def account_for(installation: Installation, load: Load, lives: int, *, refused: tuple[str, ...] = ()) -> None:
    """Effects against leaves. `lives` of the tap so far; `refused` are SQLSTATEs that clients might see, too."""
    _clients_saw_clean_errors(load, refused)
    with installation.directly() as connection:
        rows = {row[0] for row in connection.execute("SELECT id FROM effects")}
    assert load.acknowledged <= rows <= load.attempted, "a commit that was acknowledged is gone"
    leaves = _settled(installation, len(rows))
    _each_effect_has_its_leaf(leaves, rows)
    _nothing_is_there_twice_or_missing(leaves, lives)
    verified = installation.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout


def _settled(installation: Installation, rows: int) -> Leaves:
    """When the log has every change, and an end of every statement."""
    open_statements = "SELECT count(*) FROM statements WHERE statement NOT IN (SELECT statement FROM outcomes)"
    inserted = "SELECT count(*) FROM changes WHERE \"table\" = 'effects' AND operation = 'insert'"
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    seen = (-1, -1)
    while seen != (rows, 0) and time.monotonic() < deadline:
        time.sleep(0.5)
        seen = (installation.ask(inserted)[0][0], installation.ask(open_statements)[0][0])
    time.sleep(1)  # whatever would come twice gets the time to come
    return Leaves(installation)


def _clients_saw_clean_errors(load: Load, refused: tuple[str, ...]) -> None:
    """Nothing but lost connections, of a kind that every client knows, and what was expected."""
    assert load.strange == []
    expected = (*CONNECTION_ENDED, *refused)
    assert [e for e in load.errors if not isinstance(e, psycopg.OperationalError) or e.sqlstate not in expected] == []


def _each_effect_has_its_leaf(leaves: Leaves, rows: set[int]) -> None:
    without = sorted(row for row in rows if len(leaves.statements[row]) != 1)
    assert without == [], f"rows without exactly one statement leaf: {without[:5]} of {len(without)}"
    twice = {i: names for i, names in leaves.statements.items() if len(names) > 1}
    assert twice == {}, "nobody inserted an id twice"
    assert {i for i, found in leaves.changes.items() if found} == rows
    for row in rows:
        (change,) = leaves.changes[row]
        named = statement_id(change["tap"], change["epoch"], change["sequence"])
        assert (change["attribution"], [named]) == ("statement", leaves.statements[row]), row
        assert change["person"]["subject"] == "ann"
    for row, (name,) in leaves.statements.items():
        (outcome,) = leaves.outcomes[name]
        if row not in rows:
            assert outcome["transaction_status"] != "committed", f"{name} isn't there and is told as committed"
        elif outcome["status"] == "ok":
            assert outcome["transaction_status"] in ("committed", "open"), (name, outcome)


def _nothing_is_there_twice_or_missing(leaves: Leaves, lives: int) -> None:
    """`lives` of the tap: each is an epoch, and the records of each are numbered without a gap."""
    assert [name for name, count in leaves.named.items() if count != 1] == []
    assert len(leaves.sequences) == lives
    for life, sequences in leaves.sequences.items():
        assert sorted(sequences) == list(range(1, len(sequences) + 1)), f"a gap in {life}"
    assert not {rule for rule in leaves.alerts if rule.startswith("sequence-gap")}
    assert leaves.unattributed == {"ddl"}, "only the table was made round the tap"
