"""Whether a role can reach the cluster, and may do there what it must."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from taprail.connectors.kafka.topics import TOPICS
from taprail.schemas.endpoints import Role
from taprail.schemas.errors import StackError

TIMEOUT_S = 10.0


def lacks(config: Mapping[str, str | int], role: Role) -> list[str]:
    """What a role may not do in topics that are its own to write or read, one line each; empty where all is well.

    `config` is librdkafka's, signed in as that role. Raises StackError where the cluster can't be asked.
    """
    needs = {topic.name: _needed(role, topic.writers, topic.readers) for topic in TOPICS}
    needs = {name: operations for name, operations in needs.items() if operations}
    refused: list[KafkaError] = []
    options: dict[str, Any] = {**config, "log_level": 0, "error_cb": refused.append}  # told in our own words
    client = AdminClient(options)
    try:
        asked = client.describe_topics(
            TopicCollection(list(needs)), include_authorized_operations=True, request_timeout=TIMEOUT_S
        )
        while not all(future.done() for future in asked.values()):
            client.poll(0.1)
            if wrong := [error for error in refused if error.code() == KafkaError._AUTHENTICATION]:
                raise KafkaException(wrong[0])  # librdkafka would try again until the time is up
    except KafkaException as error:
        raise _away(error) from error
    found = []
    for name, future in asked.items():
        try:
            allowed = set(future.result().authorized_operations or ())
        except KafkaException as error:
            if error.args[0].code() < 0:  # librdkafka's own: nobody has answered
                raise _away(error) from error
            found.append(f"{name}: {error.args[0].str()}")
            continue
        missing = [operation.name for operation in needs[name] if operation not in allowed]
        if missing:
            found.append(f"{name}: {' and '.join(missing)} isn't allowed")
    return found


def _needed(role: Role, writers: tuple[Role, ...], readers: tuple[Role, ...]) -> list[AclOperation]:
    return [AclOperation.WRITE] * (role in writers) + [AclOperation.READ] * (role in readers)


def _away(error: KafkaException) -> StackError:
    return StackError(
        f"Kafka doesn't answer: {error.args[0].str()}", hint="are its address, its user and the password right?"
    )
