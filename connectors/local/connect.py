"""Kafka Connect, one distributed worker on loopback with Debezium for PostgreSQL and Apicurio's Avro converter."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path

from taprail.connectors.http import answers_200
from taprail.connectors.local.java import environment, java_command, log4j2_file, write_properties
from taprail.connectors.local.kafka import scram_jaas
from taprail.connectors.local.ports import LOOPBACK
from taprail.connectors.local.private import password, write_private
from taprail.connectors.local.process import Child
from taprail.schemas.endpoints import ConnectEndpoint

HEAP_MIB = 320
REST_USER = "taprail"
_REST_LOGIN = "org.apache.kafka.connect.rest.basic.auth.extension"
_CONVERTER_SERVICE = "META-INF/services/org.apache.kafka.connect.storage.Converter"
_AVRO_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"


def worker_properties(*, bootstrap: str, kafka_password: str, port: int, plugins: Path) -> dict[str, str | int]:
    """The worker's properties.

    The same login stands four times: for the worker's own topics, and for the producers, consumers and admin clients
    that it makes for connectors. A connector may not override it.
    """
    properties: dict[str, str | int] = {
        "bootstrap.servers": bootstrap,
        "group.id": "taprail-connect",
        "listeners": f"http://{LOOPBACK}:{port}",
        "rest.advertised.host.name": LOOPBACK,
        "rest.advertised.port": port,
        "rest.extension.classes": f"{_REST_LOGIN}.BasicAuthSecurityRestExtension",
        "plugin.path": str(plugins),
        # Read the plugins' manifests instead of every class of every jar: that scan takes seconds.
        "plugin.discovery": "service_load",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "connector.client.config.override.policy": "None",
        "topic.creation.enable": "false",
        "scheduled.rebalance.max.delay.ms": 0,
        "offset.flush.interval.ms": 1_000,
        "task.shutdown.graceful.timeout.ms": 2_000,
    }
    for kind in ("config", "offset", "status"):
        properties[f"{kind}.storage.topic"] = f"connect-{kind}s" if kind != "status" else "connect-status"
        properties[f"{kind}.storage.replication.factor"] = 1
    properties |= {"offset.storage.partitions": 1, "status.storage.partitions": 1}
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.jaas.config": scram_jaas("connect", kafka_password),
    }
    for client in ("", "producer.", "consumer.", "admin."):
        properties |= {client + name: value for name, value in login.items()}
    return properties | {"producer.compression.type": "lz4", "producer.linger.ms": 0}


class Connect:
    """One Connect worker, its files under `home`; `jars` are Kafka's, `plugin_sets` the connector's and converter's."""

    def __init__(
        self, home: Path, jars: Path, plugin_sets: dict[str, Path], port: int, *, bootstrap: str, kafka_password: str
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        rest_password = password(home / "secrets", "rest")
        self.endpoint = ConnectEndpoint(f"http://{LOOPBACK}:{port}", REST_USER, rest_password)
        users = write_private(home / "rest.users", f"{REST_USER}: {rest_password}\n")
        login = f'KafkaConnect {{ {_REST_LOGIN}.PropertyFileLoginModule required file="{users}"; }};\n'
        values = worker_properties(
            bootstrap=bootstrap, kafka_password=kafka_password, port=port, plugins=_plugin_path(home, plugin_sets)
        )
        self.child = Child(
            "Kafka Connect",
            java_command(
                "org.apache.kafka.connect.cli.ConnectDistributed",
                [write_properties(home / "worker.properties", values)],
                classpath=jars,
                heap_mib=HEAP_MIB,
                properties={
                    "log4j2.configurationFile": str(log4j2_file(home)),
                    "java.security.auth.login.config": str(write_private(home / "rest.jaas", login)),
                },
            ),
            log=home.parent / "logs" / "connect.log",
            env=environment(),
            cwd=home,
        )

    def start(self) -> None:
        self.child.start()

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Wait until the worker has joined its group: before that, Connect answers 404 or not at all."""
        token = base64.b64encode(f"{self.endpoint.user}:{self.endpoint.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"}
        url = f"{self.endpoint.url}/connectors"
        self.child.wait_ready(lambda: answers_200(url, headers=headers), timeout_s)


def _plugin_path(home: Path, plugin_sets: dict[str, Path]) -> Path:
    """A folder with one plugin each, as links, and the manifest that Apicurio's converter lacks.

    Without it Connect would have to scan all classes (KIP-898); `connect-plugin-path sync-manifests` does the same.
    """
    plugins = home / "plugins"
    for name, jars in plugin_sets.items():
        folder = plugins / name
        folder.mkdir(parents=True, exist_ok=True)
        for link in folder.glob("*.jar"):
            link.unlink()
        for jar in jars.glob("*.jar"):
            (folder / jar.name).symlink_to(jar)
    with zipfile.ZipFile(plugins / "converter" / "manifest.jar", "w") as manifest:
        manifest.writestr(_CONVERTER_SERVICE, _AVRO_CONVERTER + "\n")
    return plugins
