"""Bring a cluster to what `topics.py` says: topics, their configuration, and access rules. Safe to repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from taprail.connectors.kafka.topics import TOPICS, Rule, Topic, access_rules, change_feed_topic
from taprail.schemas.endpoints import KafkaEndpoint
from taprail.schemas.errors import StackError

TIMEOUT_S = 30.0
_SCRAM_ITERATIONS = 4096  # RFC 7677 asks for at least this many; the passwords are random


def admin_client(kafka: KafkaEndpoint) -> AdminClient:
    """A client as the super user."""
    return AdminClient({**kafka.client_config("admin"), "socket.connection.setup.timeout.ms": 5_000, "log_level": 3})


def provision(kafka: KafkaEndpoint) -> None:
    """Users, access rules, then topics: nothing can be written before it is known who may."""
    client = admin_client(kafka)
    ensure_users(client, kafka.users)
    ensure_access(client, access_rules())
    ensure_topics(client, TOPICS)


def ensure_change_feed(kafka: KafkaEndpoint, server: str, database: str) -> str:
    """Make the raw change feed's topic of one database; its name. Before the connector is registered."""
    topic = change_feed_topic(server, database)
    ensure_topics(admin_client(kafka), [topic])
    return topic.name


def delete_topics(kafka: KafkaEndpoint, names: Iterable[str]) -> None:
    """Delete topics; one that isn't there is no error."""
    client = admin_client(kafka)
    for name, future in client.delete_topics(sorted(set(names)), operation_timeout=TIMEOUT_S).items():
        _settle(future, f"delete the topic {name}", unless=KafkaError.UNKNOWN_TOPIC_OR_PART)


def ensure_users(client: AdminClient, users: Mapping[str, str]) -> None:
    """Create the SCRAM users that are missing. The passwords of those that exist are left alone."""
    listing: Any = client.describe_user_scram_credentials(request_timeout=TIMEOUT_S)
    known = _result(listing, "list the users")
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _SCRAM_ITERATIONS)
    missing: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, password.encode())
        for user, password in users.items()
        if user not in known
    ]
    if missing:
        for user, future in client.alter_user_scram_credentials(missing).items():
            _result(future, f"create the user {user}")


def ensure_access(client: AdminClient, rules: Iterable[Rule]) -> None:
    """Create the rules that are missing, and remove every other one of our roles: the table is all they may do."""
    wanted = {_binding(rule) for rule in rules}
    principals = {binding.principal for binding in wanted}
    anything: Any = None  # what the library's types leave out: None matches every name, principal and host
    everything = AclBindingFilter(
        ResourceType.ANY, anything, ResourcePatternType.ANY, anything, anything, AclOperation.ANY, AclPermissionType.ANY
    )
    described = _result(client.describe_acls(everything, request_timeout=TIMEOUT_S), "list the access rules")
    found = {binding for binding in described if binding.principal in principals}
    if wanted - found:
        for binding, future in client.create_acls(list(wanted - found)).items():
            _result(future, f"create the access rule {binding}")
    if found - wanted:
        surplus = [_filter(binding) for binding in found - wanted]
        for binding, future in client.delete_acls(surplus).items():
            _result(future, f"delete the access rule {binding}")


def ensure_topics(client: AdminClient, topics: Iterable[Topic]) -> None:
    """Create what is missing, add partitions where there are fewer, and set the configuration where it differs."""
    wanted = {topic.name: topic for topic in topics}
    metadata = client.list_topics(timeout=TIMEOUT_S).topics
    new = [
        NewTopic(topic.name, topic.partitions, config=dict(topic.config))
        for topic in wanted.values()
        if topic.name not in metadata
    ]
    if new:
        for name, future in client.create_topics(new, operation_timeout=TIMEOUT_S).items():
            _settle(future, f"create the topic {name}", unless=KafkaError.TOPIC_ALREADY_EXISTS)
    existing = [topic for topic in wanted.values() if topic.name in metadata]
    grow = [NewPartitions(t.name, t.partitions) for t in existing if len(metadata[t.name].partitions) < t.partitions]
    if grow:
        for name, future in client.create_partitions(grow).items():
            _result(future, f"add partitions to the topic {name}")
    _ensure_config(client, existing)


def _ensure_config(client: AdminClient, topics: list[Topic]) -> None:
    if not topics:
        return
    described = client.describe_configs([ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics])
    found = {resource.name: _result(future, f"read {resource.name}") for resource, future in described.items()}
    changed = []
    for topic in topics:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in topic.config.items()
            if found[topic.name][name].value != value
        ]
        if entries:
            changed.append(ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries))
    if changed:
        for resource, future in client.incremental_alter_configs(changed).items():
            _result(future, f"configure the topic {resource.name}")


def _binding(rule: Rule) -> AclBinding:
    return AclBinding(
        ResourceType[rule.resource],
        rule.name,
        ResourcePatternType.PREFIXED if rule.prefix else ResourcePatternType.LITERAL,
        f"User:{rule.role}",
        "*",
        AclOperation[rule.operation],
        AclPermissionType.ALLOW,
    )


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _settle(future: Future[Any], what: str, *, unless: int) -> None:
    """Wait for it; the error `unless` means that somebody else did it already."""
    try:
        future.result(TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != unless:
            _fail(what, error)


def _result(future: Future[Any], what: str) -> Any:
    try:
        return future.result(TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        _fail(what, error)


def _fail(what: str, error: Exception) -> NoReturn:
    raise StackError(f"Kafka did not {what}: {error}", hint="is the broker up, and this the admin user?") from error
