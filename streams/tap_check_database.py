"""What is wrong with one database behind a tap: whether each role gets in, what it may do, and what `init` has made."""

from __future__ import annotations

import asyncio
import ssl
from typing import Literal

from msgspec import Struct

from taprail.connectors.postgres.examine import Examined, examine
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.upstream import sign_in
from taprail.schemas.errors import TaprailError
from taprail.streams.settings import Database, Loaded
from taprail.streams.upstreams import catalog_connect, target_of, upstream_tls

SECONDS_MAX = 10.0
OLDEST, NEWEST = 14, 18  # major versions that are tested; older ones have no pg_read_all_data and other reports


class Finding(Struct, frozen=True):
    """One line. `fail`: the tap doesn't start, or nobody gets in by this; `warn`: it does, and shouldn't so."""

    level: Literal["ok", "warn", "fail"]
    what: str
    text: str
    hint: str = ""


async def check_database(loaded: Loaded, database: Database) -> list[Finding]:
    """Sign in as every role as the tap does, and ask the server as the catalog's role."""
    what = f"database {database.name}"
    try:
        tls = upstream_tls(database, loaded)
    except (OSError, ssl.SSLError) as error:
        text = f"{database.ca_file} has no CA certificates: {error}"
        return [Finding("fail", what, text, "set its ca_file to a PEM file")]
    findings = []
    if database.tls != "verify-full" and not database.host.startswith(("/", "127.", "localhost")):
        risk = "in the clear" if database.tls == "disable" else "to whoever has any certificate"
        text = f"the tap speaks {risk} with {database.host}"
        findings.append(Finding("warn", what, text, 'set tls = "verify-full" and its ca_file'))
    roles = {mapping.role: mapping.password for mapping in database.roles}
    entered = await asyncio.gather(*(_enter(loaded, database, *each, tls) for each in roles.items()))
    findings += entered
    if all(finding.level == "fail" for finding in entered) and any("can't reach" in f.text for f in entered):
        return findings[: -len(entered)] + entered[:1]  # the server is away: once is enough
    try:
        connect = catalog_connect(loaded, database)
        seen = await examine({**connect, "ssl": tls or False}, [*roles, database.catalog_role], SECONDS_MAX)
    except TaprailError as error:
        text = f"{database.catalog_role} can't read the catalog: {error.message}"
        return [*findings, Finding("fail", what, text, error.hint)]
    return [*findings, *judge(database, seen, tells_person=loaded.settings.keys.person is not None)]


def judge(database: Database, seen: Examined, *, tells_person: bool = False) -> list[Finding]:
    """What is to be said of a server. `tells_person`: the tap tells it who acts."""
    what, found = f"database {database.name}", []
    major = seen.version // 10_000
    if not OLDEST <= major <= NEWEST:
        text = f"PostgreSQL {major}: tested are {OLDEST} to {NEWEST}"
        found.append(Finding("fail" if major < OLDEST else "warn", what, text, "use a server of those versions"))
    else:
        found.append(Finding("ok", what, f"PostgreSQL {major}, and {database.catalog_role} reads its catalog"))
    if seen.encoding != "UTF8":
        found.append(Finding("warn", what, f"its encoding is {seen.encoding}", "texts that UTF-8 can't hold fail"))
    for role in seen.roles:
        rights = (("superuser", role.superuser), ("BYPASSRLS", role.bypass_rls), ("CREATEROLE", role.create_role))
        above = [name for name, has in (*rights, ("REPLICATION", role.replication)) if has]
        if above:
            text = f"{role.name} is or has {' and '.join(above)}: no grant and no row-level security holds it"
            found.append(Finding("warn", what, text, "give the tap roles with the least rights"))
    if not seen.event_triggers:
        text = "DDL that goes round the tap isn't told: the event triggers aren't there"
        found.append(Finding("warn", what, text, "`taprail init`"))
    if tells_person and not seen.person_functions:
        text = "nothing verifies who acts: taprail.person() isn't there"
        found.append(Finding("warn", what, text, "`taprail init`"))
    if database.feed_role and not seen.publications:
        found.append(Finding("fail", what, "there is no publication for the change feed", "`taprail init`"))
    if database.feed_role and seen.wal_level != "logical":
        text = f"wal_level is {seen.wal_level}, so there is no change feed"
        found.append(Finding("fail", what, text, "ALTER SYSTEM SET wal_level = logical, then restart the server"))
    return found


async def _enter(loaded: Loaded, database: Database, role: str, reference: str, tls: ssl.SSLContext | None) -> Finding:
    """As a session would sign in."""
    what = f"database {database.name}"
    try:
        password = loaded.secret(reference, f"databases.{database.name}.roles.{role}")
        target = target_of(database, role, password, tls, "process")
        async with asyncio.timeout(SECONDS_MAX):
            opened = await sign_in(target, {}, Limits())
    except TimeoutError:
        return Finding("fail", what, f"server {database.server} doesn't answer {role} within {SECONDS_MAX:.0f} s")
    except TaprailError as error:
        return Finding("fail", what, error.message, error.hint)
    encrypted = "over TLS" if opened.channel.encrypted else "without TLS"
    opened.channel.close()
    return Finding("ok", what, f"{role} signs in {encrypted}")
