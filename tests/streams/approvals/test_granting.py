"""Grants as the agents sign them: what is changed at once by two is changed one after the other."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from taprail.schemas.control import Grant, SignedRecord
from taprail.streams.approvals.granting import Granting
from taprail.streams.approvals.grants import Grants
from tests.fakes.approvals import ANN, BOB, CAT, KEY, PUBLIC_KEYS, now_us


def emergency() -> Grant:
    until_us = now_us() + 600_000_000
    return Grant(
        "g-1", "break_glass", ANN, "prod", "shop", "down", now_us(), until_us, (), ("data-owners",), review="open",
        role="owner",
    )  # fmt: skip


class Kafka:
    """Takes its time, and keeps what it was given."""

    def __init__(self) -> None:
        self.records: list[SignedRecord] = []

    async def publish(self, record: SignedRecord) -> None:
        await asyncio.sleep(0.05)
        self.records.append(record)


async def test_a_review_that_crosses_a_revocation_doesnt_give_the_access_back() -> None:
    kafka = Kafka()
    granting = Granting(KEY, PUBLIC_KEYS, kafka.publish)
    await granting.put(emergency())
    await asyncio.gather(granting.revoke("g-1", BOB, "enough"), granting.review("g-1", CAT, "read nothing"))
    last = granting.get("g-1")
    assert (last.revoked, last.review, last.findings) == ("enough", "closed", "read nothing")
    tap = Grants(PUBLIC_KEYS)
    tap.complete.set()
    tap.current()
    for record in kafka.records:
        tap.take(record)
    assert tap.refused == 0 and tap.role(ANN, "prod", "shop") is None


async def test_what_was_taken_back_stands_under_a_key_of_its_own_too() -> None:
    kafka = Kafka()
    granting = Granting(KEY, PUBLIC_KEYS, kafka.publish)
    await granting.put(emergency())
    await granting.revoke("g-1", BOB, "enough")
    assert [record.key for record in kafka.records] == ["g-1", "g-1/revoked", "g-1"]
    again = Granting(KEY, PUBLIC_KEYS, kafka.publish)
    for record in (kafka.records[1], kafka.records[0]):  # as somebody without the key could have it
        again.take(replace(record))
    assert again.get("g-1").revoked == "enough"
