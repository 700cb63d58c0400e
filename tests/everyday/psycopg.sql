-- tool: psycopg 3.3.9 psycopg-pool 3.3.3
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_psycopg.py

-- @ types
SELECT * FROM kinds ORDER BY id

-- @ prepared, binary False
SELECT email, id FROM customers ORDER BY id

-- @ bind values
SELECT $1::uuid, $2::int[]

-- @ server-side cursor
BEGIN

-- @ server-side cursor
DECLARE "part" CURSOR FOR SELECT n FROM big ORDER BY n

-- @ server-side cursor
FETCH FORWARD 1000 FROM "part"

-- @ server-side cursor
FETCH FORWARD 500 FROM "part"

-- @ server-side cursor
FETCH FORWARD 1 FROM "part"

-- @ 100,000 rows
CLOSE "part"

-- @ 100,000 rows
COMMIT

-- @ 100,000 rows
SELECT n, word FROM big

-- @ dict_row
SELECT 1 AS a, 2 AS b

-- @ batch
INSERT INTO orders VALUES ($1, $2) RETURNING id

-- @ in the transaction
SELECT count(*) FROM orders

-- @ rolled back
ROLLBACK

-- @ rolled back
DEALLOCATE ALL

-- @ rolled back
SELECT $1::int

-- @ COPY
COPY copied FROM STDIN

-- @ COPY
COPY copied TO STDOUT

-- @ SELECT 1/0
SELECT 1/0

-- @ SELECT nothing
SELECT nothing

-- @ INSERT INTO orders VALUES (1, 1)
INSERT INTO orders VALUES (1, 1)

-- @ cancel
SELECT pg_sleep(20)

-- @ notifications
LISTEN news

-- @ notifications
NOTIFY news, 'today'

-- @ pool, and a connection lost
SELECT current_database() = $1

-- @ pool, and a connection lost
SET idle_session_timeout = '100ms'
