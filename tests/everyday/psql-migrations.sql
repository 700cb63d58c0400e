-- tool: psql (PostgreSQL) 18.6
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_psql.py

-- @ \copy
CREATE TEMP TABLE c (a int, b text);
