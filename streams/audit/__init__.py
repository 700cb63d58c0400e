"""The audit log: an RFC 6962 tree over append-only segments, signed by its own process, verified by anyone."""
