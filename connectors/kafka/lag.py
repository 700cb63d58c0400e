"""How far has a group read? As a time, not in records: all that stood in the topics at that time has been read."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

TIMEOUT_S = 5.0
NOTES_MAX = 1000
_log = logging.getLogger("taprail.kafka")
Place = tuple[str, int]


class ReadUntil:
    """Ask it about once a second, from one thread. Source: KIP-396 (ListOffsets), KIP-709 (OffsetFetch by group)."""

    def __init__(self, config: Mapping[str, str | int], group: str, topics: Sequence[str]) -> None:
        self._client = AdminClient(dict(config), logger=_log)
        self._group, self._topics = group, topics
        self._notes: deque[tuple[float, dict[Place, int]]] = deque(maxlen=NOTES_MAX)
        self._until_s = float("-inf")

    def ask(self, now_s: float) -> float:
        """The latest of the times it was asked at, for which all that stood in Kafka then is committed by the group.

        Minus infinity before that is known; the answer of before where Kafka doesn't answer now.
        """
        try:
            ends = self._ends()
            committed = self._committed(ends)
        except (KafkaException, TimeoutError) as error:
            _log.warning("how far %s has read can not be asked: %s", self._group, error)
            return self._until_s
        self._notes.append((now_s, ends))
        while self._notes and all(committed.get(place, 0) >= end for place, end in self._notes[0][1].items()):
            self._until_s = self._notes.popleft()[0]
        return self._until_s

    def _ends(self) -> dict[Place, int]:
        found = self._client.list_topics(timeout=TIMEOUT_S).topics
        places = [TopicPartition(t, p) for t in self._topics if t in found for p in found[t].partitions]
        spec: Any = OffsetSpec  # its methods have no types
        asked = self._client.list_offsets(
            dict.fromkeys(places, spec.latest()),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_S,
        )
        return {(place.topic, place.partition): future.result(TIMEOUT_S).offset for place, future in asked.items()}

    def _committed(self, places: Mapping[Place, int]) -> dict[Place, int]:
        asked = ConsumerGroupTopicPartitions(self._group, [TopicPartition(*place) for place in places])
        future = self._client.list_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)[self._group]
        found = future.result(TIMEOUT_S).topic_partitions or []
        return {(p.topic, p.partition): p.offset for p in found if p.error is None and p.offset >= 0}
