-- What the adversary of test_guard_adversary.py sends, an attack a line. A section begins with `-- name: what it is`.


-- expressions: of one row: SELECT <this> FROM customers c
email
*
c
c.*
c::text
ROW(c.*)
ROW(c.email)::text
row_to_json(c)
to_jsonb(c)
(c).email
email || ''
lower(email)
substr(email, 1, 9)
email::varchar(20)
email::bytea
CAST(email AS char(8))
concat(email, 1)
format('%s', email)
quote_literal(email)
reverse(email)
md5(email)
ascii(email)
encode(email::bytea, 'hex')
encode(email::bytea, 'base64')
CASE WHEN true THEN email END
coalesce(email, '')
greatest(email, 'a')
nullif(email, '')
(ARRAY[email])[1]
ARRAY[email]
string_to_array(email, '@')
regexp_replace(email, 'x', 'y')
(SELECT email)
(SELECT c)
c.to_json
jsonb_build_object('e', email)
json_build_array(email)
to_json(email)
xmlelement(name e, email)
xmlforest(email)
payload
payload -> 'k'
payload ->> 'k'
payload #>> '{k}'
jsonb_pretty(payload)
jsonb_path_query(payload, '$.k')
card_number
card_number + 0
card_number::text
-card_number
to_tsvector(email)
email COLLATE "C"
email IS NOT DISTINCT FROM email AND email > 'c', email
first_value(email) OVER ()
lag(email) OVER ()
customer_email(c.id)
@@@ c.id
OPERATOR(public.@@@) id
JSON_OBJECT('e': email)
JSON_SCALAR(email)
JSON_QUERY(payload, '$.k')
JSON_VALUE(payload, '$.k')
pg_typeof(email), email
email AS id
email AS count
id, email AS note
overlay(email placing 'x' from 1)
convert_to(email, 'UTF8')
textcat(email, '')
name::name
hashtext(email), email

-- aggregates: of all rows: SELECT <this> FROM customers c
string_agg(email, ',')
array_agg(email)
json_agg(c)
jsonb_agg(email)
min(email)
max(email)
json_object_agg(id, email)
xmlagg(xmlelement(name e, email))
mode() WITHIN GROUP (ORDER BY email)
percentile_disc(0.5) WITHIN GROUP (ORDER BY email)
max(card_number)
sum(card_number - id)
array_agg(c)
any_value(email)
array_agg(DISTINCT email ORDER BY email)
count(*), min(email)

