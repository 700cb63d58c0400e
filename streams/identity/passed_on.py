"""The tap tells the database who acts: `taprail.person`, a session setting with a MAC that only the tap can make.

Its value is `<mac> <claims>`: HMAC-SHA256 in hex over the claims' text, and the claims as JSON:

    person, name, kind, groups, on_behalf_of, via    who acts, as in the records; groups null where they are too many
    session                                          the tap's session
    time                                             microseconds since 1970 UTC when it was made
    port                                             the tap's TCP port, as the server sees it; null over a Unix socket

`taprail.person()` in the database (`connectors/postgres/person.py`) verifies it for row-level security. A value is good
for one connection only: the server compares the port and the time with its own. Each database has a key of its own,
derived from the tap's, so whoever administers one can't speak to another.

The backend's process id isn't part of it: the tap would learn it after the start-up, and a setting that is made later
is gone after RESET ALL and DISCARD ALL, which connection pools send.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from taprail.connectors.postgres.proxy import PERSON_SETTING
from taprail.connectors.postgres.upstream import Target
from taprail.schemas.records import Person
from taprail.streams import keys
from taprail.streams.settings import Database, Loaded

CLAIMS_BYTES_MAX = 4_000  # a start-up packet may have 10,000 bytes in all (MAX_STARTUP_PACKET_LENGTH)


def database_key(key: bytes, server: str, database: str) -> bytes:
    """A database's own key, 32 bytes. `database` is its name on the server."""
    return hmac.new(key, json.dumps(["taprail.person", server, database]).encode(), hashlib.sha256).digest()


def value(key: bytes, person: Person, session: str, port: int, now_us: int, *, bound: bool = True) -> str:
    """What `taprail.person` becomes. `key` is the database's own; `bound` false leaves the port out."""
    claims = {
        "person": person.subject,
        "name": person.name,
        "kind": person.kind,
        "groups": person.groups,
        "on_behalf_of": person.on_behalf_of,
        "via": person.via,
        "session": session,
        "time": now_us,
        **({"port": port or None} if bound else {}),
    }
    text = json.dumps(claims, separators=(",", ":"))  # ASCII: the same bytes in every encoding
    if len(text) > CLAIMS_BYTES_MAX:
        text = json.dumps({**claims, "groups": None}, separators=(",", ":"))
    return f"{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()} {text}"


class PassedOn:
    """Implements `PassOn`."""

    def __init__(self, key: bytes, bound: dict[str, bool] | None = None) -> None:
        self._key, self._bound = key, bound or {}

    def __call__(self, target: Target, person: Person, session: str, port: int) -> dict[str, str]:
        key = database_key(self._key, target.server, target.upstream_database)
        bound = self._bound.get(target.database, True)
        return {PERSON_SETTING: value(key, person, session, port, time.time_ns() // 1000, bound=bound)}


def pass_on(loaded: Loaded) -> PassedOn | None:
    """What a proxy's hooks want, None where the settings name no key."""
    key = person_key(loaded)
    bound = {d.name: d.person_binding == "connection" for d in loaded.settings.databases}
    return PassedOn(key, bound) if key is not None else None


def person_key(loaded: Loaded) -> bytes | None:
    """The tap's key, None where there is none."""
    reference = loaded.settings.keys.person
    return None if reference is None else keys.symmetric(loaded.secret(reference, "keys.person"), "keys.person")


def key_of(loaded: Loaded, database: Database) -> bytes | None:
    """What `connectors.postgres.person.install` is given for a database."""
    key = person_key(loaded)
    return None if key is None else database_key(key, database.server, database.upstream)
