"""Signed identities for `taprail.identities`: what revokes a person, and gives the access back."""

from __future__ import annotations

import time

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry, frame
from taprail.connectors.kafka.send import send
from taprail.schemas import avro
from taprail.schemas.control import Identity, SignedRecord, sign
from taprail.schemas.errors import SettingsError
from taprail.streams import keys
from taprail.streams.identity.enrich import Directory
from taprail.streams.settings import Loaded
from taprail.streams.stream import control_keys

TOPIC = "taprail.identities"


def publish(loaded: Loaded, identity: Identity) -> SignedRecord:
    """Sign it with the control key and wait for Kafka. Raises SettingsError without the key, StackError."""
    settings = loaded.settings.keys
    if settings.control_private is None:
        raise SettingsError("keys.control_private is not set", hint="identities are signed where the agents run")
    key = keys.private_key(loaded.secret(settings.control_private), "keys.control_private")
    now_us = time.time_ns() // 1000
    record = sign("identity", identity.subject, identity, private_key=key, key_id=settings.control_id, now_us=now_us)
    registry = Registry(loaded.settings.registry.url)
    head = frame(registry.register("taprail.SignedRecord", avro.schema_of(SignedRecord)))
    send(loaded.kafka("agents").client_config("agents"), TOPIC, record.key, head + avro.encode(record))
    return record


def known(loaded: Loaded) -> Directory:
    """Everybody whom the topic speaks of now. Raises StackError."""
    directory = Directory(control_keys(loaded))
    config = loaded.kafka("agents").client_config("agents")
    with Follower(config, {TOPIC: avro.decoder(SignedRecord)}, since_us=0) as follower:
        while follower.behind():
            if (followed := follower.poll(0.2)) is not None:
                directory.take(followed.record)
    return directory
