"""The agents on a real broker: committed records only, each thing told once, and a failure is the end."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from confluent_kafka import Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.retry import DeliveryError
from taprail.schemas import avro
from taprail.schemas.control import Decision, Grant, SignedRecord, sign
from taprail.schemas.records import Alert, Approval, ApprovalState, Coverage, Match, Person, Range, Terms
from taprail.streams.agents import coverage as coverage_agent
from taprail.streams.approvals.feed import STATES
from taprail.streams.detections import gaps
from taprail.streams.detections.bursts import WINDOW_SECONDS
from taprail.streams.detections.incident import incident
from taprail.streams.policy.policy import Correlation, Policy
from taprail.streams.policy.ruling import PolicySet

from .conftest import CONTROL, SEALER, Scene

ANN, BOB = Person("ann", "Ann", "person"), Person("bob", "Bob", "person", ("data-owners",))
SECOND_US = 1_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def alert(scene: Scene, number: int) -> Alert:
    return Alert(
        f"alert-{scene.tag}-{number}",
        now_us(),
        "",
        "large-read",
        "high",
        "a title",
        "",
        "prod",
        "db1",
        "shop",
        "Ann",
        "",
    )


def approval(scene: Scene, seconds: float, **changes: Any) -> Approval:
    name, now = f"tap-{scene.tag}", now_us()
    values = SEALER.seal(b"DELETE FROM carts WHERE owner = 'secret'", "x")
    return Approval(
        f"{name}-1-9", now, now + int(seconds * SECOND_US), name, 1, 9, "s-1", "prod", "db1", "shop", ANN, "",
        "engineer", "unbounded-write", "DELETE without WHERE.", "DELETE", ("public.carts",), "DELETE FROM carts",
        "f", "b", ("data-owners",), values=values, **changes
    )  # fmt: skip


def decision(asked: Approval, key: Ed25519PrivateKey = CONTROL) -> SignedRecord:
    body = Decision(asked.approval_id, asked.binding, "approve", BOB, "fine", now_us(), asked.expires_us)
    return sign("decision", asked.approval_id, body, private_key=key, key_id="control-1", now_us=now_us())


async def test_what_was_aborted_is_never_told(scene: Scene) -> None:
    config = {**scene.stack.kafka.client_config("stream"), "transactional.id": f"taprail-stream-{secrets.token_hex(4)}"}
    producer = Producer(config)
    producer.init_transactions(30)
    async with scene.running():
        for number, commit in ((1, False), (2, True), (3, False), (4, True)):
            producer.begin_transaction()
            producer.produce("taprail.alerts", scene.frames[Alert] + avro.encode(alert(scene, number)), "k")
            producer.flush(10)  # it is in the log now, and a reader of uncommitted records would see it
            await asyncio.sleep(0.5)
            producer.commit_transaction(30) if commit else producer.abort_transaction(30)
        found = await scene.told(2)
    assert [a["alert_id"] for a in found] == [f"alert-{scene.tag}-2", f"alert-{scene.tag}-4"]


async def test_an_alert_that_comes_twice_is_told_once_also_after_a_restart(scene: Scene) -> None:
    first, second, third = (alert(scene, n) for n in (1, 2, 3))
    async with scene.running():
        for each in (first, first, second, first):
            scene.put("stream", "taprail.alerts", each)
        await scene.told(2)
    async with scene.running():
        for each in (second, first, third):
            scene.put("stream", "taprail.alerts", each)
        found = await scene.told(3)
    assert [a["alert_id"] for a in found] == [first.alert_id, second.alert_id, third.alert_id]


class Refused:
    """The receiver, but for one alert that it won't take."""

    name = "webhook"

    def __init__(self, scene: Scene, alert_id: str) -> None:
        self._receiver, self._alert_id = scene.sink(), alert_id

    async def deliver(self, alert: Alert) -> None:
        if alert.alert_id == self._alert_id:
            raise DeliveryError(f"{alert.alert_id} was refused")
        await self._receiver.deliver(alert)


async def test_an_alert_that_cannot_be_delivered_becomes_a_detection_and_holds_up_no_other(scene: Scene) -> None:
    first, second = alert(scene, 1), alert(scene, 2)
    rule = "alert-undelivered-webhook"
    with scene.follow("taprail.detections") as detections:
        async with scene.running(Refused(scene, first.alert_id)):
            scene.put("stream", "taprail.alerts", first)
            scene.put("stream", "taprail.alerts", second)
            (found,) = await scene.told(1)
            wanted = lambda f: f.record.rule == rule and scene.tag in f.record.summary  # noqa: E731
            detection = await asyncio.to_thread(detections.until, wanted, 20.0)
            await asyncio.sleep(1.0)
    assert found["alert_id"] == second.alert_id
    assert detection is not None and "could not be delivered to webhook" in detection.record.title
    assert all(payload["data"]["rule"] != rule for payload in scene.receiver.received), "a sink isn't told of itself"