-- queries: each a statement of its own
TABLE customers
TABLE people_view
TABLE nested_view
TABLE people_copy
SELECT label FROM people_view
WITH x AS (SELECT email AS z FROM customers) SELECT z FROM x
WITH id AS (TABLE customers) SELECT id::text FROM id
WITH RECURSIVE r(n, v) AS (SELECT 1, email FROM customers UNION ALL SELECT n + 1, v FROM r WHERE n < 2) TABLE r
SELECT z FROM (SELECT email AS z FROM customers) s
SELECT s.id FROM (SELECT email AS id FROM customers) s
SELECT id || '' FROM customers AS c(x, y, id)
SELECT id || '' FROM customers AS c(x, id)
SELECT note || '' FROM customers c (id, name, note)
SELECT c.row_to_json FROM customers c, orders
SELECT c.row_to_json + 0 FROM customers c, orders
SELECT c.row_to_json || '' FROM customers c, orders
SELECT max(c.row_to_json::text) FROM customers c, orders
SELECT note FROM orders UNION SELECT email FROM customers
SELECT 1, 'x' UNION ALL SELECT id, email FROM customers
VALUES ((SELECT email FROM customers LIMIT 1))
SELECT (SELECT email FROM customers LIMIT 1)
SELECT ARRAY(SELECT email FROM customers)
SELECT x FROM customers, LATERAL (SELECT email AS x) l
SELECT x FROM customers, unnest(ARRAY[email]) x
SELECT o.id, c.email FROM orders o JOIN customers c ON true
SELECT email FROM orders NATURAL JOIN customers
SELECT email FROM ONLY customers
TABLE customers_archive
SELECT * FROM all_people()
SELECT (all_people()).email
SELECT (all_people())::text
SELECT frozen_email()
SELECT @@@ 1
SELECT OPERATOR(public.@@@) id FROM orders
EXPLAIN SELECT frozen_email()
EXPLAIN VERBOSE SELECT frozen_email()
EXPLAIN (ANALYZE, VERBOSE) SELECT email FROM customers WHERE email = (SELECT min(email) FROM customers)
EXPLAIN (ANALYZE false) SELECT frozen_email()
SELECT DISTINCT ON (email) email e FROM customers
SELECT email FROM customers GROUP BY email
SELECT * FROM customers TABLESAMPLE SYSTEM (100)
SELECT note/**/email FROM customers
SELECT email FROM ord/**/ers
SELECT * FROM customers FOR UPDATE OF customers
SELECT x.* FROM json_to_record((SELECT to_json(c) FROM customers c LIMIT 1)) AS x(email text)
SELECT * FROM json_table((SELECT payload FROM customers LIMIT 1), '$' COLUMNS (v text PATH '$.k'))
SELECT * FROM xmltable('/' PASSING (SELECT xmlelement(name x, email) FROM customers LIMIT 1) COLUMNS v text PATH 'x')
SELECT * FROM query_to_xml('SELECT email FROM customers', true, false, '')
SELECT table_to_xml('customers', true, false, '')
SELECT schema_to_xml('public', true, false, '')
SELECT database_to_xml(true, false, '')
SELECT query_to_xml_and_xmlschema('TABLE customers', true, false, '')
SELECT * FROM ts_stat('SELECT to_tsvector(email) FROM customers')
SELECT * FROM crosstab('SELECT id, 1, email FROM customers') AS (a int, b text)
SELECT * FROM dblink('dbname=x', 'SELECT email FROM customers') AS (e text)
SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'
SELECT * FROM pg_stats
TABLE pg_statistic
SELECT most_common_vals::text FROM pg_stats
SELECT histogram_bounds::text::text[] FROM pg_stats
SELECT (m).values FROM pg_statistic_ext_data, pg_mcv_list_items(stxdmcv) m
TABLE pg_stats_ext
SELECT stxdmcv::text FROM pg_statistic_ext_data
SELECT row_to_json(s) FROM pg_stats s
SELECT query FROM pg_stat_activity
SELECT pg_stat_get_activity(NULL)
SELECT * FROM pg_stat_get_activity(NULL)
SELECT pg_stat_get_backend_activity(b) FROM pg_stat_get_backend_idset() b
TABLE pg_stat_statements
SELECT lo_get(4242)
SELECT loread(lo_open(4242, 262144), 100)
TABLE pg_largeobject
SELECT convert_from(lo_get(4242), 'UTF8')
SELECT get_raw_page('customers', 0)
SELECT tuple_data_split('customers'::regclass, t_data, t_infomask, t_infomask2, t_bits) FROM heap_page_items(get_raw_page('customers', 0))
SELECT pg_read_file('PG_VERSION')
SELECT pg_ls_dir('.')
SELECT * FROM pg_prepared_statements
TABLE information_schema.column_options
COPY customers TO STDOUT
COPY (SELECT email FROM customers) TO STDOUT
COPY customers (email) TO STDOUT CSV
COPY (DELETE FROM customers RETURNING email) TO STDOUT
COPY people_copy TO STDOUT
COPY people_view TO STDOUT
COPY (TABLE pg_stats) TO STDOUT
COPY (SELECT frozen_email()) TO STDOUT
COPY customers TO PROGRAM 'cat'
COPY (SELECT @@@ 1) TO STDOUT
COPY customers TO '/tmp/x'

