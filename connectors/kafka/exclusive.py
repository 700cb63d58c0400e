"""One writer at a time to a topic that is state: who takes over shuts the one before out, who then must read again.

All writers of a topic share one transactional id. `take_over` ends what an earlier one had open and makes its commits
fail from then on (KIP-98, "zombie fencing"; KIP-360). So whoever has taken over and then read the topic to its end
knows all of it, until a commit of its own fails: nobody else can have written in between. A change is decided on what
is there, or it isn't written.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from taprail.schemas.errors import StackError

START_SECONDS, COMMIT_SECONDS, ABORT_SECONDS = 10.0, 10.0, 2.0
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
_log = logging.getLogger("taprail.kafka")


class FencedError(StackError):
    """Another writer has taken over: nothing was written."""


class ExclusiveWriter:
    """Not for several threads. `config` are librdkafka's settings of the role."""

    def __init__(self, config: Mapping[str, str | int], transactional_id: str) -> None:
        self._config, self._transactional_id = dict(config), transactional_id
        self._producer: Producer | None = None

    @property
    def in_charge(self) -> bool:
        """Whether it has taken over, and hasn't heard since that somebody else did."""
        return self._producer is not None

    def take_over(self) -> None:
        """Shut every other writer out. When this returns, all that was committed can be read. Raises StackError."""
        producer = Producer(
            {
                **self._config,
                "transactional.id": self._transactional_id,
                "transaction.timeout.ms": int(COMMIT_SECONDS * 1000),
                "retry.backoff.ms": 10,
                "linger.ms": 0,
            },
            logger=_log,
        )
        try:
            producer.init_transactions(START_SECONDS)
        except KafkaException as error:
            text = f"Kafka doesn't let {self._transactional_id} write: {error.args[0].str()}"
            raise StackError(text, hint="is the broker up?") from error
        self._producer = producer

    def commit(self, topic: str, records: Sequence[tuple[str, bytes]]) -> None:
        """Write all of these keys and values, in this order, or none.

        Raises FencedError where somebody else has taken over, StackError where Kafka doesn't answer: then it isn't
        known whether they were written, and only who takes over and reads again finds out.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            raise FencedError("nobody has taken over", hint="take over, and read what is there")
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        try:
            producer.begin_transaction()
            for key, value in records:
                producer.produce(topic, value, key.encode(), on_delivery=delivered)
            producer.commit_transaction(COMMIT_SECONDS)
        except (BufferError, KafkaException) as error:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(ABORT_SECONDS)
            raise self._failure(topic, error, failed) from error
        self._producer = producer

    def _failure(self, topic: str, error: Exception, failed: list[KafkaError]) -> StackError:
        reasons = [*failed, *(each for each in error.args if isinstance(each, KafkaError))]
        if any(each.code() in _FENCED for each in reasons):
            return FencedError(f"another process writes to {topic} now", hint="read what is there, and decide again")
        return StackError(f"Kafka didn't take a change of {topic}: {error}", hint="is the broker up? Do it again")
