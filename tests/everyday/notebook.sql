-- tool: jupysql 0.11.1 ipython 9.18.1
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_notebook.py

-- @ columns
SELECT * FROM customers WHERE 1 = 0
