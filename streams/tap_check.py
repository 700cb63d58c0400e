"""What is wrong with a tap's configuration, before it starts: everything that it will need is asked for once.

Each check is told as a finding as soon as it is known; one that can't be made because of another isn't made.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from taprail.connectors import admin_socket
from taprail.connectors.kafka.authorised import lacks
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.oidc.keys import ProviderKeys
from taprail.schemas import avro, records
from taprail.schemas.errors import PolicyError, SettingsError, StackError, TaprailError
from taprail.streams import settings
from taprail.streams.certificate import examine
from taprail.streams.policy.source import local_policies
from taprail.streams.settings import Loaded
from taprail.streams.settings_tap import Listener, Tap, certificates
from taprail.streams.tap_check_database import Finding, check_database
from taprail.streams.tap_listen import server_context
from taprail.streams.tap_processes import admin_socket as socket_of
from taprail.streams.tap_processes import left_over, of_process

EXPIRES_SOON_DAYS = 21


Check = Callable[[], Awaitable[list[Finding]]]


async def check_tap(path: Path, about: Callable[[str], None] = lambda _: None) -> AsyncIterator[Finding]:
    """Everything, in order. `about` hears what is being asked before each answer."""
    try:
        loaded = settings.load(path)
    except SettingsError as error:
        yield Finding("fail", "settings", error.message, error.hint)
        return
    yield Finding("ok", "settings", f"{path} says what a tap needs")
    for problem in settings.problems(loaded):
        yield Finding("fail", "settings", problem, "docs/settings.md describes every setting")
    running = await _running(loaded)
    for finding in _local(loaded, running):
        yield finding
    asked: list[tuple[str, Check]] = [
        ("kafka", lambda: asyncio.to_thread(_kafka, loaded)),
        ("registry", lambda: asyncio.to_thread(_registry, loaded)),
        ("identity", lambda: _identity(loaded)),
    ]
    for database in loaded.settings.databases:
        asked.append((f"database {database.name}", partial(check_database, loaded, database)))
    tasks = [(what, asyncio.ensure_future(_caught(what, check))) for what, check in asked]
    try:
        for what, task in tasks:
            about(what)
            for finding in await task:
                yield finding
    finally:
        for _, task in tasks:
            task.cancel()


async def _caught(what: str, check: Check) -> list[Finding]:
    try:
        return await check()
    except TaprailError as error:
        return [Finding("fail", what, error.message, error.hint)]


async def _running(loaded: Loaded) -> set[str]:
    """Where this very tap listens already, if it runs."""
    found: set[str] = set()
    for process in range(loaded.settings.tap.processes):
        try:
            found |= set((await admin_socket.ask(socket_of(loaded, process), "status"))["listens"])
        except StackError:
            continue
    return found


def _local(loaded: Loaded, running: set[str]) -> Iterator[Finding]:
    """What can be seen without asking anybody."""
    yield from _certificates(loaded)
    yield from _policies(loaded)
    yield from _addresses(loaded, running)
    yield from _spools(loaded)


def _policies(loaded: Loaded) -> Iterator[Finding]:
    try:
        found = local_policies(loaded)
    except PolicyError as error:
        yield Finding("fail", "policy.directory", str(error), "`taprail policy lint` says all of it")
        return
    if found is not None:
        yield Finding("ok", "policy.directory", f"it holds {len(found.policies)} policies, version {found.version}")


def _certificates(loaded: Loaded) -> Iterator[Finding]:
    tap = loaded.settings.tap
    for setting, certificate, private_key in certificates(tap):
        if not certificate:
            continue
        what = f"{setting}.certificate"
        try:
            server_context(loaded, certificate, private_key, setting)
            seen = examine(loaded.path(certificate))
        except (SettingsError, OSError, ValueError) as error:
            yield Finding("fail", what, str(error))
            continue
        if seen.days_left < 0:
            yield Finding(
                "fail", what, f"expired {-seen.days_left:.0f} days ago", "renew it, then `taprail tap reload`"
            )
        elif seen.days_left < EXPIRES_SOON_DAYS:
            yield Finding("warn", what, f"expires in {seen.days_left:.0f} days", "renew it, then `taprail tap reload`")
        else:
            yield Finding("ok", what, f"for {', '.join(seen.names)}; {seen.days_left:.0f} days left")
        if loaded.path(private_key).stat().st_mode & 0o077:
            yield Finding("warn", f"{setting}.private_key", "others may read it", f"chmod 600 {private_key}")
        host = next((h for h in tap.hosts if setting == f"tap.hosts.{h.name}"), None)
        if host is not None and not seen.covers(host.name):
            yield Finding("fail", what, f"isn't for {host.name}: clients that verify it refuse it", "get one that is")
    if not tap.certificate:
        yield Finding("warn", "tap.certificate", "there is none: sessions aren't encrypted", "set it and private_key")


def _addresses(loaded: Loaded, running: set[str]) -> Iterator[Finding]:
    tap = loaded.settings.tap
    every: list[Tap | Listener] = [tap, *tap.listeners]
    for each in every:
        what = f"tap.listeners.{each.name}" if isinstance(each, Listener) else "tap.port"
        if each.host:
            where = f"{each.host}:{each.port}"
            if where in running:
                yield Finding("ok", what, f"this tap listens on {where}")
            else:
                yield _free(what, each.host, each.port)
        if each.unix_directory:
            directory = loaded.path(each.unix_directory)
            writable = (directory.is_dir() and os.access(directory, os.W_OK)) or os.access(directory.parent, os.W_OK)
            if writable:
                yield Finding("ok", f"{what} (Unix)", f"{directory} can hold the socket")
            else:
                yield Finding("fail", f"{what} (Unix)", f"{directory} can't be written", "make it, or choose another")


def _free(what: str, host: str, port: int) -> Finding:
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
                probe.listen(1)
    except OSError as error:
        return Finding("fail", what, f"can't listen on {host}:{port}: {error.strerror or error}", "see: ss -ltnp")
    return Finding("ok", what, f"{host}:{port} is free")


def _spools(loaded: Loaded) -> Iterator[Finding]:
    """Each process's directory can be written, and the disk holds what it may take."""
    tap = loaded.settings.tap
    for process in range(tap.processes):
        directory = loaded.path(of_process(loaded, process).settings.tap.spool)
        there = next(each for each in (directory, *directory.parents) if each.exists())
        what = "tap.spool" if process == 0 else f"tap.spool of process {process}"
        if len(os.fsencode(socket_of(loaded, process))) > admin_socket.PATH_BYTES_MAX:
            text = f"{socket_of(loaded, process)} is too long for a Unix socket"
            yield Finding("fail", what, text, "choose a shorter directory")
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding(
                "fail", what, f"{there} can't be written", "statements don't run where they can't be recorded"
            )
            continue
        if directory.is_dir() and directory.stat().st_mode & 0o077:
            yield Finding("warn", what, f"others may look into {directory}", f"chmod 700 {directory}")
        free, wanted = shutil.disk_usage(there).free, tap.spool_bytes_max * tap.processes
        if free < wanted:
            text = f"{free >> 20} MiB are free for spools that may take {wanted >> 20} MiB"
            yield Finding("warn", what, text, "make room, or lower tap.spool_bytes_max")
        else:
            yield Finding("ok", what, f"{directory}, {free >> 20} MiB free")
    for process in left_over(loaded):
        text = f"process {process} is no more and has left records; the next start sends them"
        yield Finding("warn", "tap.spool", text)


