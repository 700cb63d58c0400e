"""Changed policies on what was run: who and what would newly be denied, held, masked or alerted."""

from __future__ import annotations

import json as plain_json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import json
from msgspec.structs import replace

from taprail.schemas.avro import encode, encode_suffix, enriched_schema_of
from taprail.schemas.errors import RefusedError
from taprail.schemas.ledger import Entry, Header
from taprail.schemas.records import Enrichment, Outcome, Person, PolicyMatch, RelationUse, Session, Statement
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.cli import main
from taprail.streams.policy import sql
from taprail.streams.policy.backtest import Report, backtest
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.policy import Policy
from taprail.streams.policy.recorded import why
from taprail.streams.policy.ruling import PolicySet
from tests.streams.audit.conftest import World

ANN = Person("ann", "Ann", "person", ("engineers",))
BOT = Person("bot", "Bot", "agent")
CUSTOMERS = RelationUse("public", "customers", "read", ("email", "phone"))
ORDERS = RelationUse("public", "orders", "write")
NOON_US = 12 * 3_600_000_000
ENRICHMENT = Enrichment("Ann", ("engineers",), True, (), (), 9)


class Past:
    """A log of statements; each has the next number."""

    def __init__(self, root: Path) -> None:
        self.world, self.records = World(root), list[Statement | Outcome | Session]()
        self.is_kept = False

    def ran(self, text: str, *relations: RelationUse, times: int = 1, rows: int = 0, **fields: Any) -> None:
        node = sql.parse(text).stmts[0].stmt
        facts, normalised = facts_of(node), sql.normalise(text)
        empty = {n: 0 if hint in (int, "int") else "" for n, hint in Statement.__annotations__.items()}
        ends = {n: 0 if hint in (int, "int") else "" for n, hint in Outcome.__annotations__.items()}
        for _ in range(times):
            number = len(self.records) + 1
            given = {
                "action": "allow",
                "person": ANN,
                "environment": "prod",
                "database": "shop",
                "matched": (),
                "terms": None,
            }
            given |= {"time_us": NOON_US + number * 1_000_000} | fields
            made = replace(
                Statement(**empty), tap="t", epoch=1, sequence=number, tag=facts.tag, writes=facts.writes,  # type: ignore[arg-type]
                normalized=normalised, fingerprint=sql.fingerprint(normalised), relations=relations, approvers=(),
                lineage=(), values=None, **given,
            )  # fmt: skip
            ended = replace(
                Outcome(**ends), tap="t", epoch=1, sequence=number + 1, time_us=made.time_us, person=made.person,  # type: ignore[arg-type]
                statement_epoch=1, statement_sequence=number, status="ok", relations=(), rows=rows,
            )  # fmt: skip
            self.records += [made, ended]

    def opened(self, session: str, method: Any, device: str = "", tap: str = "t") -> None:
        number = len(self.records) + 1
        self.records.append(
            Session(tap, 1, number, NOON_US, session, "prod", "main", "shop", ANN, "opened", method, "app", "", "",
                    device=device)
        )  # fmt: skip

    def kept(self, schema_of_session: Any = None) -> Path:
        """`schema_of_session` is an older one, whose records end before `device`."""
        self.is_kept, book = True, SchemaBook(self.world.directory)
        schemas = {
            kind: (number, *book.add(number, plain_json.dumps(schema)))
            for number, kind, schema in (
                (20, Statement, enriched_schema_of(Statement)), (21, Outcome, enriched_schema_of(Outcome)),
                (22, Session, schema_of_session or enriched_schema_of(Session)),
            )
        }  # fmt: skip
        with self.world.open() as log:
            for offset, record in enumerate(self.records):
                number, sha256, kind = schemas[type(record)]
                encoded = encode(record)
                if schema_of_session and isinstance(record, Session):
                    assert encoded.endswith(b"\0"), "no device"
                    encoded = encoded[:-1]
                value = b"\0" + number.to_bytes(4, "big") + encoded + encode_suffix(ENRICHMENT)
                log.append([Entry(Header("taprail.audit", 0, offset, record.time_us, number, sha256, kind), value)])
            log.publish()
        return self.world.directory


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def policy(verdict: Any, match: Any, **fields: Any) -> Policy:
    return Policy(fields.pop("id", f"p-{verdict}"), "A title", "low", verdict, match, **fields)


