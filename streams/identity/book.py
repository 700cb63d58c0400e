"""The one way to change `taprail.identities`: decided on what is there, signed, and written whole or not at all.

Every process that changes identities (SCIM, a file, somebody by hand) goes through the same exclusive writer. One that
was shut out meanwhile reads the topic and decides again, so that two can't undo each other's changes unseen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from taprail.connectors.kafka.exclusive import ExclusiveWriter, FencedError
from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry, frame
from taprail.schemas import avro
from taprail.schemas.control import GROUP_KEY, Group, Identity, SignedRecord, sign
from taprail.schemas.errors import SettingsError, StackError
from taprail.streams import keys
from taprail.streams.identity.roster import TOPIC, Roster
from taprail.streams.settings import Loaded
from taprail.streams.stream import control_keys

TRANSACTIONAL_ID = "taprail-agents-identities"
ATTEMPTS = 10  # each of them lost to somebody who did write
RESERVED = f"a subject can't begin with {GROUP_KEY!r}"
_log = logging.getLogger("taprail.identity")
Decide = Callable[[Roster], Sequence[Identity | Group]]


class Book:
    """Not for several threads. Raises SettingsError without the control key."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings.keys
        if settings.control_private is None:
            raise SettingsError("keys.control_private is not set", hint="identities are signed where the agents run")
        self._key = keys.private_key(loaded.secret(settings.control_private), "keys.control_private")
        self._key_id = settings.control_id
        self._loaded, self._config = loaded, loaded.kafka("agents").client_config("agents")
        self._writer = ExclusiveWriter(self._config, TRANSACTIONAL_ID)
        self._frame = b""
        self.roster = Roster(control_keys(loaded))

    def read(self) -> Roster:
        """What the topic says now; also in `roster`. Raises StackError."""
        self.roster = read(self._loaded)
        return self.roster

    def change(self, decide: Decide) -> list[SignedRecord]:
        """Write what `decide` makes of what is there, all of it or nothing; the records, once Kafka has them.

        `decide` is asked again where somebody else was faster, and may raise. Raises StackError where Kafka fails.
        """
        unknown: list[SignedRecord] = []  # Kafka has failed in the middle of writing them
        for _ in range(ATTEMPTS):
            if not self._writer.in_charge:
                self._writer.take_over()
                self.read()
                if any(self.roster.signed_us(record.key) == record.signed_us for record in unknown):
                    return unknown  # they were written, and so all of them
            bodies = sorted(decide(self.roster), key=self._rank)
            if not bodies:
                return []
            records = [self._signed(body) for body in bodies]
            head = self._head()
            try:
                self._writer.commit(TOPIC, [(record.key, head + avro.encode(record)) for record in records])
            except FencedError:
                unknown = []
                continue
            except StackError as error:
                _log.warning("%s; looking what is there", error)
                unknown = records
                continue
            for record in records:
                self.roster.take(record)
            return records
        raise StackError("the identities can't be written: others do, or Kafka fails, each time", hint="do it again")

    def _rank(self, body: Identity | Group) -> int:
        """What takes rights away comes first: whoever reads half of a change is never let in by it."""
        if isinstance(body, Group):
            return 2
        before = self.roster.get(body.subject)
        if not body.active:
            return 0
        return 1 if before is not None and set(before.groups) - set(body.groups) else 3

    def _signed(self, body: Identity | Group) -> SignedRecord:
        """Later than what is known of it, whatever this machine's clock says: an older record wouldn't count."""
        now_us = time.time_ns() // 1000
        if isinstance(body, Group):
            key = GROUP_KEY + body.group_id
            now_us = max(now_us, self.roster.signed_us(key) + 1)
            return sign("group", key, body, private_key=self._key, key_id=self._key_id, now_us=now_us)
        if body.subject.startswith(GROUP_KEY) or not body.subject.strip():
            raise SettingsError(f"{body.subject!r} is no subject", hint=RESERVED)
        now_us = max(now_us, self.roster.signed_us(body.subject) + 1)
        return sign("identity", body.subject, body, private_key=self._key, key_id=self._key_id, now_us=now_us)

    def _head(self) -> bytes:
        if not self._frame:
            registry = Registry(self._loaded.settings.registry.url)
            self._frame = frame(registry.register("taprail.SignedRecord", avro.schema_of(SignedRecord)))
        return self._frame


def read(loaded: Loaded) -> Roster:
    """What the topic says, from its first record to its end of now. Raises StackError."""
    roster = Roster(control_keys(loaded))
    config = loaded.kafka("agents").client_config("agents")
    with Follower(config, {TOPIC: avro.decoder(SignedRecord)}, since_us=0) as follower:
        while follower.behind():
            if (followed := follower.poll(0.2)) is not None:
                roster.take(followed.record)
    return roster
