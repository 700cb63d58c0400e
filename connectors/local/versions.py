"""The versions that run together, for the local processes and for containers alike."""

from __future__ import annotations

KAFKA = "4.1.1"
DEBEZIUM = "3.6.3.Final"
REGISTRY = "3.3.3"  # Apicurio
CONVERTER = "2.6.13.Final"  # Apicurio's converter: the newest whose dependencies all resolve
LOG4J = "2.24.3"  # Kafka logs through slf4j 1.7 and brings no binding
POSTGRES = "18.6"
