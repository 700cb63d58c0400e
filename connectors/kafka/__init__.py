"""Kafka: topics and their access rules, clients, and the transactional loop."""
