"""Apache Kafka as one KRaft node on loopback: SCRAM-SHA-256 for clients, and nobody may do anything without an ACL."""

from __future__ import annotations

import base64
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

from taprail.connectors.local.java import environment, java_command, log4j2_file, write_properties
from taprail.connectors.local.ports import LOOPBACK
from taprail.connectors.local.private import password, write_private
from taprail.connectors.local.process import Child

HEAP_MIB = 384
_CONTROLLER_USER = "controller"
_LOGIN = "org.apache.kafka.common.security"


def scram_jaas(user: str, secret: str) -> str:
    """A JAAS line for a SCRAM client (Kafka documentation, 7.4 Authentication using SASL)."""
    return f'{_LOGIN}.scram.ScramLoginModule required username="{user}" password="{secret}";'


def broker_properties(
    home: Path, port: int, controller_port: int, admin_password: str, controller_password: str
) -> dict[str, str | int]:
    """`server.properties` of a node that is broker and controller."""
    controller_jaas = (
        f'{_LOGIN}.plain.PlainLoginModule required username="{_CONTROLLER_USER}" password="{controller_password}" '
        f'user_{_CONTROLLER_USER}="{controller_password}";'
    )
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "log.dirs": str(home / "data"),
        "listeners": f"CLIENTS://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{LOOPBACK}:{port}",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.clients.scram-sha-256.sasl.jaas.config": scram_jaas("admin", admin_password),
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": controller_jaas,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:admin;User:{_CONTROLLER_USER}",
        "auto.create.topics.enable": "false",
        # One node: every internal topic has one replica, and few partitions, so that a start opens few files.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # The raw change feed lives ten minutes: look for what has expired often, and delete it at once.
        "log.retention.check.interval.ms": 20_000,
        "log.segment.delete.delay.ms": 1_000,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }


class Kafka:
    """One broker, its files under `home`, its users' passwords given by the caller."""

    def __init__(self, home: Path, jars: Path, port: int, controller_port: int, users: Mapping[str, str]) -> None:
        self.bootstrap = f"{LOOPBACK}:{port}"
        self._home = home
        self._jars = jars
        self._port = port
        self._users = users
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        values = broker_properties(
            home, port, controller_port, users["admin"], password(home / "secrets", _CONTROLLER_USER)
        )
        self._properties = write_properties(home / "server.properties", values)
        self._logging = {"log4j2.configurationFile": str(log4j2_file(home))}
        self.child = Child(
            "Kafka",
            java_command(
                "kafka.Kafka", [self._properties], classpath=jars, heap_mib=HEAP_MIB, properties=self._logging
            ),
            log=home.parent / "logs" / "kafka.log",
            env=environment(),
            cwd=home,
        )

    @property
    def formatted(self) -> bool:
        return (self._home / "data" / "meta.properties").exists()

    def start(self, timeout_s: float = 60.0) -> None:
        """Format the storage the first time, start, and wait until it takes connections from clients."""
        if not self.formatted:
            self._format()
        self.child.start()
        self.child.wait_ready(self._answers, timeout_s)

    def _format(self) -> None:
        """Create the cluster with its SCRAM users. The passwords go through a file: arguments show in `ps`."""
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster_id.startswith("-"):  # it would be taken for an option
            cluster_id = "A" + cluster_id[1:]
        arguments = ["format", "--cluster-id", cluster_id, "--config", str(self._properties), "--standalone"]
        for user, secret in self._users.items():
            arguments += ["--add-scram", f"SCRAM-SHA-256=[name={user},password={secret}]"]
        file = write_private(self._home / "format.args", "\n".join(arguments))
        try:
            Child(
                "kafka-storage format",
                java_command(
                    "kafka.tools.StorageTool",
                    [f"@{file}"],
                    classpath=self._jars,
                    heap_mib=128,
                    properties=self._logging,
                ),
                log=self._home.parent / "logs" / "kafka-format.log",
                env=environment(),
            ).start().wait_end(60)
        finally:
            file.unlink()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=1):
                return True
        except OSError:
            return False