async def test_an_approval_is_asked_for_with_a_link_and_only_a_signed_decision_ends_it(scene: Scene) -> None:
    asked = approval(scene, 60)
    async with scene.running():
        scene.put("stream", "taprail.approvals", asked)
        (request,) = await scene.told(1)
        scene.put("agents", "taprail.decisions", decision(asked, Ed25519PrivateKey.generate()))
        scene.put("agents", "taprail.decisions", decision(asked))
        scene.put("agents", "taprail.decisions", decision(asked))
        await scene.told(2)
        await asyncio.sleep(1.5)
        found = await scene.told(2)
    assert request["link"] == f"https://approvals.example/approvals/{asked.approval_id}"
    assert [a["rule"] for a in found] == ["approval-requested", "approval-decided"]
    assert "secret" not in str(found)


async def test_what_nobody_decides_on_runs_out_also_over_a_restart(scene: Scene) -> None:
    asked = approval(scene, 3)
    async with scene.running():
        scene.put("stream", "taprail.approvals", asked)
        await scene.told(1)
        await asyncio.sleep(1.2)  # a commit
    async with scene.running():
        (expired,) = await scene.told(1, "approval-expired")
        scene.put("agents", "taprail.decisions", decision(asked))
        await asyncio.sleep(1.5)
        assert len(await scene.told(2)) == 2, "the request and its end; a late decision is none"
    assert "nobody decided on what Ann asked for in shop" in expired["title"]
    assert now_us() >= asked.expires_us


async def test_every_state_is_told_to_streams_and_a_tap_says_the_last(scene: Scene) -> None:
    asked = approval(scene, 60)
    with Follower(scene.stack.kafka.client_config("viewer"), {STATES: avro.decoder(ApprovalState)}) as follower:
        async with scene.running():
            scene.put("stream", "taprail.approvals", asked)
            scene.put("agents", "taprail.decisions", decision(asked))
            ran = ApprovalState(asked.approval_id, now_us(), "run", "prod", "shop", ANN)
            states: list[ApprovalState] = []

            def is_ours(followed: Any) -> bool:
                states.extend([followed.record] if followed.record.approval_id == asked.approval_id else [])
                return len(states) == 2

            assert await asyncio.to_thread(follower.until, is_ours, 20.0)
            scene.put("stream", STATES, ran)
            await asyncio.sleep(1.5)
        assert follower.until(lambda followed: followed.record == ran, 5.0)
    assert [(s.status, s.person.subject if s.person else "") for s in states[:2]] == [
        ("requested", "ann"),
        ("approved", "bob"),
    ]


async def test_who_runs_a_statement_again_before_anybody_decided_makes_no_second_message(scene: Scene) -> None:
    told = Terms("retry", grant_seconds=60)
    first = approval(scene, 60, terms=told)
    again = structs.replace(first, approval_id=f"{first.approval_id}0", sequence=90, time_us=first.time_us + 1)
    other = structs.replace(again, approval_id=f"{first.approval_id}1", binding="another statement")
    async with scene.running():
        for each in (first, again, other):
            scene.put("stream", "taprail.approvals", each)
        found = await scene.told(2, "approval-requested")
        await asyncio.sleep(1.0)
        assert len(await scene.told(2, "approval-requested")) == 2
    assert [a["link"].rpartition("/")[2] for a in found] == [first.approval_id, other.approval_id]


async def test_an_emergency_is_told_at_once_and_its_review_as_well(scene: Scene) -> None:
    at_us = now_us()
    grant = Grant(
        f"emergency-{scene.tag}", "break_glass", ANN, "prod", "shop", f"orders fail {scene.tag}", at_us,
        at_us + 60 * SECOND_US, approvers=("data-owners",), role="owner", review="open", rule="break-glass",
    )  # fmt: skip
    closed = structs.replace(grant, review="closed", reviewed_by=BOB, reviewed_us=at_us + 9, findings=f"ok {scene.tag}")

    def signed(body: Grant, key: Ed25519PrivateKey = CONTROL) -> SignedRecord:
        return sign("grant", body.grant_id, body, private_key=key, key_id="control-1", now_us=now_us())

    async with scene.running():
        scene.put("agents", "taprail.grants", signed(grant, Ed25519PrivateKey.generate()), grant.grant_id)
        scene.put("agents", "taprail.grants", signed(grant), grant.grant_id)
        scene.put("agents", "taprail.grants", signed(closed), grant.grant_id)
        found = await scene.told(2, "break-glass")
    taken, reviewed = found
    assert (taken["severity"], taken["title"]) == ("critical", "Ann has taken emergency access to prod")
    assert f"orders fail {scene.tag}" in taken["summary"]
    assert (reviewed["severity"], reviewed["summary"]) == ("informational", f"ok {scene.tag}")


