-- tool: psycopg 3.3.9 psycopg-pool 3.3.3
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_psycopg.py

-- @ COPY
CREATE TEMP TABLE copied (a int, b text)

-- @ notices
DROP TABLE IF EXISTS never_was
