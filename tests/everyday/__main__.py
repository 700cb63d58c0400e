"""Capture what tools send: `python -m tests.everyday [TOOL ...]` writes `tests/everyday/<tool>.sql` anew.

The tools are those of `tests/clients`, which install themselves, and the ones of `tests/everyday/tools.py`. Each runs
its program on a PostgreSQL of the stack, through a relay that keeps the text of every Query and Parse message. What
changes the schema goes into `<tool>-migrations.sql`: it is everyday where migrations run, and not in production.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import postgast
import psycopg
from psycopg import sql as names

from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import Endpoints, PostgresEndpoint, read_endpoints
from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of
from tests.clients.catalogue import Client, prepared, version
from tests.clients.ground import ROWS
from tests.everyday import corpus
from tests.everyday.relay import Relay, relay
from tests.everyday.tools import TOOLS, Tool
from tests.streams.policy.test_clients_see_the_catalog import BACKSLASH, WORLD

TEXT_CHARACTERS_MAX = 8_000
MIGRATING = ("CREATE", "ALTER", "DROP", "TRUNCATE", "COMMENT", "GRANT", "REVOKE", "DO", "REINDEX", "CALL")


@contextlib.contextmanager
def stack() -> Iterator[Endpoints]:
    """A running one (TAPRAIL_TEST_ENDPOINTS) or one of its own."""
    if running := os.environ.get("TAPRAIL_TEST_ENDPOINTS"):
        yield read_endpoints(Path(running))
        return
    with tempfile.TemporaryDirectory(prefix="taprail-everyday-") as home, LocalStack(Path(home)) as local:
        yield local.endpoints


@contextlib.contextmanager
def database(postgres: PostgresEndpoint) -> Iterator[str]:
    name = f"everyday_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(names.SQL("CREATE DATABASE {}").format(names.Identifier(name)))
        try:
            with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
                connection.execute((WORLD + ROWS).encode())
            yield name
        finally:
            admin.execute(names.SQL("DROP DATABASE {} WITH (FORCE)").format(names.Identifier(name)))


def run(tool: Client, python: Path, postgres: PostgresEndpoint, name: str, through: Relay) -> list[tuple[str, str]]:
    """(what was being done, text), in the order in which they came."""
    environment = {
        **os.environ,
        "CLIENT_HOST": "127.0.0.1",
        "CLIENT_PORT": str(through.port),
        "CLIENT_USER": postgres.superuser,
        "CLIENT_PASSWORD": postgres.password,
        "CLIENT_DATABASE": name,
        "CLIENT_SSLMODE": "disable",
        "CLIENT_BACKSLASH": "\n".join(each for each in BACKSLASH if each != r"\conninfo"),
        "PYTHONPATH": str(Path(__file__).parents[1] / "clients"),
        "TZ": "UTC",
        **tool.environment(),
    }
    found: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [python, tool.program],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if line.startswith('{"step"'):
                step = json.loads(line)["step"]
                found += [(step, text) for text in through.texts[len(found) :]]
        said = process.stderr.read()
        if process.wait(60) != 0:
            sys.exit(f"{tool.name} failed: {said[-2000:]}")
    return [*found, *(("at the end", text) for text in through.texts[len(found) :])]


def kept(found: list[tuple[str, str]], known: set[str], name: str) -> Iterator[tuple[str, str, bool]]:
    """(what was being done, text, whether it changes the schema), each normalised text once over all tools."""
    for doing, sent in found:
        text = sent.replace(name, "shop").strip()
        if not text.strip() or len(text) > TEXT_CHARACTERS_MAX or "\n-- @" in text:
            continue
        try:
            normalised, nodes = postgast.normalize(text), [each.stmt for each in sql.parse(text).stmts]
        except Exception as error:  # what the server refuses as well
            print(f"not kept: {error}: {text[:80]!r}", file=sys.stderr)
            continue
        if not nodes or normalised in known:
            continue
        known.add(normalised)
        yield doing, text, any(facts_of(node).tag.startswith(MIGRATING) for node in nodes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.everyday", description=__doc__)
    parser.add_argument("tool", nargs="*", help=f"of {', '.join(TOOLS)}; all of them unless named")
    wanted = parser.parse_args().tool or list(TOOLS)
    others = [t for t in corpus.tools() if t.removesuffix("-migrations") not in wanted]
    known: set[str] = {postgast.normalize(each.text) for tool in others for each in corpus.load(tool)}
    with stack() as endpoints:
        for each in wanted:
            tool = TOOLS[each]
            python = prepared(tool)
            with (
                database(endpoints.postgres) as name,
                relay(endpoints.postgres.host, endpoints.postgres.port) as through,
            ):
                found = list(kept(run(tool, python, endpoints.postgres, name, through), known, name))
            named = (tool.said if isinstance(tool, Tool) else "") or version(tool, python)
            said = [f"tool: {named}", f"captured: {datetime.date.today():%Y-%m}, by a relay before PostgreSQL"]
            for suffix, migrates in (("", False), ("-migrations", True)):
                statements = [(doing, text) for doing, text, changes in found if changes is migrates]
                if statements:
                    corpus.write(
                        each + suffix, [*said, f"ran: tests/{tool.program.parent.name}/{tool.program.name}"], statements
                    )
            print(f"{each}: {len(found)} statements, {sum(changes for *_, changes in found)} of them change the schema")


if __name__ == "__main__":
    main()