async def test_matches_that_belong_together_are_told_once(scene: Scene) -> None:
    both = Correlation("temporal", (f"a-{scene.tag}", f"b-{scene.tag}"), "10m", ("person", "database"))
    scene.policies = PolicySet([Policy(f"c-{scene.tag}", "One after the other", "high", "alert", correlation=both)])

    def match(policy: str, sequence: int, database: str = "shop") -> Match:
        return Match(
            f"{policy}-{scene.tag}", "alert", False, now_us(), scene.tag, 1, sequence, "s", "prod", "db1", database,
            ANN, "", "SELECT", ("public.customers",)
        )  # fmt: skip

    async with scene.running():
        for each in (match("a", 1), match("a", 2), match("b", 3, "other"), match("x", 4)):
            scene.put("stream", "taprail.matches", each)
        await asyncio.sleep(2.0)
    async with scene.running():
        scene.put("stream", "taprail.matches", match("b", 5))
        scene.put("stream", "taprail.matches", match("b", 6))
        (found,) = await scene.told(1, f"c-{scene.tag}")
        await asyncio.sleep(1.0)
        assert len(await scene.told(1, f"c-{scene.tag}")) == 1
    assert found["title"] == "One after the other: Ann in shop"


async def test_a_record_that_never_came_is_an_alarm_told_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "PATIENCE_SECONDS", 1.0)
    tap = f"tap-{scene.tag}"
    async with scene.running():
        scene.put("stream", "taprail.coverage", Coverage(tap, 5, now_us(), (Range(1, 4), Range(6, 9))))
        (found,) = await scene.told(1, "sequence-gap")
    async with scene.running():
        await asyncio.sleep(3 * coverage_agent.TICK_SECONDS)
        scene.put("stream", "taprail.coverage", Coverage(tap, 5, now_us(), (Range(11, 12),)))
        again = await scene.told(2, "sequence-gap")
    assert found["title"] == f"1 record of tap {tap} never came"
    assert [a["summary"].partition(" of ")[0] for a in again] == [f"{tap}/5/5", f"{tap}/5/10"]


async def test_many_refusals_of_one_person_are_an_alarm(scene: Scene) -> None:
    eve = Person(f"eve-{scene.tag}", f"Eve {scene.tag}", "person")

    def refusal(number: int) -> Any:
        return incident(
            "denied-destructive", f"{scene.tag}{number}", time_us=now_us(), severity="high", title="x", summary="",
            record="statement", environment="prod", database="shop", person=eve
        )  # fmt: skip

    if time.time() % WINDOW_SECONDS > WINDOW_SECONDS - 5:  # not over a window's edge
        await asyncio.sleep(5)
    async with scene.running():
        for number in (1, 1, 2, 3, 4, 4, 5, 6, 5):
            scene.put("stream", "taprail.detections", refusal(number))
        (found,) = await scene.told(1, "many-refusals")
    assert found["title"] == f"Eve {scene.tag} was refused 5 times within a minute in shop"


async def test_poison_is_kept_encrypted_and_the_agents_go_on(scene: Scene) -> None:
    poison = f"poison {scene.tag}".encode()
    with scene.follow_dead_letters() as letters:
        async with scene.running():
            scene.put("stream", "taprail.alerts", poison)
            scene.put("stream", "taprail.alerts", scene.frames[Alert] + poison)
            scene.put("stream", "taprail.alerts", alert(scene, 1))
            assert len(await scene.told(1)) == 1
            found = [await asyncio.to_thread(letters.until, lambda _: True, 20.0) for _ in range(2)]
    for letter, original in zip(found, (poison, scene.frames[Alert] + poison), strict=True):
        assert letter is not None and letter.record.topic == "taprail.alerts" and letter.record.error
        assert SEALER.open(letter.record.value) == original


class Broken:
    """A sink with a bug."""

    name = "webhook"

    async def deliver(self, alert: Alert) -> None:
        raise ZeroDivisionError(alert.alert_id)


async def test_an_agent_that_fails_ends_the_application_and_its_record_comes_again(scene: Scene) -> None:
    async with scene.running(Broken()) as broken:
        scene.put("stream", "taprail.alerts", alert(scene, 1))
        await asyncio.wait_for(broken.wait_until_stopped(), 30)
        assert isinstance(broken.crash_reason, ZeroDivisionError)
    async with scene.running():
        (found,) = await scene.told(1)
    assert found["alert_id"] == f"alert-{scene.tag}-1"
