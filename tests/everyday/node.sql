-- tool: pg 8.23.1, Knex 3.3.0, Sequelize 6.37.8, TypeORM 1.1.1
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_node.py

-- @ pg
SELECT NOW()

-- @ pg
SELECT id, name FROM customers WHERE id = $1

-- @ pg
SELECT id FROM customers WHERE note = $1 ORDER BY id

-- @ pg
INSERT INTO orders (id, customer_id, total) VALUES ($1, $2, $3) RETURNING *

-- @ pg
UPDATE orders SET total = $1 WHERE id = $2

-- @ Knex: schema
select version();

-- @ Knex: schema
select * from information_schema.tables where table_name = $1 and table_schema = current_schema()

-- @ Knex: schema
select * from information_schema.columns where table_name = $1 and table_catalog = current_database() and table_schema = current_schema()

-- @ Knex: schema
insert into "k_users" ("name", "told") values ($1, $2) returning *

-- @ Knex: queries
insert into "k_posts" ("body", "user_id") values ($1, $2), ($3, $4)

-- @ Knex: queries
select "k_users"."name", "k_posts"."body" from "k_users" inner join "k_posts" on "k_users"."id" = "k_posts"."user_id" where "k_posts"."draft" = $1 order by "k_posts"."id" asc limit $2

-- @ Knex: queries
select count(*) as "n" from "k_posts" group by "user_id" having count(*) > $1

-- @ Knex: queries
select * from "k_posts" where "user_id" in (select "id" from "k_users" where "name" is not null) limit $1

-- @ Knex: queries
with "recent" as (select * from "k_posts" where "id" > $1) select * from "recent"

-- @ Knex: queries
insert into "k_users" ("id", "name") values ($1, $2) on conflict ("id") do update set "name" = excluded."name"

-- @ Knex: queries
update "k_posts" set "body" = $1 where "id" = $2

-- @ Knex: queries
delete from "k_posts" where "id" = $1

-- @ Knex: queries
COMMIT;

-- @ Knex: queries
update "k_posts" set "user_id" = "user_id" + $1 where "user_id" = $2

-- @ Knex: queries
select "name" from "k_users" where told ->> 'a' = $1

-- @ Sequelize: sync
SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE;

-- @ Sequelize: sync
WITH ranges AS (  SELECT pg_range.rngtypid, pg_type.typname AS rngtypname,         pg_type.typarray AS rngtyparray, pg_range.rngsubtype    FROM pg_range LEFT OUTER JOIN pg_type ON pg_type.oid = pg_range.rngtypid)SELECT pg_type.typname, pg_type.typtype, pg_type.oid, pg_type.typarray,       ranges.rngtypname, ranges.rngtypid, ranges.rngtyparray  FROM pg_type LEFT OUTER JOIN ranges ON pg_type.oid = ranges.rngsubtype WHERE (pg_type.typtype IN('b', 'e'));

-- @ Sequelize: sync
SELECT 1+1 AS result

-- @ Sequelize: sync
SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 'SUsers'

-- @ Sequelize: sync
SELECT t.typname enum_name, array_agg(e.enumlabel ORDER BY enumsortorder) enum_value FROM pg_type t JOIN pg_enum e ON t.oid = e.enumtypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = 'public' AND t.typname='enum_SUsers_state' GROUP BY 1

-- @ Sequelize: sync
SELECT i.relname AS name, ix.indisprimary AS primary, ix.indisunique AS unique, ix.indkey AS indkey, array_agg(a.attnum) as column_indexes, array_agg(a.attname) AS column_names, pg_get_indexdef(ix.indexrelid) AS definition FROM pg_class t, pg_class i, pg_index ix, pg_attribute a WHERE t.oid = ix.indrelid AND i.oid = ix.indexrelid AND a.attrelid = t.oid AND t.relkind = 'r' and t.relname = 'SUsers' GROUP BY i.relname, ix.indexrelid, ix.indisprimary, ix.indisunique, ix.indkey ORDER BY i.relname;