-- telltales: errors and notices carry values, too
SELECT email::int FROM customers
SELECT email::date FROM customers
SELECT email::json FROM customers
SELECT email::inet FROM customers
SELECT email::uuid FROM customers
SELECT email::regclass FROM customers
SELECT email::regtype FROM customers
SELECT ('a ' || email)::regtype FROM customers
SELECT to_regtype('a ' || email) FROM customers
SELECT ('a(a ' || email)::regprocedure FROM customers
SELECT ('+(a ' || email || ')')::regoperator FROM customers
SELECT pg_input_error_info(email, 'a ' || email) FROM customers
SELECT format_type(('a ' || email)::regtype, 1) FROM customers
SELECT email::regproc FROM customers
SELECT email::regrole FROM customers
SELECT email::regprocedure FROM customers
SELECT email::regnamespace FROM customers
SELECT email::regoperator FROM customers
SELECT email::regconfig FROM customers
SELECT email::xml FROM customers
SELECT ('<' || email)::xml FROM customers
SELECT ('(' || email)::tsquery FROM customers
SELECT to_tsquery('& ' || email) FROM customers
SELECT email::jsonpath FROM customers
SELECT ('$.' || email || ' x')::jsonpath FROM customers
SELECT email::bit(3) FROM customers
SELECT has_table_privilege(email, 'select') FROM customers
SELECT has_schema_privilege(email, 'usage') FROM customers
SELECT pg_has_role(email, 'usage') FROM customers
SELECT nextval(email) FROM customers
SELECT current_setting(email) FROM customers
SELECT set_config(email, 'x', false) FROM customers
SELECT set_config('a.b', email, false) FROM customers
SELECT now() AT TIME ZONE email FROM customers
SELECT date_trunc(email, now()) FROM customers
SELECT to_number(email, '9') FROM customers
SELECT pg_get_serial_sequence(email, 'x') FROM customers
SELECT regexp_count('x', '(' || email) FROM customers
SELECT convert_from(decode(email, 'base64'), 'UTF8') FROM customers
SELECT decode(email, 'hex') FROM customers
SELECT (email || '{')::int[] FROM customers
SELECT json_populate_record(null::orders, payload::json) FROM customers
SELECT jsonb_to_record(payload) FROM customers
SELECT to_regtype(email) FROM customers
SELECT pg_size_bytes(email) FROM customers
SELECT parse_ident(email) FROM customers
SELECT lower(1 / 0 || email) FROM customers
SELECT complain(email) FROM customers
SELECT mumble(email) FROM customers
SELECT complain(customer_email(1))
SELECT mumble(customer_email(1))
INSERT INTO customers SELECT 90, name, email FROM customers
INSERT INTO customers (id, email) SELECT 91, email FROM customers WHERE id = 1
UPDATE customers SET id = 1
UPDATE customers SET email = (SELECT email FROM customers WHERE id = 4)
UPDATE customers SET region = NULL
ALTER TABLE customers ADD CHECK (email = 'x')
ALTER TABLE customers ALTER email TYPE int USING email::int
CREATE UNIQUE INDEX ON customers (note)
CREATE UNIQUE INDEX ON customers (phone)
ALTER TABLE customers ADD EXCLUDE (name WITH =)
ALTER TABLE customers ADD UNIQUE (name)
ALTER TABLE customers ALTER phone SET NOT NULL, ALTER name TYPE date USING name::date
CREATE INDEX ON customers ((email::int))
CREATE STATISTICS s ON (email::int) FROM customers; ANALYZE customers
INSERT INTO orders (id, note) SELECT 5, email::int FROM customers
SELECT 1 FROM customers WHERE email::int = 1
SELECT count(*) FROM customers WHERE email::int = 1
SELECT id FROM customers ORDER BY email::int
DELETE FROM customers WHERE email::int = 1
UPDATE customers SET region = 'x' WHERE email::int = 1
SELECT 1 LIMIT (SELECT email::int FROM customers LIMIT 1)
BEGIN; ALTER TABLE customers ADD UNIQUE (phone) DEFERRABLE INITIALLY DEFERRED; COMMIT
SET client_min_messages = debug5; SELECT email FROM customers WHERE email = (SELECT max(email) FROM customers)
SET debug_print_plan = on; SET client_min_messages = log; SELECT frozen_email()
LISTEN told; UPDATE customers SET note = 'x' WHERE id = 1; SELECT 1

