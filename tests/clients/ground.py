"""Where clients are tried: a database of the stack, a tap as it is run, and who connects how.

Three ways lead to the same database: directly; through the tap as Otto, of a group that sees everything; and through
the tap as Ann, who sees personal data masked. Both sign in with access tokens as passwords, over TLS (verify-full).
The database is reached under a second name, too, in an environment where the policy denies and holds.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from taprail.connectors.local.identity import access_token
from taprail.connectors.postgres import onboard
from taprail.schemas.endpoints import Endpoints
from tests.fakes.certificates import certificate
from tests.fakes.running_tap import RunningTap
from tests.streams.policy.test_clients_see_the_catalog import BACKSLASH, WORLD

DIRECT, CLEAR, MASKED = "direct", "clear", "masked"
MASKED_COLUMNS = frozenset({"name", "email", "phone", "doc", "net"})
PEOPLE = {CLEAR: ("otto", ["data-owners"]), MASKED: ("ann", ["engineers"])}
ROWS = """
INSERT INTO customers VALUES (2, 'Bo', 'bo@mail.example', '+358 40 123 4567', NULL), (3, 'Cy', 'cy@mail.example', NULL, 'loud');
CREATE TABLE kinds (id int PRIMARY KEY, at timestamptz, wall timestamp, day date, span interval, tags text[],
    grid int[][], doc jsonb, raw bytea, uid uuid, amount numeric(12, 4), ratio float8, yes bool, state mood, net inet,
    span4 int4range);
INSERT INTO kinds VALUES
    (1, '2024-03-31 01:30:00+02', '2024-03-31 02:30', '2024-02-29', '1 day 02:03', '{a,NULL,"b c"}', '{{1,2},{3,4}}',
     '{"a": [1, null, "ä"]}', '\\x00ff10', '00000000-0000-0000-0000-000000000007', 12.3400, 0.1, true, 'glad',
     '10.0.0.0/8', '[1,5)'),
    (2, '1999-12-31 23:59:59.999999Z', NULL, NULL, NULL, '{}', NULL, 'null', '', NULL, -1, 'NaN', false, 'sad',
     NULL, 'empty');
CREATE TABLE big AS SELECT n, 'word ' || n AS word FROM generate_series(1, 100000) AS n;
INSERT INTO orders VALUES (1, 1, 10.50, '2024-01-01Z'), (2, 2, 20, NULL), (3, 3, 0.01, '2024-06-01Z');
ANALYZE;
"""  # noqa: E501
TAP = """
certificate = "localhost.pem"
private_key = "localhost.key"
"""
MORE = """
[policy]
clear_groups = ["data-owners"]
hold_seconds = 1
[[databases]]
name = "{name}_prod"
database = "{name}"
environment = "prod"
server = "main"
host = "{host}"
port = {port}
tls = "disable"
catalog_role = "{superuser}"
catalog_password = "file:postgres"
[[databases.roles]]
group = "*"
role = "{superuser}"
password = "file:postgres"
"""


class Ground:
    """What a client's program is given, by the way that it takes."""

    def __init__(self, stack: Endpoints, tap: RunningTap) -> None:
        self._stack, self._tap = stack, tap

    def environment(self, way: str) -> dict[str, str]:
        """Variables as `tests/clients/told.py` reads them. Tokens are fetched anew each time."""
        common = {"CLIENT_DATABASE": self._tap.database}
        common["CLIENT_BACKSLASH"] = "\n".join(each for each in BACKSLASH if each != r"\conninfo")
        postgres = self._stack.postgres
        if way == DIRECT:
            place = (postgres.host, str(postgres.port), postgres.superuser, postgres.password, "disable")
        else:
            subject, groups = PEOPLE[way]
            put_user(self._stack.issuer_url, subject, groups)
            token = access_token(self._stack.issuer_url, subject)
            place = ("localhost", str(self._tap.port), subject, token, "verify-full")
            common["CLIENT_CA_FILE"] = str(self._tap.home / "localhost.pem")
            common["CLIENT_PROTECTED"] = f"{self._tap.database}_prod"
        names = ("CLIENT_HOST", "CLIENT_PORT", "CLIENT_USER", "CLIENT_PASSWORD", "CLIENT_SSLMODE")
        return {**common, **dict(zip(names, place, strict=True))}


def put_user(issuer: str, subject: str, groups: list[str]) -> None:
    """Give the provider's user these groups."""
    request = urllib.request.Request(f"{issuer}/users/{subject}", json.dumps({"groups": groups}).encode(), method="PUT")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10):
        pass


@contextmanager
def ground(stack: Endpoints, home: Path) -> Iterator[Ground]:
    """A new database, which is gone afterwards, behind a tap."""
    name = f"clients_{secrets.token_hex(4)}"
    postgres = stack.postgres
    certificate(home, "localhost")
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            asyncio.run(onboard.apply(postgres.dsn(name), onboard.prepare(onboard.Onboarding(name))))
            with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
                connection.execute((WORLD + ROWS).encode())
            more = MORE.format(name=name, host=postgres.host, port=postgres.port, superuser=postgres.superuser)
            with RunningTap(home, stack, name, tap=TAP, more=more) as tap:
                yield Ground(stack, tap)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