def replayed(past: Past, *policies: Policy, since_us: int = 0, learning_days: int = 0) -> Report:
    settings = RuleSettings(clear_groups=("data-owners",))
    directory = past.world.directory if past.is_kept else past.kept()
    return backtest(directory, PolicySet(policies), settings, "UTC", since_us, 1 << 62, learning_days=learning_days)


def found(report: Report) -> set[tuple[str, str, str, int]]:
    return {(d.kind, d.policy, d.person, d.count) for d in report.differences}


def test_what_would_newly_be_stopped_with_who_and_how_often(past: Past) -> None:
    past.ran("DELETE FROM orders WHERE id = 1", ORDERS, times=3)
    past.ran("DELETE FROM orders WHERE id = 2", ORDERS, person=BOT)
    past.ran("SELECT 1")
    report = replayed(past, policy("deny", "'DELETE' in statement.kinds && person.kind == 'agent'"),
                    policy("hold", "'DELETE' in statement.kinds && person.kind == 'person'"))  # fmt: skip
    assert found(report) == {("denied", "p-deny", "Bot", 1), ("held", "p-hold", "Ann", 3)}
    assert (report.statements, report.groups, report.unreplayed) == (5, 3, {})
    held = next(d for d in report.differences if d.kind == "held")
    assert (held.statement, held.first, held.before, held.after) == (
        "DELETE FROM orders WHERE id = $1", "t/1/1", "allow", "hold",
    )  # fmt: skip


def test_what_was_so_before_is_no_difference(past: Past) -> None:
    past.ran("DELETE FROM orders", ORDERS, action="hold", rule="p-hold")
    past.ran("SELECT 1", matched=(PolicyMatch("p-alert", "alert", "low", "t"),))
    report = replayed(
        past, policy("hold", "size(statement.unfiltered) > 0"), policy("alert", "statement.kind == 'SELECT'")
    )
    assert report.differences == ()


def test_what_stopped_it_before_and_would_not_is_lifted(past: Past) -> None:
    past.ran("DELETE FROM orders", ORDERS, action="deny", rule="old-rule")
    assert found(replayed(past, policy("alert", "false"))) == {("lifted", "old-rule", "Ann", 1)}


def test_a_safeguards_verdict_stays(past: Past) -> None:
    past.ran("SET ROLE postgres", action="deny", rule="session-identity")
    assert replayed(past, policy("allow", "true")).differences == ()


def test_groups_and_classes_are_those_of_then(past: Past) -> None:
    past.ran("SELECT email FROM customers", CUSTOMERS, action="mask")
    past.ran("SELECT email FROM customers", CUSTOMERS, person=replace(ANN, name="Owner", groups=("data-owners",)))
    past.ran("SELECT id FROM customers", CUSTOMERS, person=replace(ANN, name="Owner", groups=("data-owners",)))
    past.ran("SELECT * FROM customers", replace(CUSTOMERS, classes=()))
    clear = policy("deny", ("'email' in statement.classes", "!statement.masked"))
    assert found(replayed(past, clear)) == {("denied", "p-deny", "Owner", 1)}


def test_functions_and_operators_of_somebodys_own_are_told_by_their_names(past: Past) -> None:
    for called in ("score(id)", "public.lower(note)", "note ~~~~ 'x'", "lower(note)", "note <-> 'x'", "id = 1"):
        past.ran(f"SELECT 1 FROM orders WHERE {called} IS NOT NULL", replace(ORDERS, access="read"))
    own = policy("deny", "size(statement.foreign_functions) > 0")
    report = replayed(past, own)
    assert found(report) == {("denied", "p-deny", "Ann", 1)}
    stopped = [d.statement.split("WHERE ")[1].split(" IS")[0] for d in report.differences]
    assert stopped == ["score(id)", "public.lower(note)", "note ~~~~ $2"]


