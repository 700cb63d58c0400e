-- tool: postgresql-42.7.13, JPype1 1.7.1
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_jdbc.py

-- @ copied in
CREATE TEMP TABLE c (a int, b text)
