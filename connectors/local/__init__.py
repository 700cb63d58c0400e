"""The embedded stack: Kafka, Connect with Debezium, the registry and PostgreSQL as child processes, without Docker."""
