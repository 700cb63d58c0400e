"""The embedded stack as one thing: start all parts, hand out where they answer, stop them in order."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from taprail.connectors.kafka.admin import provision
from taprail.connectors.local.artifacts import JAR_SETS, ensure_sets
from taprail.connectors.local.connect import Connect
from taprail.connectors.local.identity import Identity
from taprail.connectors.local.kafka import Kafka
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from taprail.connectors.local.private import password
from taprail.connectors.local.process import Child
from taprail.connectors.local.registry import Registry
from taprail.schemas.endpoints import ROLES, Endpoints, KafkaEndpoint
from taprail.schemas.errors import StackError

_PORTS = ("kafka", "kafka-controller", "connect", "registry", "registry-management", "postgres", "identity")


class LocalStack:
    """Kafka, Connect, registry, PostgreSQL and an identity provider, all data under `home`.

    A context manager. `progress` is told each step as a line of text, from several threads. No part outlives this
    process, however it ends. One stack can use a home at a time.
    """

    def __init__(
        self,
        home: Path,
        *,
        cache: Path | None = None,
        progress: Callable[[str], None] | None = None,
        postgres: Mapping[str, str] | None = None,
    ) -> None:
        """`postgres` are settings of the server, over ours."""
        self.home = home.resolve()
        self._postgres_settings = postgres
        self._cache = cache
        self._progress = progress or (lambda _line: None)
        self._lock: Any = None
        self._children: list[Child] = []
        self._endpoints: Endpoints | None = None
        self._postgres: Postgres | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where everything answers. StackError before the start."""
        if self._endpoints is None:
            raise StackError("the stack isn't running", hint="call start(), or use it as a context manager")
        return self._endpoints

    @property
    def children(self) -> Mapping[str, int]:
        """Process ids of the parts, by name."""
        return {child.name: child.pid for child in self._children}

    @property
    def parts(self) -> tuple[Child, ...]:
        """The parts that run, so that a supervisor can start one again that has died."""
        return tuple(self._children)

    def check(self) -> None:
        """StackError with the end of its log when a part has died."""
        for child in self._children:
            child.check()

    def start(self) -> Endpoints:
        """Start what isn't running yet, as much as possible at once; everything answers when this returns."""
        if self._endpoints is not None:
            return self._endpoints
        self.home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.home.chmod(0o711)  # PostgreSQL's user passes through; every folder with secrets is closed
        self._take_lock()
        try:
            self._endpoints = self._start()
        except BaseException:
            self.stop()
            raise
        return self._endpoints

    def stop(self) -> None:
        """Stop all parts, those that depend on others first. Safe to call at any time."""
        self._endpoints = None
        by_name = {child.name: child for child in self._children}
        connect = by_name.pop("Kafka Connect", None)
        if connect is not None:
            connect.stop()
        if by_name:
            with ThreadPoolExecutor(len(by_name)) as pool:
                list(pool.map(Child.stop, by_name.values()))
        self._children = []
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def create_database(self, name: str) -> None:
        """Create a database on the stack's PostgreSQL unless it is there."""
        _ = self.endpoints
        assert self._postgres is not None
        self._postgres.create_database(name)

    def _start(self) -> Endpoints:
        jars = ensure_sets(list(JAR_SETS), cache=self._cache)
        ports = choose_ports(_PORTS, self.home / "ports.json")
        users: dict[str, str] = {role: password(self.home / "secrets", role) for role in ROLES}
        kafka = Kafka(self.home / "kafka", jars["kafka"], ports["kafka"], ports["kafka-controller"], users)
        connect = Connect(
            self.home / "connect",
            jars["kafka"],
            {name: jars[name] for name in ("debezium", "converter")},
            ports["connect"],
            bootstrap=kafka.bootstrap,
            kafka_password=users["connect"],
        )
        registry = Registry(self.home / "registry", jars["registry"], ports["registry"], ports["registry-management"])
        settings = self._postgres_settings
        postgres = self._postgres = Postgres(self.home / "postgres", ports["postgres"], settings=settings)
        identity = Identity(self.home / "identity", ports["identity"])
        self._children = [part.child for part in (connect, kafka, registry, postgres, identity)]
        endpoints = Endpoints(
            kafka=KafkaEndpoint(kafka.bootstrap, users),
            postgres=postgres.endpoint,
            connect=connect.endpoint,
            registry_url=registry.url,
            issuer_url=identity.url,
            psql=str(postgres.psql),
        )
        with ThreadPoolExecutor(4) as pool:
            _all(
                pool.submit(self._step, "Kafka and Connect", lambda: self._start_kafka(kafka, connect, endpoints)),
                pool.submit(self._step, "Apicurio Registry", registry.start),
                pool.submit(self._step, "PostgreSQL", postgres.start),
                pool.submit(self._step, "identity provider", identity.start),
            )
        return endpoints

    def _start_kafka(self, kafka: Kafka, connect: Connect, endpoints: Endpoints) -> None:
        """Connect loads its plugins while the broker starts, but the first time it must find its rights in place."""
        provisioned = self.home / "kafka" / "provisioned"
        early = provisioned.exists()
        if early:
            connect.start()
        self._step("Kafka", kafka.start)
        self._step("topics and access rules", lambda: provision(endpoints.kafka))
        provisioned.touch()
        if not early:
            connect.start()
        self._step("Kafka Connect", connect.wait_ready)

    def _step(self, name: str, run: Callable[[], None]) -> None:
        begun = monotonic()
        run()
        self._progress(f"{name}: ready in {monotonic() - begun:.1f} s")

    def _take_lock(self) -> None:
        """Hold `home` until stop(). The lock ends with this process: our children don't inherit it."""
        self._lock = (self.home / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise StackError(f"another stack uses {self.home}", hint="stop it first, or choose another home") from None

    def __enter__(self) -> LocalStack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _all(*futures: Future[None]) -> None:
    """Wait for all, then raise the first failure: when one part fails, no other is still being started."""
    failures = [error for future in futures if (error := future.exception()) is not None]
    if failures:
        raise failures[0]
