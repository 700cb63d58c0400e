-- tool: Django 5.2.19 psycopg 3.3.9
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_django.py

-- @ columns of customers
SELECT set_config('TimeZone', 'UTC', false)

-- @ columns of customers
SELECT
                a.attname AS column_name,
                NOT (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)) AS is_nullable,
                pg_get_expr(ad.adbin, ad.adrelid) AS column_default,
                CASE WHEN collname = 'default' THEN NULL ELSE collname END AS collation,
                a.attidentity != '' AS is_autofield,
                col_description(a.attrelid, a.attnum) AS column_comment
            FROM pg_attribute a
            LEFT JOIN pg_attrdef ad ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
            LEFT JOIN pg_collation co ON a.attcollation = co.oid
            JOIN pg_type t ON a.atttypid = t.oid
            JOIN pg_class c ON a.attrelid = c.oid
            JOIN pg_namespace n ON c.relnamespace = n.oid
            WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v')
                AND c.relname = 'customers'
                AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
                AND pg_catalog.pg_table_is_visible(c.oid)

-- @ columns of customers
SELECT * FROM "customers" LIMIT 1

-- @ constraints of customers
SELECT
                c.conname,
                array(
                    SELECT attname
                    FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx)
                    JOIN pg_attribute AS ca ON cols.colid = ca.attnum
                    WHERE ca.attrelid = c.conrelid
                    ORDER BY cols.arridx
                ),
                c.contype,
                (SELECT fkc.relname || '.' || fka.attname
                FROM pg_attribute AS fka
                JOIN pg_class AS fkc ON fka.attrelid = fkc.oid
                WHERE fka.attrelid = c.confrelid AND fka.attnum = c.confkey[1]),
                cl.reloptions
            FROM pg_constraint AS c
            JOIN pg_class AS cl ON c.conrelid = cl.oid
            WHERE cl.relname = 'customers' AND pg_catalog.pg_table_is_visible(cl.oid)

-- @ constraints of customers
SELECT
                indexname,
                array_agg(attname ORDER BY arridx),
                indisunique,
                indisprimary,
                array_agg(ordering ORDER BY arridx),
                amname,
                exprdef,
                s2.attoptions
            FROM (
                SELECT
                    c2.relname as indexname, idx.*, attr.attname, am.amname,
                    CASE
                        WHEN idx.indexprs IS NOT NULL THEN
                            pg_get_indexdef(idx.indexrelid)
                    END AS exprdef,
                    CASE am.amname
                        WHEN 'btree' THEN
                            CASE (option & 1)
                                WHEN 1 THEN 'DESC' ELSE 'ASC'
                            END
                    END as ordering,
                    c2.reloptions as attoptions
                FROM (
                    SELECT *
                    FROM
                        pg_index i,
                        unnest(i.indkey, i.indoption)
                            WITH ORDINALITY koi(key, option, arridx)
                ) idx
                LEFT JOIN pg_class c ON idx.indrelid = c.oid
                LEFT JOIN pg_class c2 ON idx.indexrelid = c2.oid
                LEFT JOIN pg_am am ON c2.relam = am.oid
                LEFT JOIN
                    pg_attribute attr ON attr.attrelid = c.oid AND attr.attnum = idx.key
                WHERE c.relname = 'customers' AND pg_catalog.pg_table_is_visible(c.oid)
            ) s2
            GROUP BY indexname, indisunique, indisprimary, amname, exprdef, attoptions;

-- @ columns of orders
SELECT * FROM "orders" LIMIT 1

-- @ columns of kinds
SELECT * FROM "kinds" LIMIT 1

-- @ tables
SELECT
                c.relname,
                CASE
                    WHEN c.relispartition THEN 'p'
                    WHEN c.relkind IN ('m', 'v') THEN 'v'
                    ELSE 't'
                END,
                obj_description(c.oid, 'pg_class')
            FROM pg_catalog.pg_class c
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v')
                AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
                AND pg_catalog.pg_table_is_visible(c.oid)

-- @ types
SELECT id, at, wall, tags, raw, uid, amount FROM kinds ORDER BY id

-- @ customers
SELECT "customers"."id" AS "id", "customers"."name" AS "name", "customers"."email" AS "email", "customers"."phone" AS "phone", "customers"."note" AS "note" FROM "customers" ORDER BY 1 ASC

-- @ joined
SELECT "orders"."id" AS "id", "orders"."total" AS "total" FROM "orders" INNER JOIN "customers" ON ("orders"."customer_id" = "customers"."id") WHERE "customers"."note" = 'loud'

-- @ iterator
DECLARE "_django_curs_139791505316736_sync_1" NO SCROLL CURSOR WITH HOLD FOR SELECT "orders"."id", "orders"."customer_id", "orders"."total" FROM "orders"

-- @ iterator
FETCH FORWARD 2 FROM "_django_curs_139791505316736_sync_1"

-- @ iterator
CLOSE "_django_curs_139791505316736_sync_1"

-- @ bulk_create
INSERT INTO "orders" ("id", "customer_id", "total") SELECT * FROM UNNEST(('{50,51,52,53,54,55,56,57,58,59}'::int2[])::integer[], ('{1,1,1,1,1,1,1,1,1,1}'::int2[])::integer[], ('{50,51,52,53,54,55,56,57,58,59}'::numeric[])::numeric[]) RETURNING "orders"."id"

-- @ bulk_create
SELECT COUNT(*) AS "__count" FROM "orders"

-- @ unique
INSERT INTO "shop_draft" ("title", "told") VALUES ('one', '{"a": 1}'::jsonb) RETURNING "shop_draft"."id"

-- @ updated
UPDATE "shop_draft" SET "title" = 'two' WHERE "shop_draft"."title" = 'one'
