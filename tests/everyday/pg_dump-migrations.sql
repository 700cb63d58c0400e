-- tool: pg_dump, vacuumdb and reindexdb 18.6
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_pg_dump.py

-- @ reindexdb of a table
REINDEX TABLE public.customers;