def test_the_time_is_that_of_each_statement(past: Past) -> None:
    for hour in (3, 12, 4):
        past.ran("SELECT 1", time_us=hour * 3_600_000_000)
    night = policy("deny", ("statement.kind == 'SELECT'", "now.hour < 6"))
    assert found(replayed(past, night)) == {("denied", "p-deny", "Ann", 2)}


@pytest.mark.parametrize(
    "much",
    [policy("deny", "history.rows_last_hour >= 100"), policy("deny", "true", rows_per_hour=100)],
)
def test_what_was_read_before_counts(past: Past, much: Policy) -> None:
    past.ran("SELECT id FROM orders", RelationUse("public", "orders", "read"), times=4, rows=40)
    past.ran("SELECT id FROM orders", RelationUse("public", "orders", "read"), time_us=NOON_US + 2 * 3_600_000_000)
    assert found(replayed(past, much)) == {("denied", "p-deny", "Ann", 1)}, (
        "the fourth; two hours later it is forgotten"
    )


def test_how_somebody_signed_in_and_from_where_is_the_sessions(past: Past) -> None:
    past.opened("s-1", "oidc", "laptop-7")
    past.opened("s-2", "certificate", "sha256:ab")
    past.opened("s-2", "scram", "another", tap="other")
    for session in ("s-1", "s-2", "s-2", "s-3"):
        past.ran("SELECT 1", session=session)
    devices = [policy("deny", f"session.device == '{device}'", id=f"d-{device[:3]}") for device in ("laptop-7", "")]
    ways = [policy("alert", f"session.method == '{way}'", id=way) for way in ("oidc", "certificate", "scram", "none")]
    assert found(replayed(past, *devices, *ways)) == {
        ("denied", "d-lap", "Ann", 1), ("denied", "d-", "Ann", 1),
        ("alerted", "oidc", "Ann", 1), ("alerted", "certificate", "Ann", 2), ("alerted", "none", "Ann", 1),
    }  # fmt: skip


def test_a_log_of_before_the_device_is_read(past: Past) -> None:
    past.opened("s-1", "oidc")
    past.ran("SELECT 1", session="s-1")
    before = enriched_schema_of(Session)
    before = {**before, "fields": [field for field in before["fields"] if field["name"] != "device"]}
    past.kept(before)
    unknown = policy("deny", ("session.method == 'oidc'", "session.device == ''"))
    assert found(replayed(past, unknown)) == {("denied", "p-deny", "Ann", 1)}
    [said] = why(past.world.directory, [unknown], "t/1/2", "UTC").policies
    assert said.matches


def test_what_the_planner_expected_then(past: Past) -> None:
    for rows in (5_000, 20_000, -1, 0):
        past.ran("DELETE FROM orders WHERE id > 1", ORDERS, estimated_rows=rows)
    many, unknown = policy("hold", "estimate.rows > 10000"), policy("deny", "!estimate.known")
    report = replayed(past, many, unknown)
    assert found(report) == {("held", "p-hold", "Ann", 1), ("denied", "p-deny", "Ann", 1)}
    [said] = why(past.world.directory, [many], "t/1/3", "UTC").policies
    assert said.matches
    [said] = why(past.world.directory, [many], "t/1/1", "UTC").policies
    assert not said.matches


