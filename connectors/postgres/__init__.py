"""The PostgreSQL tap: messages, the state of a session, and the proxy that joins them to sockets."""
