"""The spool: what a tap writes down before anything happens, and the publisher that drains it to Kafka."""