-- @ Sequelize: sync
SELECT pk.constraint_type as "Constraint",c.column_name as "Field", c.column_default as "Default",c.is_nullable as "Null", (CASE WHEN c.udt_name = 'hstore' THEN c.udt_name ELSE c.data_type END) || (CASE WHEN c.character_maximum_length IS NOT NULL THEN '(' || c.character_maximum_length || ')' ELSE '' END) as "Type", (SELECT array_agg(e.enumlabel) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_enum e ON t.oid=e.enumtypid WHERE t.typname=c.udt_name) AS "special", (SELECT pgd.description FROM pg_catalog.pg_statio_all_tables AS st INNER JOIN pg_catalog.pg_description pgd on (pgd.objoid=st.relid) WHERE c.ordinal_position=pgd.objsubid AND c.table_name=st.relname) AS "Comment" FROM information_schema.columns c LEFT JOIN (SELECT tc.table_schema, tc.table_name, cu.column_name, tc.constraint_type FROM information_schema.TABLE_CONSTRAINTS tc JOIN information_schema.KEY_COLUMN_USAGE  cu ON tc.table_schema=cu.table_schema and tc.table_name=cu.table_name and tc.constraint_name=cu.constraint_name and tc.constraint_type='PRIMARY KEY') pk ON pk.table_schema=c.table_schema AND pk.table_name=c.table_name AND pk.column_name=c.column_name WHERE c.table_name = 'SUsers' AND c.table_schema = 'public'

-- @ Sequelize: sync
SELECT DISTINCT tc.constraint_name as constraint_name, tc.constraint_schema as constraint_schema, tc.constraint_catalog as constraint_catalog, tc.table_name as table_name,tc.table_schema as table_schema,tc.table_catalog as table_catalog,tc.initially_deferred as initially_deferred,tc.is_deferrable as is_deferrable,kcu.column_name as column_name,ccu.table_schema  AS referenced_table_schema,ccu.table_catalog  AS referenced_table_catalog,ccu.table_name  AS referenced_table_name,ccu.column_name AS referenced_column_name FROM information_schema.table_constraints AS tc JOIN information_schema.key_column_usage AS kcu ON tc.constraint_name = kcu.constraint_name JOIN information_schema.constraint_column_usage AS ccu ON ccu.constraint_name = tc.constraint_name WHERE constraint_type = 'FOREIGN KEY' AND tc.table_name = 'SUsers' AND tc.table_catalog = 'shop'

-- @ Sequelize: queries
INSERT INTO "SUsers" ("id","name","age","state","createdAt","updatedAt") VALUES (DEFAULT,$1,$2,$3,$4,$5) RETURNING "id","name","age","state","createdAt","updatedAt";

-- @ Sequelize: queries
INSERT INTO "SPosts" ("id","title","told","createdAt","updatedAt","SUserId") VALUES (DEFAULT,'a','{"n":1}','2026-11-23 23:19:25.341 +00:00','2026-11-23 23:19:25.341 +00:00',1),(DEFAULT,'b',NULL,'2026-11-23 23:19:25.341 +00:00','2026-11-23 23:19:25.341 +00:00',1) RETURNING "id","title","told","createdAt","updatedAt","deletedAt","SUserId";

-- @ Sequelize: queries
SELECT "SUser".*, "SPosts"."id" AS "SPosts.id", "SPosts"."title" AS "SPosts.title", "SPosts"."told" AS "SPosts.told", "SPosts"."createdAt" AS "SPosts.createdAt", "SPosts"."updatedAt" AS "SPosts.updatedAt", "SPosts"."deletedAt" AS "SPosts.deletedAt", "SPosts"."SUserId" AS "SPosts.SUserId" FROM (SELECT "SUser"."id", "SUser"."name", "SUser"."age", "SUser"."state", "SUser"."createdAt", "SUser"."updatedAt" FROM "SUsers" AS "SUser" WHERE "SUser"."age" > 18 ORDER BY "SUser"."name" ASC LIMIT 5) AS "SUser" LEFT OUTER JOIN "SPosts" AS "SPosts" ON "SUser"."id" = "SPosts"."SUserId" AND ("SPosts"."deletedAt" IS NULL) ORDER BY "SUser"."name" ASC;

