"""Apicurio Registry, with the Confluent-compatible API, on an H2 file: schema ids stay the same after a restart."""

from __future__ import annotations

from pathlib import Path

from taprail.connectors.http import answers_200
from taprail.connectors.local.java import FAST_START, environment, java
from taprail.connectors.local.ports import LOOPBACK
from taprail.connectors.local.process import Child

HEAP_MIB = 192


class Registry:
    """The registry, its database under `home`, from the unpacked archive `application`."""

    def __init__(self, home: Path, application: Path, port: int, management_port: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        self.url = f"http://{LOOPBACK}:{port}"
        # WRITE_DELAY=0: a schema that was answered is in the file, also when the registry is killed right after.
        database = f"jdbc:h2:file:{home / 'registry'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
        properties = {
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(port),
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": str(management_port),
            "quarkus.log.level": "WARN",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": database,
            "apicurio.rest.deletion.artifact.enabled": "false",
        }
        self.child = Child(
            "Apicurio Registry",
            [
                java(),
                *FAST_START,
                "-Xms32m",
                f"-Xmx{HEAP_MIB}m",
                *(f"-D{name}={value}" for name, value in properties.items()),
                "-jar",
                application / "quarkus-run.jar",
            ],
            log=home.parent / "logs" / "registry.log",
            env=environment(),
            cwd=home,
        )

    def start(self, timeout_s: float = 60.0) -> None:
        """Start, and wait until the Confluent-compatible API answers."""
        self.child.start()
        self.child.wait_ready(lambda: answers_200(f"{self.url}/apis/ccompat/v7/subjects"), timeout_s)
