"""The Faust application: how it signs in, what it reads, and what happens when an agent fails.

Faust reads uncommitted records unless it runs transactions of its own, so the consumer is told otherwise here. An
agent that fails ends the application, for Faust would go on without it; its event stays uncommitted and comes again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import faust
from faust.transport.drivers import aiokafka as driver
from mode.supervisors import CrashingSupervisor
from msgspec import Struct, json

from taprail.connectors.kafka.registry import unframe
from taprail.connectors.kafka.topics import AGENTS_PREFIX
from taprail.connectors.siem.ocsf import detection_finding
from taprail.schemas import avro
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RecordError, StackError
from taprail.schemas.records import Alert, ApprovalState, DeadLetter, Detection
from taprail.streams.detections.found import alert_of

STOP_SECONDS = 5.0
_log = logging.getLogger(AGENTS_PREFIX)
Record = TypeVar("Record", bound=Struct)


class _CommittedOnly(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise StackError("aiokafka keeps its isolation level elsewhere", hint="use the locked version")
        consumer._isolation_level = "read_committed"
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return _CommittedOnly(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _Table(faust.Table[Any, Any]):
    """Every table has one partition, so a timer may change it as well as an agent."""

    def partition_for_key(self, key: Any) -> int:
        return 0


def application(kafka: Mapping[str, str | int], folder: str = "") -> Any:
    """A Faust application without web server or worker: `start()` and `stop()` it in the running loop.

    `kafka` are librdkafka's settings, as everywhere in taprail. Faust wants a folder; nothing is kept in it.
    """
    tls = ssl.create_default_context() if kafka["security.protocol"] == "SASL_SSL" else None
    servers = [f"kafka://{server.strip()}" for server in str(kafka["bootstrap.servers"]).split(",")]
    app = faust.App(
        AGENTS_PREFIX,
        broker=servers,
        broker_credentials=faust.SASLCredentials(
            username=str(kafka["sasl.username"]),
            password=str(kafka["sasl.password"]),
            mechanism=str(kafka["sasl.mechanism"]),
            ssl_context=tls,
        ),
        Table=_Table,
        store="memory://",
        datadir=folder or tempfile.gettempdir(),
        web_enabled=False,
        topic_allow_declare=False,  # every topic stands in connectors/kafka/topics.py
        topic_disable_leader=True,
        agent_supervisor=CrashingSupervisor,
        broker_commit_interval=1.0,
        # One process runs the agents: as a static member it takes its place again at once after a crash (KIP-345).
        consumer_group_instance_id=f"{AGENTS_PREFIX}-1",
        broker_session_timeout=10.0,
        broker_rebalance_timeout=10.0,
    )
    app.transport = _Transport(app.conf.broker_consumer, app, loop=app.loop)
    return app


async def shut_down(app: Any) -> None:
    """Stop it. A crashed application may fail in that, or hang; what it had in hand isn't committed and comes again."""
    done, _ = await asyncio.wait({asyncio.ensure_future(app.stop())}, timeout=STOP_SECONDS)
    if not done:
        _log.warning("Faust didn't stop within %s s", STOP_SECONDS)


def table(app: Any, name: str, **options: Any) -> Any:
    return app.Table(name, partitions=1, key_type=str, **options)


class Outbox:
    """What agents write. `frames` are the Confluent frames by record type."""

    def __init__(self, app: Any, frames: Mapping[type[Struct], bytes], sealer: Sealer) -> None:
        self._app, self._frames, self._sealer = app, frames, sealer

    async def detected(self, detection: Detection, *, alert: bool) -> None:
        """To its topic, to the SIEM and into the audit log; with an alert where people are to be told."""
        await self._both("taprail.detections", "detection", detection.detection_id, detection)
        await self._send("taprail.siem", detection.detection_id, json.encode(detection_finding(detection)))
        if alert:
            await self.alert(alert_of(detection))

    async def alert(self, alert: Alert) -> None:
        await self._both("taprail.alerts", "alert", alert.alert_id, alert)

    async def approval_state(self, state: ApprovalState) -> None:
        """To its topic and into the audit log; its key is the same however often it is told."""
        await self._both("taprail.approval-states", "approval_state", f"{state.approval_id}/{state.status}", state)

    async def dead_letter(self, event: Any, error: RecordError) -> None:
        message, now_us = event.message, time.time_ns() // 1000
        place = f"{message.topic}/{message.partition}/{message.offset}"
        value = self._sealer.seal(message.value or b"", place)
        letter = DeadLetter(message.topic, message.partition, message.offset, now_us, "agents", str(error), value)
        await self._send("taprail.dead-letters", place, self._framed(letter))

    async def _both(self, topic: str, kind: str, key: str, record: Struct) -> None:
        value = self._framed(record)
        await self._send(topic, key, value)
        await self._send("taprail.audit", key, value, {"kind": kind.encode()})

    async def _send(self, topic: str, key: str, value: bytes, headers: dict[str, bytes] | None = None) -> None:
        """Returns when Kafka has it: only then may the event behind it be committed."""
        sent = await raw(self._app, topic).send(key=key.encode(), value=value, headers=headers)
        await sent

    def _framed(self, record: Struct) -> bytes:
        return self._frames[type(record)] + avro.encode(record)


def raw(app: Any, topic: str) -> Any:
    """A topic whose keys and values are bytes, as they stand in Kafka."""
    return app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def consume(
    app: Any,
    topic: str,
    name: str,
    record: type[Record],
    handle: Callable[[Record, Any], Awaitable[None]],
    unread: Callable[[Any, RecordError], Awaitable[None]],
) -> None:
    """An agent over a topic: `handle` is given each record and Faust's event, `unread` what is no such record."""
    decode = avro.decoder(record)

    async def run(stream: Any) -> None:
        manual = stream.noack()  # or Faust would commit the record at which an agent fails
        async for event in manual.events():
            try:
                await handle(decode(unframe(event.value)[1]), event)
            except RecordError as error:
                await unread(event, error)
            await manual.ack(event)

    app.agent(raw(app, topic), name=name)(run)