-- journeys: several messages, separated by a single bar: put it where it isn't masked, then read it there
CREATE TABLE z AS SELECT email AS e FROM customers | TABLE z
CREATE TEMP TABLE z AS SELECT email AS e FROM customers | TABLE z
SELECT email AS e INTO z FROM customers | TABLE z
SELECT email AS e INTO TEMP z FROM customers | SELECT e FROM z
CREATE TABLE z AS SELECT email AS e FROM customers; TABLE z
CREATE TABLE z AS TABLE customers; TABLE z
BEGIN | CREATE TABLE z AS SELECT email AS e FROM customers | SELECT e FROM z
CREATE VIEW z AS SELECT email AS e FROM customers | TABLE z
CREATE TEMP VIEW z AS SELECT c::text t FROM customers c | TABLE z
CREATE MATERIALIZED VIEW z AS SELECT email AS e FROM customers | TABLE z
CREATE VIEW z AS SELECT query_to_xml('SELECT email FROM customers', true, false, '')::text x | TABLE z
CREATE VIEW z AS SELECT table_to_xml('customers', true, false, '')::text x | TABLE z
CREATE VIEW z AS SELECT customer_email(1) AS x | TABLE z
CREATE VIEW z AS SELECT @@@ 1 AS x | TABLE z
CREATE TABLE z AS SELECT customer_email(1) AS x | TABLE z
CREATE TABLE z AS SELECT @@@ 1 AS x | TABLE z
CREATE TABLE z AS SELECT most_common_vals::text x FROM pg_stats | TABLE z
CREATE TABLE z AS SELECT query FROM pg_stat_activity | TABLE z
PREPARE p AS SELECT email AS e FROM customers | CREATE TABLE z AS EXECUTE p | TABLE z
PREPARE p AS SELECT email AS e FROM customers; EXECUTE p
PREPARE p(int) AS SELECT email AS e FROM customers WHERE id = $1 | EXECUTE p(1)
PREPARE p AS SELECT lower(email) FROM customers | EXECUTE p | EXPLAIN ANALYZE EXECUTE p
PREPARE p AS INSERT INTO orders (id, note) SELECT id + 10, email FROM customers | EXECUTE p | TABLE orders
PREPARE p AS UPDATE orders SET note = email FROM customers | EXECUTE p | TABLE orders
PREPARE p AS SELECT note FROM orders | DEALLOCATE p | PREPARE p AS SELECT email AS note FROM customers | EXECUTE p
BEGIN | DECLARE c CURSOR FOR SELECT email FROM customers | FETCH ALL c
BEGIN; DECLARE c CURSOR FOR SELECT lower(email) FROM customers; FETCH ALL c; COMMIT
DECLARE c CURSOR WITH HOLD FOR SELECT lower(email) FROM customers | FETCH 2 c | FETCH ALL c
BEGIN | DECLARE c CURSOR FOR SELECT payload || '{}' FROM customers | SET search_path = decoy | FETCH ALL c
BEGIN | DECLARE c CURSOR FOR SELECT email || '' FROM customers | SET LOCAL search_path = decoy | FETCH ALL c
BEGIN | DECLARE c CURSOR FOR SELECT email FROM customers | CLOSE c | DECLARE c CURSOR FOR SELECT email e FROM customers | FETCH c
DECLARE c CURSOR WITH HOLD FOR TABLE customers | DROP TABLE customers CASCADE | FETCH ALL c
INSERT INTO orders (id, note) SELECT id + 10, email FROM customers | TABLE orders
INSERT INTO orders (id, note) VALUES (9, (SELECT email FROM customers LIMIT 1)) | TABLE orders
INSERT INTO orders (id, note) VALUES (9, customer_email(1)) | TABLE orders
INSERT INTO orders (id, note) SELECT 9, customer_email(1) | TABLE orders
INSERT INTO orders (id, note) SELECT 9, @@@ 1 | TABLE orders
INSERT INTO orders (id, note) VALUES (9, @@@ 1) | TABLE orders
INSERT INTO orders SELECT 9, 1, table_to_xml('customers', true, false, '')::text | TABLE orders
INSERT INTO orders (id, note) SELECT 9, most_common_vals::text FROM pg_stats WHERE attname = 'phone' | TABLE orders
WITH i AS (INSERT INTO orders (id, note) SELECT id + 9, email FROM customers) SELECT 1 | TABLE orders
WITH d AS (DELETE FROM customers RETURNING id, email AS z) INSERT INTO orders (id, note) SELECT id + 9, z FROM d | TABLE orders
WITH d AS (UPDATE customers SET note = 'n' RETURNING email AS z) UPDATE orders SET note = z FROM d | TABLE orders
INSERT INTO customers (id, email) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET note = customers.email | SELECT note FROM customers
INSERT INTO customers (id, email) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET note = customers::text | SELECT note FROM customers
INSERT INTO customers (id, email) VALUES (1, 'n') ON CONFLICT (id) DO UPDATE SET (note, region) = (SELECT c.email, 'x' FROM customers c LIMIT 1) | SELECT note FROM customers
UPDATE customers SET note = email | SELECT note FROM customers
UPDATE customers c SET note = c::text | SELECT note FROM customers
UPDATE customers SET note = customers::text | SELECT note FROM customers
UPDATE customers SET (note, region) = (email, 'x') | SELECT note FROM customers
UPDATE customers SET note = payload ->> 'k' | SELECT note FROM customers
UPDATE orders SET note = customers::text FROM customers | TABLE orders
UPDATE orders SET note = z FROM (SELECT email AS z FROM customers) s | TABLE orders
UPDATE orders SET note = id FROM customers c(x, y, id) | TABLE orders
UPDATE orders SET note = c.row_to_json FROM customers c | TABLE orders
UPDATE orders SET note = customer_email(1) | TABLE orders
UPDATE orders SET note = @@@ 1 | TABLE orders
UPDATE orders SET note = (SELECT e FROM people_view LIMIT 1) | TABLE orders
MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET note = c.email | TABLE orders
MERGE INTO orders o USING customers c ON false WHEN NOT MATCHED THEN INSERT (id, note) VALUES (c.id + 50, c.email) | TABLE orders
MERGE INTO customers c USING orders o ON true WHEN MATCHED THEN UPDATE SET note = c.phone | SELECT note FROM customers
MERGE INTO orders o USING (SELECT 1 AS i) s ON true WHEN MATCHED THEN UPDATE SET note = customer_email(1) | TABLE orders
SELECT keep(email) FROM customers LIMIT 1 | TABLE orders
SELECT keep(c::text) FROM customers c LIMIT 1 | TABLE orders
SELECT 1 FROM customers WHERE keep(email) = 1 LIMIT 1 | TABLE orders
SELECT keep(customer_email(1)) | TABLE orders
UPDATE customers SET id = id RETURNING email || ''
UPDATE customers SET note = 'x' RETURNING *
DELETE FROM customers WHERE id = 1 RETURNING email, customers
INSERT INTO customers (id) VALUES (55) RETURNING (SELECT max(email) FROM customers)
UPDATE customers SET note = 'x' RETURNING old.email, new.email || ''
DELETE FROM customers RETURNING old::text
EXPLAIN ANALYZE INSERT INTO orders (id, note) SELECT id + 10, email FROM customers | TABLE orders
EXPLAIN ANALYZE CREATE TABLE z AS SELECT email e FROM customers | TABLE z
EXPLAIN ANALYZE SELECT email e INTO z FROM customers | TABLE z
SELECT pg_notify('x', email) FROM customers | LISTEN x
LISTEN x | SELECT pg_notify('x', email) FROM customers | SELECT 1
LISTEN told | UPDATE customers SET note = 'n' | SELECT 1
SELECT set_config('a.b', email, false) FROM customers | SHOW a.b
SELECT set_config('a.b', customer_email(1), false) | SHOW a.b
SELECT set_config('a.b', @@@ 1, false) | SHOW a.b | SELECT current_setting('a.b')
SELECT set_config('application_name', email, false) FROM customers LIMIT 1 | SHOW application_name
SELECT lo_from_bytea(777, email::bytea) FROM customers LIMIT 1 | SELECT convert_from(lo_get(777), 'UTF8')
SELECT lo_from_bytea(777, customer_email(1)::bytea) | SELECT data FROM pg_largeobject
DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END $$
DO $$ BEGIN RAISE EXCEPTION '%', (SELECT email FROM customers LIMIT 1) USING ERRCODE = '42P01'; END $$
DO $$ BEGIN PERFORM pg_notify('x', (SELECT email FROM customers LIMIT 1)); END $$ | LISTEN x
DO $$ BEGIN EXECUTE 'CREATE TABLE z AS SELECT email AS e FROM customers'; END $$ | TABLE z
DO $$ BEGIN PERFORM set_config('a.b', (SELECT email FROM customers LIMIT 1), false); END $$ | SHOW a.b
DO $$ BEGIN EXECUTE 'SELECT ' || (SELECT email FROM customers LIMIT 1); END $$
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1' | SELECT f()
CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT email FROM customers LIMIT 1; END | SELECT f()
CREATE FUNCTION lower(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM customers' | SELECT lower(id) FROM orders
CREATE PROCEDURE p() LANGUAGE sql AS 'INSERT INTO orders (id, note) SELECT id + 9, email FROM customers' | CALL p() | TABLE orders
CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := (SELECT email FROM customers LIMIT 1); RETURN NEW; END $$ | CREATE TRIGGER g BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION g() | UPDATE orders SET total = 1 | TABLE orders
CREATE RULE r AS ON UPDATE TO orders DO ALSO INSERT INTO orders (id, note) SELECT 30, email FROM customers LIMIT 1 | UPDATE orders SET total = 2 | TABLE orders
CREATE RULE r AS ON UPDATE TO customers DO ALSO INSERT INTO orders (id, note) VALUES (old.id + 70, old.email) | UPDATE customers SET note = 'n' | TABLE orders
CREATE OPERATOR ### (RIGHTARG = int, FUNCTION = customer_email) | SELECT ### 1
CREATE AGGREGATE low(text) (SFUNC = textcat, STYPE = text) | SELECT low(email) FROM customers
CREATE CAST (orders AS text) WITH INOUT | SELECT customer_email(1)::text
CREATE TABLE z (a int, x text DEFAULT customer_email(1)) | INSERT INTO z VALUES (1) | TABLE z
CREATE TABLE z (a int, x text DEFAULT @@@ 1) | INSERT INTO z VALUES (1) | TABLE z
ALTER TABLE orders ALTER note SET DEFAULT customer_email(1) | INSERT INTO orders (id) VALUES (66) | TABLE orders
ALTER TABLE orders ALTER note SET DEFAULT @@@ 1 | INSERT INTO orders (id) VALUES (66) | TABLE orders
ALTER TABLE orders ALTER note SET DEFAULT table_to_xml('customers', true, false, '')::text | INSERT INTO orders (id) VALUES (66) | TABLE orders
ALTER TABLE orders ADD x text DEFAULT customer_email(1) | TABLE orders
ALTER TABLE customers ADD z text GENERATED ALWAYS AS (email) STORED | SELECT z FROM customers
ALTER TABLE customers ADD z text GENERATED ALWAYS AS (email) VIRTUAL; SELECT z FROM customers
ALTER TABLE customers ALTER note TYPE text USING email | SELECT note FROM customers
ALTER TABLE customers ALTER note TYPE text USING customers::text | SELECT note FROM customers
ALTER TABLE orders ALTER note TYPE text USING customer_email(1) | TABLE orders
CREATE DOMAIN d AS text DEFAULT customer_email(1) | CREATE TABLE z (a int, x d) | INSERT INTO z VALUES (1) | TABLE z
ALTER TABLE customers RENAME email TO e2 | SELECT e2, lower(e2) FROM customers
ALTER TABLE customers RENAME email TO e2; SELECT e2, lower(e2) FROM customers
BEGIN | ALTER TABLE customers RENAME email TO e2 | SELECT e2 FROM customers | SELECT lower(e2) FROM customers
ALTER TABLE orders RENAME TO o2 | ALTER TABLE customers RENAME TO orders | SELECT email || '' FROM orders
ALTER TABLE orders RENAME TO o2; ALTER TABLE customers RENAME TO orders; SELECT email || '' FROM orders
ALTER TABLE orders RENAME TO o2; ALTER TABLE customers RENAME TO orders; TABLE orders
BEGIN | ALTER TABLE orders RENAME TO o2 | ALTER TABLE customers RENAME TO orders | SELECT email || '' FROM orders | TABLE orders
BEGIN; ALTER TABLE orders RENAME TO o2; ALTER TABLE customers RENAME TO orders; COPY orders TO STDOUT
BEGIN; ALTER TABLE orders RENAME TO o2; ALTER TABLE customers RENAME TO orders; SAVEPOINT s; ROLLBACK TO s | SELECT email || '' FROM orders
DROP TABLE orders; ALTER TABLE ord RENAME TO orders; SELECT lower(email) FROM orders
BEGIN; DROP TABLE orders; ALTER TABLE ord RENAME TO orders | COPY orders TO STDOUT
ALTER SCHEMA decoy RENAME TO d2; ALTER SCHEMA public RENAME TO decoy; SELECT payload || '{}' FROM decoy.customers
ALTER TABLE decoy.customers RENAME TO x; ALTER TABLE customers SET SCHEMA decoy; SELECT email || '' FROM decoy.customers
BEGIN | CREATE TABLE z (name text) | ALTER TABLE ord ADD name text | ALTER TABLE ord INHERIT z | TABLE z
CREATE TABLE z (email2 text) | ALTER TABLE customers RENAME email TO email2 | ALTER TABLE customers INHERIT z | TABLE z
CREATE TABLE z (name text) | ALTER TABLE customers INHERIT z | SELECT name FROM z
CREATE TABLE z (name text); ALTER TABLE customers INHERIT z; SELECT name, lower(name) FROM z
CREATE TABLE z (note text, id int) | ALTER TABLE ord ADD note text | ALTER TABLE ord INHERIT z | UPDATE ord SET note = email | TABLE z
SET search_path = decoy | SELECT email || '' FROM public.customers
SET search_path = decoy; SELECT id FROM customers; SET search_path = public; SELECT email || '' FROM customers
BEGIN; SET LOCAL search_path = decoy | ROLLBACK | SELECT email || '' FROM customers
SELECT set_config('search_path', 'decoy', false); RESET search_path; SELECT email || '' FROM customers
SET ROLE postgres | SELECT email FROM customers
CREATE FOREIGN TABLE z (e text) SERVER s OPTIONS (table_name 'customers') | TABLE z
COPY orders (id, note) FROM PROGRAM 'echo' | TABLE orders
LOAD 'auto_explain'
CREATE EXTENSION postgres_fdw
SELECT setval('s', card_number) FROM customers
SELECT pg_advisory_lock(card_number) FROM customers LIMIT 1 | TABLE pg_locks
SELECT pg_try_advisory_lock_shared(card_number) FROM customers LIMIT 1 | TABLE pg_locks
SELECT lo_create(1000 + id) FROM customers WHERE email > 'a' | TABLE pg_largeobject_metadata
SELECT email || '' FROM decoy/**/customers
SELECT note || '' FROM decoy.custo/**/mers | SELECT note || '' FROM decoy.customers
SELECT e || '' FROM orders | SELECT e || '' FROM ord/**/ers | SELECT ers.email || '' FROM ord/**/ers
PREPARE p(text) AS INSERT INTO orders (id, note) VALUES (40, $1) | EXECUTE p(customer_email(1)) | TABLE orders
PREPARE p(text) AS INSERT INTO orders (id, note) VALUES (40, $1) | EXECUTE p(@@@ 1) | TABLE orders
PREPARE p(text) AS INSERT INTO orders (id, note) VALUES (40, $1) | EXPLAIN ANALYZE EXECUTE p(customer_email(1)) | TABLE orders
PREPARE p(text) AS SELECT 1 | EXECUTE p(pg_read_file('PG_VERSION')) | EXECUTE p(set_config('a.b', customer_email(1), false)) | SHOW a.b
PREPARE p(text) AS SELECT 1 | EXECUTE p(keep(customer_email(1))) | TABLE orders
UPDATE people_view SET note = e | SELECT note FROM customers
MERGE INTO people_view v USING orders o ON true WHEN MATCHED THEN UPDATE SET note = v.e | SELECT note FROM customers
CREATE TEMP TABLE customers (id int, payload text) | INSERT INTO customers VALUES (1) | UPDATE customers SET payload = c.email FROM public.customers c | TABLE customers
CREATE TEMP TABLE customers (id int, payload text); INSERT INTO customers VALUES (1); UPDATE customers SET payload = c.email FROM public.customers c | SELECT payload FROM customers
BEGIN; CREATE TEMP TABLE customers (id int, payload text) | INSERT INTO customers VALUES (1) | UPDATE customers SET payload = c.email FROM public.customers c | COMMIT | TABLE customers
CREATE TEMP TABLE foo (id int, payload text) | INSERT INTO foo VALUES (1) | CREATE TABLE public.foo (id int, payload jsonb) | UPDATE foo SET payload = c.email FROM customers c | TABLE foo
BEGIN; CREATE SCHEMA postgres; CREATE TABLE postgres.customers (id int, payload text); INSERT INTO customers VALUES (1); UPDATE customers SET payload = c.email FROM public.customers c; COMMIT | TABLE postgres.customers | DROP SCHEMA postgres CASCADE
CREATE TEMP TABLE z (id int, payload text) | INSERT INTO z VALUES (1) | ALTER TABLE z RENAME TO customers | UPDATE customers SET payload = c.email FROM public.customers c | TABLE customers
SELECT mail, lower(mail), note FROM accounts
SELECT contact FROM accounts
SELECT (contact).a, (contact).b FROM accounts
SELECT contacts[1] FROM accounts
SELECT * FROM accounts
INSERT INTO tattling (id) VALUES (1)
UPDATE tattling SET note = 'x'
DELETE FROM tattling WHERE id = 9
SELECT * FROM checked
INSERT INTO checked (id) VALUES (1)