def _kafka(loaded: Loaded) -> list[Finding]:
    missing = lacks(loaded.kafka("tap").client_config("tap"), "tap")
    if missing:
        hint = "`taprail init` makes topics and access rules"
        return [Finding("fail", "kafka", line, hint) for line in missing]
    return [Finding("ok", "kafka", "reached, and the tap may write and read its topics")]


def _registry(loaded: Loaded) -> list[Finding]:
    registry = Registry(loaded.settings.registry.url)
    for record in (records.Statement, records.Outcome, records.Session):
        registry.register(f"taprail.{record.__name__}", avro.schema_of(record))
    return [Finding("ok", "registry", "reached, and it has the tap's schemas")]


async def _identity(loaded: Loaded) -> list[Finding]:
    issuer = loaded.settings.identity.issuer
    keys = ProviderKeys(issuer)
    metadata = await keys.discover()
    findings = []
    if not issuer.startswith("https://") and "127.0.0.1" not in issuer and "localhost" not in issuer:
        findings.append(Finding("warn", "identity", f"{issuer} isn't https: its keys could be anybody's", "use https"))
    if not keys.usable:
        hint = "its JWKS must hold an RSA, EC or EdDSA key for signatures"
        return [*findings, Finding("fail", "identity", f"{issuer} has no key that tokens can be verified with", hint)]
    text = f"{metadata['issuer']}, {keys.usable} {'key' if keys.usable == 1 else 'keys'}"
    return [*findings, Finding("ok", "identity", text)]
