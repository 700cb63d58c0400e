"""Who may not sign in any more: the taps' side of the signed records on `taprail.identities`.

A tap reads the topic from its beginning and keeps who is revoked in a file beside its spool, a line a record, each with
its own signature: a tap that starts while Kafka is away forgets no revocation.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import MsgspecError, json

from taprail.schemas.control import Identity, SignedRecord
from taprail.schemas.guard import SessionContext
from taprail.schemas.records import Person
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.groups import Standing, check, loses, stands_on
from taprail.streams.settings_signin import GroupsFrom

REVOKED_SQLSTATE = "57P01"  # admin_shutdown: what pools know as the end of a connection
_log = logging.getLogger("taprail.identity")
End = Callable[[Callable[[SessionContext], bool], str, str], int]


class Revocations:
    """Not for several threads. `end` becomes `Proxy.end_sessions`, as soon as there are sessions."""

    def __init__(self, directory: Directory, file: Path) -> None:
        self.directory, self._file = directory, file
        self.end: End = lambda match, sqlstate, text: 0
        self.groups_from: GroupsFrom = "token"
        self._revoked: dict[str, SignedRecord] = {}
        self.complete = threading.Event()  # everything that stood in Kafka at the start has been read
        self._loading = True
        with contextlib.suppress(FileNotFoundError):
            self._load()
        self._loading = False

    def take(self, record: SignedRecord) -> None:
        """Believe a signed record that is newer than what is known; end the sessions of whom it revokes, and of whom it
        takes a group that counts here."""
        before = self.directory.get(record.key)
        identity = self.directory.take(record)
        if identity is None:
            return
        if identity.active:
            if self._revoked.pop(identity.subject, None) is not None:
                self._keep(record)
            self._end_poorer(before, identity)
            return
        if self._revoked.get(identity.subject) == record:
            return  # as the file had it
        self._revoked[identity.subject] = record
        self._keep(record)
        ended = self.end(
            lambda context: identity.subject in stands_on(self.directory, context.person),
            REVOKED_SQLSTATE,
            f"{identity.name} may not use this tap any more: the directory has revoked the access",
        )
        _log.warning("%s is revoked; %d sessions end", identity.subject, ended)

    def standing(self, groups_from: GroupsFrom) -> Standing:
        """Who may act, and with which groups. From here on `groups_from` counts for sessions that are open, too."""
        self.groups_from = groups_from
        return Standing(self.directory, groups_from, self.complete.is_set)

    def zone_of(self, person: Person) -> str:
        """The person's time zone, '' where the directory doesn't know it."""
        identity = self.directory.get(person.subject)
        return identity.zone if identity is not None else ""

    def check(self, person: Person) -> None:
        """Raises RefusedError where the person, or anybody whose access that rests on, is revoked."""
        check(self.directory, person)

    def _end_poorer(self, before: Identity | None, after: Identity) -> None:
        """A session's groups are those of its beginning, so it ends where one is lost."""
        source = self.groups_from
        if source == "token" or before is None or not set(before.groups) - set(after.groups):
            return
        ended = self.end(
            lambda context: loses(context.person, before, after, source),
            REVOKED_SQLSTATE,
            f"the groups of {after.name} have changed: connect again",
        )
        _log.info("%s has lost groups; %d sessions end", after.subject, ended)

    def _load(self) -> None:
        """Each line is a record. One that can't be read is the last one of a tap that died; Kafka has it."""
        lines = self._file.read_bytes().splitlines()
        for line in lines:
            try:
                self.take(json.decode(line, type=SignedRecord))
            except MsgspecError as error:
                _log.error("%s has a line that can't be read: %s", self._file, error)
        if len(lines) > len(self._revoked):
            self._rewrite()

    def _keep(self, record: SignedRecord) -> None:
        """At the file's end: many may be revoked at once, and somebody is waiting for each."""
        if self._loading:
            return
        try:
            self._file.touch(0o600)
            with self._file.open("ab") as file:
                file.write(json.encode(record) + b"\n")
        except OSError as error:  # it is known while this process lives, and Kafka has it
            _log.error("who is revoked can't be written to %s: %s", self._file, error.strerror)

    def _rewrite(self) -> None:
        """With those alone who are revoked now."""
        part = self._file.with_name(self._file.name + ".part")
        try:
            part.touch(0o600)
            part.write_bytes(b"".join(json.encode(record) + b"\n" for record in self._revoked.values()))
            part.replace(self._file)
        except OSError as error:
            _log.error("who is revoked can't be written to %s: %s", self._file, error.strerror)
