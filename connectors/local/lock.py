"""Write `jars.lock`: `python -m taprail.connectors.local.lock`, after a version was changed.

It resolves each set with jgo, downloads every jar and records its SHA-256. Whoever commits the new lock reviews it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from jgo.maven import Dependency, MavenContext

from taprail.connectors.local import versions
from taprail.connectors.local.artifacts import LOCK_FILE, Pin, artifact_path, cache_directory, file_sha256

# What the worker itself gives its plugins. Apicurio's converter brings an older connect-json, with which Connect 4
# can't instantiate any converter (NoSuchMethodError: Utils.mkSet).
_OF_THE_WORKER = frozenset(
    {"kafka-clients", "connect-api", "connect-json", "slf4j-api", "zstd-jni", "lz4-java", "snappy-java"}
)


class JarSet(NamedTuple):
    """Coordinates to resolve with their dependencies, what to leave out of those, and what to take alone.

    jgo lets the dependency management of every root speak for all: a root of another project changes versions.
    """

    roots: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    alone: tuple[str, ...] = ()


SETS = {
    "kafka": JarSet(
        (
            f"org.apache.kafka:kafka_2.13:{versions.KAFKA}:jar",
            f"org.apache.kafka:connect-runtime:{versions.KAFKA}:jar",
            f"org.apache.kafka:connect-basic-auth-extension:{versions.KAFKA}:jar",
        ),
        alone=(f"org.apache.logging.log4j:log4j-slf4j-impl:{versions.LOG4J}:jar",),
    ),
    "debezium": JarSet((f"io.debezium:debezium-connector-postgres:{versions.DEBEZIUM}:jar",), _OF_THE_WORKER),
    "converter": JarSet((f"io.apicurio:apicurio-registry-utils-converter:{versions.CONVERTER}:jar",), _OF_THE_WORKER),
    "registry": JarSet(alone=(f"io.apicurio:apicurio-registry-app:{versions.REGISTRY}:all:tar.gz",)),
}


def resolve(context: MavenContext, jars: JarSet) -> list[str]:
    """All coordinates of a set, sorted."""
    found = set(jars.alone)
    if not jars.roots:
        return sorted(found)
    roots = []
    for coordinates in jars.roots:
        group, name, version, packaging = coordinates.split(":")
        roots.append(Dependency(context.project(group, name).at_version(version).artifact(packaging=packaging)))
    inputs, dependencies = context.resolver.resolve(roots)
    for dependency in [*inputs, *dependencies]:
        if dependency.artifactId not in jars.without:
            middle = f":{dependency.classifier}" if dependency.classifier else ""
            found.add(f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}{middle}:{dependency.type}")
    return sorted(found)


def main() -> None:
    """Resolve every set and replace the lock file."""
    context = MavenContext(repo_cache=cache_directory() / "maven", timeout=60)
    lines = ["# set, SHA-256, bytes, Maven coordinates; written by: python -m taprail.connectors.local.lock"]
    for name, jars in SETS.items():
        for coordinates in resolve(context, jars):
            path = artifact_path(context, coordinates)
            lines.append(Pin(name, file_sha256(path), path.stat().st_size, coordinates).line)
            print(lines[-1], file=sys.stderr)
    LOCK_FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
