-- As psql's tab completion, SQLAlchemy, JDBC, DBeaver, asyncpg and pg_dump ask, in their shape; a query a line.
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'cu%' AND pg_catalog.pg_table_is_visible(c.oid) UNION ALL SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'cu%' LIMIT 1000
SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped AND c.relname = 'customers' ORDER BY 1
SELECT pg_catalog.version()
SELECT current_schema(), current_database(), session_user
SHOW standard_conforming_strings
SHOW transaction_isolation
SHOW search_path
SELECT current_setting('server_version_num')::int / 100
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog' ORDER BY 1
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) AS "default", a.attnotnull, pgd.description FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_description pgd ON pgd.objoid = a.attrelid AND pgd.objsubid = a.attnum WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0 ORDER BY a.attnum
SELECT r.conname, pg_catalog.pg_get_constraintdef(r.oid, true), n.nspname FROM pg_catalog.pg_constraint r, pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.conrelid = 'orders'::regclass AND c.oid = r.confrelid
SELECT array_agg(CAST(attname AS TEXT) ORDER BY ord) FROM (SELECT unnest(conkey) attnum, generate_subscripts(conkey, 1) ord, conrelid FROM pg_constraint) con JOIN pg_attribute a ON a.attnum = con.attnum AND a.attrelid = con.conrelid WHERE con.conrelid = 'customers'::regclass GROUP BY con.conrelid
SELECT * FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name
SELECT * FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
SELECT * FROM information_schema.schemata ORDER BY 2
SELECT * FROM information_schema.table_constraints ORDER BY 3
SELECT tc.table_name, kcu.column_name, ccu.table_name AS t FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu USING (constraint_name) JOIN information_schema.constraint_column_usage ccu USING (constraint_name) ORDER BY 1, 2, 3
SELECT grantee || '' FROM information_schema.table_privileges ORDER BY 1
SELECT * FROM information_schema.views WHERE table_schema = 'public'
SELECT * FROM information_schema.enabled_roles
SELECT rolname, rolsuper, ARRAY(SELECT b.rolname FROM pg_auth_members m JOIN pg_roles b ON m.roleid = b.oid WHERE m.member = r.oid) FROM pg_roles r ORDER BY 1
SELECT usename || '', usesuper FROM pg_user ORDER BY 1
SELECT oid, typname, typname || '' FROM pg_type WHERE typname ~ '^int' ORDER BY 1
SELECT t.typname, t.oid, t.typarray, t.oid::regtype::text AS regtype, t.typdelim AS delimiter FROM pg_type t WHERE t.oid = 'mood'::regtype ORDER BY t.oid
SELECT enumlabel FROM pg_enum ORDER BY enumsortorder
SELECT name, setting || '' FROM pg_settings WHERE name = 'max_connections'
SELECT datname, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()
SELECT relname, seq_scan + 0 FROM pg_stat_user_tables ORDER BY 1
SELECT * FROM pg_timezone_abbrevs ORDER BY 1 LIMIT 3
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'customers'::regclass
SELECT schemaname, tablename, attname, n_distinct FROM pg_stats WHERE tablename = 'customers'
SELECT pg_catalog.set_config('search_path', '', false)
SELECT current_setting('jit') AS cur, set_config('jit', 'off', false)
SELECT n.nspname, obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE n.nspname = 'public'
SELECT c.relname, obj_description(c.oid), pg_relation_size(c.oid) >= 0 FROM pg_class c WHERE c.relname = 'customers'
EXPLAIN (COSTS off) SELECT id FROM customers WHERE email = 'x'
SELECT count(*) FROM customers WHERE id > 0
