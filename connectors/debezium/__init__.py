"""Debezium: the connector's configuration and the records of its change feed."""