def test_what_somebody_touches_for_the_first_time(past: Past) -> None:
    day = 86_400_000_000
    for times, person in enumerate((ANN, ANN, BOT)):
        past.ran("SELECT 1", CUSTOMERS, time_us=NOON_US + times * day, person=person)
    past.ran("SELECT 2", CUSTOMERS, ORDERS, time_us=NOON_US + 3 * day)
    past.ran("SELECT 3", CUSTOMERS, time_us=NOON_US + 4 * day, database="copy")
    past.ran("SELECT 4", CUSTOMERS, time_us=NOON_US + 5 * day, person=replace(ANN, issuer="another"))
    new = policy("alert", "size(history.new_relations) > 0")

    def told(**fields: Any) -> list[tuple[int, int]]:
        """The first one's number, and how many there are."""
        found = replayed(past, new, **fields).differences
        return sorted((int(each.first.rpartition("/")[2]), each.count) for each in found)

    assert told() == [(1, 1), (5, 1), (7, 1), (9, 1), (11, 1)]
    assert told(since_us=NOON_US + day) == [(5, 1), (7, 1), (9, 1), (11, 1)], "what was before is known all the same"
    assert told(learning_days=3) == [(7, 1), (9, 1), (11, 1)]
    assert told(learning_days=6) == []


def test_only_what_has_run_is_familiar(past: Past) -> None:
    past.ran("SELECT id FROM customers", CUSTOMERS, action="deny", rule="before")
    past.records[-1] = replace(past.records[-1], status="denied")
    past.ran("SELECT id FROM customers", CUSTOMERS)
    past.ran("SELECT id FROM customers", CUSTOMERS)
    new = policy("alert", "history.new_relations == ['public.customers']")
    assert {d for d in found(replayed(past, new)) if d[0] == "alerted"} == {("alerted", "p-alert", "Ann", 1)}


def test_what_cannot_be_judged_again_is_counted(past: Past) -> None:
    past.ran("EXECUTE p", times=2)
    past.ran("SELECT 1")
    report = replayed(past, policy("alert", "true"))
    assert sum(report.unreplayed.values()) == 2 and found(report) == {("alerted", "p-alert", "Ann", 1)}


def test_why_a_recorded_statement_went_as_it_did(past: Past) -> None:
    past.ran("DELETE FROM orders", ORDERS, action="deny", rule="p-deny", reason="no deletes")
    past.ran("EXECUTE p")
    denies = policy("deny", ("'DELETE' in statement.kinds", "now.hour == 12"))
    told = why(past.kept(), [denies], "t/1/1", "UTC")
    assert (told.action, told.rule, told.reason) == ("deny", "p-deny", "no deletes")
    [said] = told.policies
    assert said.matches and [asked.answer for asked in said.conditions] == ["true", "true"]
    with pytest.raises(RefusedError, match="the log has no statement t/1/9"):
        why(past.world.directory, [denies], "t/1/9", "UTC")
    with pytest.raises(RefusedError, match="isn't in its record"):
        why(past.world.directory, [denies], "t/1/3", "UTC")


def test_a_gate_for_ci(past: Past, tmp_path: Path) -> None:
    past.ran("DELETE FROM orders WHERE id = 1", ORDERS, time_us=1_900_000_000_000_000)
    (tmp_path / "policies").mkdir()
    file = tmp_path / "policies" / "p.yaml"
    text = "id: no-deletes\ntitle: No deletes\nlevel: low\nverdict: {}\nmatch: \"'DELETE' in statement.kinds\"\n"
    command = ["policy", "backtest", str(file.parent), "--directory", str(past.kept()), "--json"]
    file.write_text(text.format("deny"))
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 1, run.output
    [line] = [line for line in run.stdout.splitlines() if line.startswith("{")]
    assert json.decode(line)["policy"] == "no-deletes"
    assert CliRunner().invoke(main, [*command, "--since", "2031-01-01"]).exit_code == 0
    file.write_text(text.format("alert"))
    assert CliRunner().invoke(main, command).exit_code == 0
    assert CliRunner().invoke(main, [*command, "--fail-on", "alerted"]).exit_code == 1
    assert CliRunner().invoke(main, [*command, "--since", "yesterday"]).exit_code == 2
    file.write_text(text.format("deny").replace("'DELETE' in statement.kinds", "size(history.new_relations) > 0"))
    assert CliRunner().invoke(main, command).exit_code == 1
    assert CliRunner().invoke(main, [*command, "--learning-days", "14"]).exit_code == 0