-- @ Sequelize: queries
SELECT "id", "name", "age", "state", "createdAt", "updatedAt" FROM "SUsers" AS "SUser" WHERE "SUser"."id" = 1;

-- @ Sequelize: queries
START TRANSACTION;

-- @ Sequelize: queries
SELECT "id", "name", "age", "state", "createdAt", "updatedAt" FROM "SUsers" AS "SUser" WHERE "SUser"."name" = 'bo';

-- @ Sequelize: queries
SELECT count(*) AS "count" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL AND "SPost"."title" ILIKE 'a%');

-- @ Sequelize: queries
SELECT "id", "title", "told", "createdAt", "updatedAt", "deletedAt", "SUserId" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL AND "SPost"."title" ILIKE 'a%') LIMIT 2 OFFSET 0;

-- @ Sequelize: queries
SELECT "SUserId", COUNT("id") AS "n" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL) GROUP BY "SUserId";

-- @ Sequelize: queries
SELECT "id", "title", "told", "createdAt", "updatedAt", "deletedAt", "SUserId" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL AND CAST(("SPost"."told"#>>'{n}') AS DOUBLE PRECISION) = 1);

-- @ Sequelize: queries
SELECT max("age") AS "max" FROM "SUsers" AS "SUser";

-- @ Sequelize: queries
SELECT count(*) AS "count" FROM "SUsers" AS "SUser" WHERE "SUser"."state" = 'on';

-- @ Sequelize: queries
INSERT INTO "SUsers" ("id","name","age","createdAt","updatedAt") VALUES ($1,$2,$3,$4,$5) ON CONFLICT ("id") DO UPDATE SET "id"=EXCLUDED."id","name"=EXCLUDED."name","age"=EXCLUDED."age","updatedAt"=EXCLUDED."updatedAt" RETURNING "id","name","age","state","createdAt","updatedAt";

-- @ Sequelize: queries
UPDATE "SUsers" SET "age"="age"+ 1,"updatedAt"='2026-11-23 23:19:25.409 +00:00' WHERE "id" = 1 RETURNING *

-- @ Sequelize: queries
UPDATE "SUsers" SET "age"=$1,"updatedAt"=$2 WHERE "id" = $3

-- @ Sequelize: queries
UPDATE "SPosts" SET "title"=$1,"updatedAt"=$2 WHERE ("deletedAt" IS NULL AND "SUserId" = $3)

-- @ Sequelize: queries
UPDATE "SPosts" SET "deletedAt"=$1 WHERE "deletedAt" IS NULL AND "title" = $2

-- @ Sequelize: queries
UPDATE "SPosts" SET "deletedAt"=$1 WHERE "SUserId" = $2

-- @ Sequelize: queries
SELECT "id", "title", "told", "createdAt", "updatedAt", "deletedAt", "SUserId" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL AND "SPost"."SUserId" = 1);

-- @ Sequelize: queries
SELECT COUNT("SPost"."id") AS "count" FROM "SPosts" AS "SPost" WHERE ("SPost"."deletedAt" IS NULL AND "SPost"."SUserId" = 1);

-- @ TypeORM: synchronize
SELECT * FROM current_schema()

-- @ TypeORM: synchronize
START TRANSACTION

-- @ TypeORM: synchronize
SELECT * FROM current_database()

-- @ TypeORM: synchronize
SELECT "table_schema", "table_name", obj_description((quote_ident("table_schema") || '.' || quote_ident("table_name"))::regclass, 'pg_class') AS table_comment FROM "information_schema"."tables" WHERE ("table_schema" = 'public' AND "table_name" = 't_users') OR ("table_schema" = 'public' AND "table_name" = 't_posts')

-- @ TypeORM: synchronize
SELECT * FROM "information_schema"."tables" WHERE "table_schema" = $1 AND "table_name" = $2

-- @ TypeORM: synchronize
SELECT TRUE FROM information_schema.columns WHERE table_name = 'pg_class' and column_name = 'relispartition'

-- @ TypeORM: synchronize
SELECT columns.*, pg_catalog.col_description((quote_ident(table_catalog) || '.' || quote_ident(table_schema) || '.' || quote_ident(table_name))::regclass::oid, ordinal_position) AS description, ('"' || "udt_schema" || '"."' || "udt_name" || '"')::"regtype"::text AS "regtype", pg_catalog.format_type("col_attr"."atttypid", "col_attr"."atttypmod") AS "format_type" FROM "information_schema"."columns" LEFT JOIN "pg_catalog"."pg_attribute" AS "col_attr" ON "col_attr"."attname" = "columns"."column_name" AND "col_attr"."attrelid" = ( SELECT "cls"."oid" FROM "pg_catalog"."pg_class" AS "cls" LEFT JOIN "pg_catalog"."pg_namespace" AS "ns" ON "ns"."oid" = "cls"."relnamespace" WHERE "cls"."relname" = "columns"."table_name" AND "ns"."nspname" = "columns"."table_schema" ) WHERE ("table_schema" = 'public' AND "table_name" = 't_posts') OR ("table_schema" = 'public' AND "table_name" = 't_users')

-- @ TypeORM: synchronize
SELECT "ns"."nspname" AS "table_schema", "t"."relname" AS "table_name", "cnst"."conname" AS "constraint_name", pg_get_constraintdef("cnst"."oid") AS "expression", CASE "cnst"."contype" WHEN 'p' THEN 'PRIMARY' WHEN 'u' THEN 'UNIQUE' WHEN 'c' THEN 'CHECK' WHEN 'x' THEN 'EXCLUDE' END AS "constraint_type", "a"."attname" AS "column_name" FROM "pg_constraint" "cnst" INNER JOIN "pg_class" "t" ON "t"."oid" = "cnst"."conrelid" INNER JOIN "pg_namespace" "ns" ON "ns"."oid" = "cnst"."connamespace" LEFT JOIN "pg_attribute" "a" ON "a"."attrelid" = "cnst"."conrelid" AND "a"."attnum" = ANY ("cnst"."conkey") WHERE "t"."relkind" IN ('r', 'p') AND (("ns"."nspname" = 'public' AND "t"."relname" = 't_posts') OR ("ns"."nspname" = 'public' AND "t"."relname" = 't_users'))

-- @ TypeORM: synchronize
SELECT "ns"."nspname" AS "table_schema", "t"."relname" AS "table_name", "i"."relname" AS "constraint_name", "a"."attname" AS "column_name", CASE "ix"."indisunique" WHEN 't' THEN 'TRUE' ELSE'FALSE' END AS "is_unique", pg_get_expr("ix"."indpred", "ix"."indrelid") AS "condition", "types"."typname" AS "type_name", "am"."amname" AS "index_type" FROM "pg_class" "t" INNER JOIN "pg_index" "ix" ON "ix"."indrelid" = "t"."oid" INNER JOIN "pg_attribute" "a" ON "a"."attrelid" = "t"."oid"  AND "a"."attnum" = ANY ("ix"."indkey") INNER JOIN "pg_namespace" "ns" ON "ns"."oid" = "t"."relnamespace" INNER JOIN "pg_class" "i" ON "i"."oid" = "ix"."indexrelid" INNER JOIN "pg_type" "types" ON "types"."oid" = "a"."atttypid" INNER JOIN "pg_am" "am" ON "i"."relam" = "am"."oid" LEFT JOIN "pg_constraint" "cnst" ON "cnst"."conname" = "i"."relname" WHERE "t"."relkind" IN ('r', 'p') AND "cnst"."contype" IS NULL AND (("ns"."nspname" = 'public' AND "t"."relname" = 't_posts') OR ("ns"."nspname" = 'public' AND "t"."relname" = 't_users'))

-- @ TypeORM: synchronize
SELECT "con"."conname" AS "constraint_name", "con"."nspname" AS "table_schema", "con"."relname" AS "table_name", "att2"."attname" AS "column_name", "ns"."nspname" AS "referenced_table_schema", "cl"."relname" AS "referenced_table_name", "att"."attname" AS "referenced_column_name", "con"."confdeltype" AS "on_delete", "con"."confupdtype" AS "on_update", "con"."condeferrable" AS "deferrable", "con"."condeferred" AS "deferred" FROM ( SELECT UNNEST ("con1"."conkey") AS "parent", UNNEST ("con1"."confkey") AS "child", "con1"."confrelid", "con1"."conrelid", "con1"."conname", "con1"."contype", "ns"."nspname", "cl"."relname", "con1"."condeferrable", CASE WHEN "con1"."condeferred" THEN 'INITIALLY DEFERRED' ELSE 'INITIALLY IMMEDIATE' END as condeferred, CASE "con1"."confdeltype" WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END as "confdeltype", CASE "con1"."confupdtype" WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END as "confupdtype" FROM "pg_class" "cl" INNER JOIN "pg_namespace" "ns" ON "cl"."relnamespace" = "ns"."oid" INNER JOIN "pg_constraint" "con1" ON "con1"."conrelid" = "cl"."oid" WHERE "con1"."contype" = 'f' AND (("ns"."nspname" = 'public' AND "cl"."relname" = 't_posts') OR ("ns"."nspname" = 'public' AND "cl"."relname" = 't_users')) ) "con" INNER JOIN "pg_attribute" "att" ON "att"."attrelid" = "con"."confrelid" AND "att"."attnum" = "con"."child" INNER JOIN "pg_class" "cl" ON "cl"."oid" = "con"."confrelid"  AND "cl"."relispartition" = 'f'INNER JOIN "pg_namespace" "ns" ON "cl"."relnamespace" = "ns"."oid" INNER JOIN "pg_attribute" "att2" ON "att2"."attrelid" = "con"."conrelid" AND "att2"."attnum" = "con"."parent"

-- @ TypeORM: queries
INSERT INTO "t_users"("name", "age", "made") VALUES ($1, $2, DEFAULT) RETURNING "id", "made"

-- @ TypeORM: queries
INSERT INTO "t_posts"("id", "title", "told", "gone", "version", "userId") VALUES (DEFAULT, $1, DEFAULT, DEFAULT, 1, $2), (DEFAULT, $3, $4, DEFAULT, 1, $5) RETURNING "id", "gone", "version"

-- @ TypeORM: queries
SELECT DISTINCT "distinctAlias"."TUser_id" AS "ids_TUser_id", "distinctAlias"."TUser_name" FROM (SELECT "TUser"."id" AS "TUser_id", "TUser"."name" AS "TUser_name", "TUser"."age" AS "TUser_age", "TUser"."made" AS "TUser_made", "TUser__TUser_posts"."id" AS "TUser__TUser_posts_id", "TUser__TUser_posts"."title" AS "TUser__TUser_posts_title", "TUser__TUser_posts"."told" AS "TUser__TUser_posts_told", "TUser__TUser_posts"."gone" AS "TUser__TUser_posts_gone", "TUser__TUser_posts"."version" AS "TUser__TUser_posts_version", "TUser__TUser_posts"."userId" AS "TUser__TUser_posts_userId" FROM "t_users" "TUser" LEFT JOIN "t_posts" "TUser__TUser_posts" ON "TUser__TUser_posts"."userId"="TUser"."id" AND ("TUser__TUser_posts"."gone" IS NULL) WHERE (("TUser"."name" LIKE $1) AND ("TUser"."age" > $2))) "distinctAlias" ORDER BY "distinctAlias"."TUser_name" ASC, "TUser_id" ASC LIMIT 5

-- @ TypeORM: queries
SELECT "TUser"."id" AS "TUser_id", "TUser"."name" AS "TUser_name", "TUser"."age" AS "TUser_age", "TUser"."made" AS "TUser_made", "TUser__TUser_posts"."id" AS "TUser__TUser_posts_id", "TUser__TUser_posts"."title" AS "TUser__TUser_posts_title", "TUser__TUser_posts"."told" AS "TUser__TUser_posts_told", "TUser__TUser_posts"."gone" AS "TUser__TUser_posts_gone", "TUser__TUser_posts"."version" AS "TUser__TUser_posts_version", "TUser__TUser_posts"."userId" AS "TUser__TUser_posts_userId" FROM "t_users" "TUser" LEFT JOIN "t_posts" "TUser__TUser_posts" ON "TUser__TUser_posts"."userId"="TUser"."id" AND ("TUser__TUser_posts"."gone" IS NULL) WHERE ( (("TUser"."name" LIKE $1) AND ("TUser"."age" > $2)) ) AND ( "TUser"."id" IN (1) ) ORDER BY "TUser"."name" ASC

-- @ TypeORM: queries
SELECT "TUser"."id" AS "TUser_id", "TUser"."name" AS "TUser_name", "TUser"."age" AS "TUser_age", "TUser"."made" AS "TUser_made" FROM "t_users" "TUser" WHERE (("TUser"."id" = $1)) LIMIT 1

-- @ TypeORM: queries
SELECT "TUser"."id" AS "TUser_id", "TUser"."name" AS "TUser_name", "TUser"."age" AS "TUser_age", "TUser"."made" AS "TUser_made" FROM "t_users" "TUser" LIMIT 2 OFFSET 0

-- @ TypeORM: queries
SELECT 1 AS "row_exists" FROM (SELECT 1 AS dummy_column) "dummy_table" WHERE EXISTS (SELECT 1 FROM "t_users" "TUser" WHERE ((NOT("TUser"."name" IS NULL)))) LIMIT 1

-- @ TypeORM: queries
SELECT "TPost"."id" AS "TPost_id", "TPost"."title" AS "TPost_title", "TPost"."told" AS "TPost_told", "TPost"."gone" AS "TPost_gone", "TPost"."version" AS "TPost_version", "TPost"."userId" AS "TPost_userId" FROM "t_posts" "TPost" LEFT JOIN "t_users" "TPost__TPost_user" ON "TPost__TPost_user"."id"="TPost"."userId" WHERE ( (((("TPost__TPost_user"."id" IN ($1))))) ) AND ( "TPost"."gone" IS NULL )

-- @ TypeORM: queries
SELECT COUNT(1) AS "cnt" FROM "t_users" "TUser" WHERE (("TUser"."age" BETWEEN $1 AND $2))

-- @ TypeORM: queries
SELECT MAX("TUser"."age") AS "MAX" FROM "t_users" "TUser"

-- @ TypeORM: queries
SELECT "u"."id" AS "u_id", "u"."name" AS "u_name", "u"."age" AS "u_age", "u"."made" AS "u_made", "p"."id" AS "p_id", "p"."title" AS "p_title", "p"."told" AS "p_told", "p"."gone" AS "p_gone", "p"."version" AS "p_version", "p"."userId" AS "p_userId" FROM "t_users" "u" LEFT JOIN "t_posts" "p" ON "p"."userId"="u"."id" AND ( "p"."title" <> $1 AND "p"."gone" IS NULL) WHERE "u"."age" > $2 ORDER BY "u"."id" ASC

-- @ TypeORM: queries
SELECT "p"."userId" AS "user", count(*) AS "n" FROM "t_posts" "p" WHERE "p"."gone" IS NULL GROUP BY "p"."userId" HAVING count(*) > 1

-- @ TypeORM: queries
INSERT INTO "t_users"("name", "age", "made") VALUES ($1, DEFAULT, DEFAULT) ON CONFLICT ( "id" ) DO UPDATE SET "id" = EXCLUDED."id", "name" = EXCLUDED."name" RETURNING "id", "made"

-- @ TypeORM: queries
UPDATE "t_users" SET "age" = $1 WHERE "id" = $2

-- @ TypeORM: queries
UPDATE "t_users" SET "age" = "age" + 1 WHERE "id" = $1

-- @ TypeORM: queries
SELECT "TPost"."id" AS "TPost_id", "TPost"."title" AS "TPost_title", "TPost"."told" AS "TPost_told", "TPost"."gone" AS "TPost_gone", "TPost"."version" AS "TPost_version", "TPost"."userId" AS "TPost_userId" FROM "t_posts" "TPost" WHERE ( (("TPost"."title" = $1)) ) AND ( "TPost"."gone" IS NULL ) LIMIT 1

-- @ TypeORM: queries
SELECT "TPost"."id" AS "TPost_id", "TPost"."title" AS "TPost_title", "TPost"."told" AS "TPost_told", "TPost"."gone" AS "TPost_gone", "TPost"."version" AS "TPost_version", "TPost"."userId" AS "TPost_userId" FROM "t_posts" "TPost" WHERE "TPost"."id" = $1

-- @ TypeORM: queries
UPDATE "t_posts" SET "title" = $1, "version" = "version" + 1 WHERE "id" = $2 RETURNING "version"

-- @ TypeORM: queries
UPDATE "t_posts" SET "gone" = CURRENT_TIMESTAMP, "version" = "version" + 1 WHERE "title" = $1 AND "gone" IS NULL

-- @ TypeORM: queries
UPDATE "t_posts" SET "gone" = NULL, "version" = "version" + 1 WHERE "title" = $1 AND "gone" IS NOT NULL

-- @ TypeORM: queries
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE

-- @ TypeORM: queries
INSERT INTO "t_posts"("id", "title", "told", "gone", "version", "userId") VALUES (DEFAULT, $1, DEFAULT, DEFAULT, 1, $2) RETURNING "id", "gone", "version"

-- @ TypeORM: queries
DELETE FROM "t_posts" WHERE "title" = $1

-- @ TypeORM: queries
SELECT $1::int AS one

-- @ TypeORM: drop
SELECT "TUser"."id" AS "TUser_id", "TUser"."name" AS "TUser_name", "TUser"."age" AS "TUser_age", "TUser"."made" AS "TUser_made" FROM "t_users" "TUser" WHERE "TUser"."id" = $1

-- @ TypeORM: drop
SELECT "TPost"."id" AS "TPost_id", "TPost"."title" AS "TPost_title", "TPost"."told" AS "TPost_told", "TPost"."gone" AS "TPost_gone", "TPost"."version" AS "TPost_version", "TPost"."userId" AS "TPost_userId" FROM "t_posts" "TPost" WHERE "TPost"."id" IN ($1, $2)

-- @ TypeORM: drop
DELETE FROM "t_posts" WHERE ("id" = $1 OR "id" = $2)

-- @ TypeORM: drop
DELETE FROM "t_users" WHERE "id" = $1

-- @ TypeORM: drop
SELECT current_schema() AS "currentSchema"

-- @ TypeORM: drop
SELECT quote_ident(schemaname) || '.' || quote_ident(viewname) as "name" FROM "pg_views" WHERE "schemaname" = ANY($1) AND "viewname" NOT IN ('geography_columns', 'geometry_columns', 'raster_columns', 'raster_overviews')

-- @ TypeORM: drop
SELECT quote_ident(schemaname) || '.' || quote_ident(matviewname) as "name" FROM "pg_matviews" WHERE "schemaname" = ANY($1)

-- @ TypeORM: drop
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) as "name" FROM "pg_tables" WHERE "schemaname" = ANY($1) AND "tablename" NOT IN ('spatial_ref_sys')

-- @ TypeORM: drop
SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname) as "name" FROM "pg_type" "t" INNER JOIN "pg_enum" "e" ON "e"."enumtypid" = "t"."oid" INNER JOIN "pg_namespace" "n" ON "n"."oid" = "t"."typnamespace" WHERE "n"."nspname" = ANY($1) GROUP BY "n"."nspname", "t"."typname"
