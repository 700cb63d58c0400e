"""Whether a server can be onboarded, and who may sign in to it: what taprail can't change itself, and says instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from taprail.connectors.postgres.onboard import Onboarding, connect

VERSION_MIN = 140_000
# The roles that providers give instead of a superuser, and what that means here.
_MANAGED = {"rds_superuser": "Amazon RDS", "cloudsqlsuperuser": "Google Cloud SQL", "azure_pg_admin": "Azure"}


class Finding(Struct, frozen=True):
    """`level` fail: onboarding can't work; warn: it can, and something will be missing."""

    level: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""


async def readiness(dsn: str, *, feed: bool) -> list[Finding]:
    """What stands in the way on this server. Only asks. Raises StackError where nobody answers."""
    connection = await connect(dsn)
    try:
        row = await connection.fetchrow(
            "SELECT pg_catalog.current_setting('server_version_num')::int AS version, "
            "pg_catalog.current_setting('wal_level') AS wal_level, "
            "pg_catalog.current_setting('max_replication_slots')::int AS slots_max, "
            "(SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots, "
            "(SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database() "
            "AND pg_catalog.starts_with(slot_name, 'taprail_')) AS own_slots, "
            "pg_catalog.current_setting('max_wal_senders')::int AS senders_max, "
            "(SELECT count(*) FROM pg_catalog.pg_stat_replication) AS senders, "
            "pg_catalog.current_setting('password_encryption') AS encryption, "
            "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser, "
            "(SELECT min(rolname) FROM pg_catalog.pg_roles WHERE rolname = ANY ($1)) AS managed",
            list(_MANAGED),
        )
    finally:
        await connection.close()
    return findings(dict(row or {}), feed=feed)


def findings(said: dict[str, object], *, feed: bool) -> list[Finding]:
    """What the server's answers mean."""
    found = []
    numbers = {name: int(str(said[name])) for name in ("version", "slots_max", "slots", "own_slots")}
    numbers |= {name: int(str(said[name])) for name in ("senders_max", "senders")}
    if numbers["version"] < VERSION_MIN:
        found.append(Finding("fail", f"the server is PostgreSQL {numbers['version'] // 10_000}", "14 is the oldest"))
    if not said["superuser"]:
        provider = _MANAGED.get(str(said["managed"]), "")
        text = f"the administrator's role is no superuser{f', as ever on {provider}' if provider else ''}"
        hint = "event triggers and a publication FOR ALL TABLES need one: databases.admin_role must be a superuser"
        if provider:
            hint = "there is no change feed and no catalog by DDL messages here: the tap alone works, without feed_role"
        found.append(Finding("fail", text, hint))
    if feed and said["wal_level"] != "logical":
        hint = "ALTER SYSTEM SET wal_level = logical, then restart the server"
        found.append(Finding("fail", f"wal_level is {said['wal_level']}, so there can be no change feed", hint))
    if feed and not numbers["own_slots"] and numbers["slots"] >= numbers["slots_max"]:
        hint = "raise max_replication_slots, then restart the server"
        found.append(Finding("fail", f"all {numbers['slots_max']} replication slots are taken", hint))
    if feed and not numbers["own_slots"] and numbers["senders"] >= numbers["senders_max"]:
        hint = "raise max_wal_senders, then restart the server"
        found.append(Finding("warn", f"all {numbers['senders_max']} WAL senders are taken", hint))
    return found or [Finding("ok", "the server can be onboarded")]


def hba(what: Onboarding, tap: Sequence[str], feed: Sequence[str]) -> list[str]:
    """Lines for pg_hba.conf, to stand above the others: taprail's roles come from its own addresses and nowhere else.

    `tap` and `feed` are addresses in CIDR form: where taps and Kafka Connect are. Source: PostgreSQL documentation,
    chapter 20.1; a logical replication connection matches the database, not `replication`.
    """
    roles = [(login.role, tap) for login in (*what.logins, *([what.catalog] if what.catalog else []))]
    roles += [(what.feed.role, feed)] if what.feed else []
    lines = []
    for role, addresses in roles:
        lines += [f"hostssl {_word(what.database)} {_word(role)} {each} scram-sha-256" for each in addresses]
        lines.append(f"host    all {_word(role)} all reject")
    return lines


def _word(name: str) -> str:
    """In quotes, which also takes the meaning from words such as `all`."""
    return '"' + name.replace('"', '""') + '"'
