-- tool: Django 5.2.19
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_django_admin.py

-- @ migrate
INSERT INTO "django_migrations" ("app", "name", "applied") VALUES ('contenttypes', '0001_initial', '2026-11-23 23:19:12.519053+00:00'::timestamptz) RETURNING "django_migrations"."id"

-- @ migrate
SELECT "django_migrations"."id", "django_migrations"."app", "django_migrations"."name", "django_migrations"."applied" FROM "django_migrations"

-- @ migrate
SELECT "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "django_content_type" WHERE "django_content_type"."app_label" = 'admin'

-- @ migrate
INSERT INTO "django_content_type" ("app_label", "model") VALUES ('admin', 'logentry') RETURNING "django_content_type"."id"

-- @ migrate
SELECT "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "django_content_type" WHERE ("django_content_type"."app_label" = 'admin' AND "django_content_type"."model" IN ('logentry'))

-- @ migrate
SELECT "auth_permission"."content_type_id" AS "content_type", "auth_permission"."codename" AS "codename" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_permission"."content_type_id" IN (1) ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, 2 ASC

-- @ migrate
INSERT INTO "auth_permission" ("name", "content_type_id", "codename") SELECT * FROM UNNEST(('{"Can add log entry","Can change log entry","Can delete log entry","Can view log entry"}')::varchar[], ('{1,1,1,1}'::int2[])::integer[], ('{add_logentry,change_logentry,delete_logentry,view_logentry}')::varchar[]) RETURNING "auth_permission"."id"

-- @ migrate
INSERT INTO "django_content_type" ("app_label", "model") SELECT * FROM UNNEST(('{auth,auth,auth}')::varchar[], ('{permission,group,user}')::varchar[]) RETURNING "django_content_type"."id"

-- @ migrate
SELECT "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "django_content_type" WHERE ("django_content_type"."app_label" = 'auth' AND "django_content_type"."model" IN ('group', 'permission', 'user'))

-- @ migrate
SELECT "auth_permission"."content_type_id" AS "content_type", "auth_permission"."codename" AS "codename" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_permission"."content_type_id" IN (2, 3, 4) ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, 2 ASC

-- @ migrate
SELECT 1 AS "a" FROM "django_site" LIMIT 1

-- @ migrate
UPDATE "django_site" SET "domain" = 'example.com', "name" = 'example.com' WHERE "django_site"."id" = 1

-- @ migrate
INSERT INTO "django_site" ("id", "domain", "name") VALUES (1, 'example.com', 'example.com') RETURNING "django_site"."id"

-- @ migrate
SELECT setval(pg_get_serial_sequence('"django_site"','id'), coalesce(max("id"), 1), max("id") IS NOT null) FROM "django_site";

-- @ showmigrations, inspectdb
SELECT a1.attname, c2.relname, a2.attname
            FROM pg_constraint con
            LEFT JOIN pg_class c1 ON con.conrelid = c1.oid
            LEFT JOIN pg_class c2 ON con.confrelid = c2.oid
            LEFT JOIN
                pg_attribute a1 ON c1.oid = a1.attrelid AND a1.attnum = con.conkey[1]
            LEFT JOIN
                pg_attribute a2 ON c2.oid = a2.attrelid AND a2.attnum = con.confkey[1]
            WHERE
                c1.relname = 'auth_group' AND
                con.contype = 'f' AND
                c1.relnamespace = c2.relnamespace AND
                pg_catalog.pg_table_is_visible(c1.oid)

-- @ showmigrations, inspectdb
SELECT * FROM "auth_group" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "auth_group_permissions" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "auth_permission" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "auth_user" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "auth_user_groups" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "auth_user_user_permissions" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "big" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "django_admin_log" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "django_content_type" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "django_migrations" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "django_session" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "django_site" LIMIT 1

-- @ showmigrations, inspectdb
SELECT * FROM "parts" LIMIT 1

-- @ showmigrations, inspectdb
INSERT INTO "auth_user" ("password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined") VALUES ('md5$XMh3jOn3euGt8NWSkEpJnU$02abddaccdb5860e8a923c079b738b20', NULL, true, 'root', '', '', 'root@example.com', true, true, '2026-11-23 23:19:12.815981+00:00'::timestamptz) RETURNING "auth_user"."id"

-- @ users and groups
INSERT INTO "auth_group" ("name") VALUES ('writers') RETURNING "auth_group"."id"

-- @ users and groups
SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_permission"."codename"::text LIKE  E'add\\_%' ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ users and groups
SELECT "auth_permission"."id" AS "id" FROM "auth_permission" INNER JOIN "auth_group_permissions" ON ("auth_permission"."id" = "auth_group_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_group_permissions"."group_id" = 1 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ users and groups
INSERT INTO "auth_group_permissions" ("group_id", "permission_id") SELECT * FROM UNNEST(('{1,1,1,1,1,1,1}'::int2[])::integer[], ('{1,5,9,13,17,21,25}'::int2[])::integer[]) ON CONFLICT DO NOTHING

-- @ users and groups
INSERT INTO "auth_user" ("password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined") SELECT * FROM UNNEST(('{"","","","","","","","","","","","","","","","","","","",""}')::varchar[], ('{NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL}')::timestamp with time zone[], ('{f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f}'::bool[])::boolean[], ('{u0,u1,u2,u3,u4,u5,u6,u7,u8,u9,u10,u11,u12,u13,u14,u15,u16,u17,u18,u19}')::varchar[], ('{"","","","","","","","","","","","","","","","","","","",""}')::varchar[], ('{"","","","","","","","","","","","","","","","","","","",""}')::varchar[], ('{u0@example.com,u1@example.com,u2@example.com,u3@example.com,u4@example.com,u5@example.com,u6@example.com,u7@example.com,u8@example.com,u9@example.com,u10@example.com,u11@example.com,u12@example.com,u13@example.com,u14@example.com,u15@example.com,u16@example.com,u17@example.com,u18@example.com,u19@example.com}')::varchar[], ('{f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f}'::bool[])::boolean[], ('{t,t,t,t,t,t,t,t,t,t,t,t,t,t,t,t,t,t,t,t}'::bool[])::boolean[], ('{"2026-11-23 23:19:12.824036+00:00","2026-11-23 23:19:12.824056+00:00","2026-11-23 23:19:12.824064+00:00","2026-11-23 23:19:12.824071+00:00","2026-11-23 23:19:12.824079+00:00","2026-11-23 23:19:12.824088+00:00","2026-11-23 23:19:12.824095+00:00","2026-11-23 23:19:12.824103+00:00","2026-11-23 23:19:12.824110+00:00","2026-11-23 23:19:12.824118+00:00","2026-11-23 23:19:12.824125+00:00","2026-11-23 23:19:12.824133+00:00","2026-11-23 23:19:12.824140+00:00","2026-11-23 23:19:12.824147+00:00","2026-11-23 23:19:12.824154+00:00","2026-11-23 23:19:12.824160+00:00","2026-11-23 23:19:12.824167+00:00","2026-11-23 23:19:12.824175+00:00","2026-11-23 23:19:12.824182+00:00","2026-11-23 23:19:12.824189+00:00"}'::timestamptz[])::timestamp with time zone[]) RETURNING "auth_user"."id"

-- @ users and groups
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" LIMIT 3

-- @ users and groups
INSERT INTO "auth_user_groups" ("user_id", "group_id") VALUES (1, 1) ON CONFLICT DO NOTHING

-- @ users and groups
UPDATE "auth_user" SET "last_name" = 'Doe' WHERE "auth_user"."id" = 1

-- @ queries
SELECT DISTINCT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" LEFT OUTER JOIN "auth_user_groups" ON ("auth_user"."id" = "auth_user_groups"."user_id") LEFT OUTER JOIN "auth_group" ON ("auth_user_groups"."group_id" = "auth_group"."id") WHERE ("auth_group"."name" = 'writers' OR "auth_user"."is_staff") ORDER BY "auth_user"."date_joined" DESC LIMIT 5

-- @ queries
SELECT "auth_user"."username" AS "username", COUNT("auth_user_groups"."group_id") AS "n" FROM "auth_user" LEFT OUTER JOIN "auth_user_groups" ON ("auth_user"."id" = "auth_user_groups"."user_id") GROUP BY "auth_user"."id" HAVING COUNT("auth_user_groups"."group_id") > 0

-- @ queries
SELECT MAX("auth_user"."last_login") AS "last_login__max", COUNT("auth_user"."id") AS "id__count" FROM "auth_user"

-- @ queries
UPDATE "auth_user" SET "first_name" = "auth_user"."username" WHERE "auth_user"."id" = 1

-- @ queries
SELECT "auth_user"."id", "auth_user"."username" FROM "auth_user"

-- @ queries
SELECT ("auth_user_groups"."user_id") AS "_prefetch_related_val_user_id", "auth_group"."id", "auth_group"."name" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" IN (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 2, 3, 1)

-- @ queries
SELECT ("auth_group_permissions"."group_id") AS "_prefetch_related_val_group_id", "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename" FROM "auth_permission" INNER JOIN "auth_group_permissions" ON ("auth_permission"."id" = "auth_group_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_group_permissions"."group_id" IN (1) ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ queries
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" IN (SELECT U0."id" AS "pk" FROM "auth_user" U0 WHERE U0."is_active")

-- @ queries
SELECT 1 AS "a" FROM "auth_user" WHERE ("auth_user"."email"::text LIKE '%example.com' AND UPPER("auth_user"."username"::text) LIKE UPPER('%u1%')) LIMIT 1

-- @ queries
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."username" = 'u100' LIMIT 21

-- @ queries
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."username" = 'u100' LIMIT 21 FOR UPDATE

-- @ queries
UPDATE "auth_user" SET "last_login" = NULL, "email" = 'b@example.com', "date_joined" = '2026-11-23 23:19:12.843719+00:00'::timestamptz WHERE "auth_user"."id" = 22

-- @ queries
SELECT DISTINCT DATE_TRUNC('month', "auth_user"."date_joined" AT TIME ZONE 'America/Chicago') AS "datefield" FROM "auth_user" WHERE "auth_user"."date_joined" IS NOT NULL ORDER BY 1 ASC

-- @ queries
(SELECT "auth_user"."is_staff" AS "is_staff", COUNT("auth_user"."id") AS "id__count" FROM "auth_user" GROUP BY 1) UNION (SELECT "auth_user"."is_active" AS "is_active", COUNT("auth_user"."id") AS "id__count" FROM "auth_user" GROUP BY 1)

-- @ queries
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" IN (1, 2, 3)

-- @ queries
SELECT * FROM auth_user WHERE id = 1

-- @ the admin's pages
SELECT 1 AS "a" FROM "django_session" WHERE "django_session"."session_key" = 'qjr56abx0bvse6zz6ybin9dz5arrsqu3' LIMIT 1

-- @ the admin's pages
INSERT INTO "django_session" ("session_key", "session_data", "expire_date") VALUES ('qjr56abx0bvse6zz6ybin9dz5arrsqu3', 'e30:1xVdJY:dEZ03Oh93fQTqb01VM8yw_Is6TLrsQqUjG0--Lo8n_0', '2026-12-07 23:19:12.855007+00:00'::timestamptz)

-- @ the admin's pages
SELECT "django_session"."session_key", "django_session"."session_data", "django_session"."expire_date" FROM "django_session" WHERE ("django_session"."expire_date" > '2026-11-23 23:19:12.856446+00:00'::timestamptz AND "django_session"."session_key" = 'qjr56abx0bvse6zz6ybin9dz5arrsqu3') LIMIT 21

-- @ the admin's pages
SELECT "django_session"."session_key", "django_session"."session_data", "django_session"."expire_date" FROM "django_session" WHERE "django_session"."session_key" = 'qjr56abx0bvse6zz6ybin9dz5arrsqu3' LIMIT 21

-- @ the admin's pages
DELETE FROM "django_session" WHERE "django_session"."session_key" IN ('qjr56abx0bvse6zz6ybin9dz5arrsqu3')

-- @ the admin's pages
UPDATE "auth_user" SET "last_login" = '2026-11-23 23:19:12.860503+00:00'::timestamptz WHERE "auth_user"."id" = 1

-- @ the admin's pages
UPDATE "django_session" SET "session_data" = '.eJxVjEEOwiAQRe_C2hDpUCgu3fcMDTPDSNVAUtqV8e7apAvd_vfef6kpbmuetpaWaWZ1UUadfjeM9EhlB3yP5VY11bIuM-pd0QdteqycntfD_TvIseVvfR4SEnoRi0mQBAIQMnYhEIjpBcEZ573l4JBDsEK9sxA5DgSmE1bvDyRJOTU:1xVdJY:D4IjZXagWsmIU_Gh9pIgSerk4QD0mGylToNW1_93Ppw', "expire_date" = '2026-12-07 23:19:12.861291+00:00'::timestamptz WHERE "django_session"."session_key" = 'qc70bpz93bop8d8skgw5f9sj1kq09tpq'

-- @ the admin's pages
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" = 1 LIMIT 21

-- @ the admin's pages
SELECT "django_admin_log"."id", "django_admin_log"."action_time", "django_admin_log"."user_id", "django_admin_log"."content_type_id", "django_admin_log"."object_id", "django_admin_log"."object_repr", "django_admin_log"."action_flag", "django_admin_log"."change_message", "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined", "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "django_admin_log" INNER JOIN "auth_user" ON ("django_admin_log"."user_id" = "auth_user"."id") LEFT OUTER JOIN "django_content_type" ON ("django_admin_log"."content_type_id" = "django_content_type"."id") WHERE "django_admin_log"."user_id" = 1 ORDER BY "django_admin_log"."action_time" DESC LIMIT 10

-- @ the admin's pages
SELECT "auth_group"."id", "auth_group"."name" FROM "auth_group" ORDER BY "auth_group"."name" ASC

-- @ the admin's pages
SELECT COUNT(*) AS "__count" FROM "auth_user"

-- @ the admin's pages
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" ORDER BY "auth_user"."username" ASC

-- @ the admin's pages
SELECT COUNT(*) AS "__count" FROM "auth_user" WHERE (NOT "auth_user"."is_staff" AND (UPPER("auth_user"."username"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."first_name"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."last_name"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."email"::text) LIKE UPPER('%u1%')))

-- @ the admin's pages
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE (NOT "auth_user"."is_staff" AND (UPPER("auth_user"."username"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."first_name"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."last_name"::text) LIKE UPPER('%u1%') OR UPPER("auth_user"."email"::text) LIKE UPPER('%u1%'))) ORDER BY "auth_user"."email" ASC, "auth_user"."username" ASC

-- @ the admin's pages
SELECT "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "django_content_type" WHERE ("django_content_type"."app_label" = 'auth' AND "django_content_type"."model" = 'user') LIMIT 21

-- @ the admin's pages
SELECT "auth_group"."id", "auth_group"."name" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 1

-- @ the admin's pages
SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 1 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ the admin's pages
DECLARE "_django_curs_140556071979904_sync_1" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id", "auth_group"."name" FROM "auth_group" ORDER BY "auth_group"."name" ASC

-- @ the admin's pages
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_1"

-- @ the admin's pages
CLOSE "_django_curs_140556071979904_sync_1"

-- @ the admin's pages
DECLARE "_django_curs_140556071979904_sync_2" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename", "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ the admin's pages
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_2"

-- @ the admin's pages
CLOSE "_django_curs_140556071979904_sync_2"

-- @ the admin's pages
SELECT COUNT(*) AS "__count" FROM "auth_group"

-- @ the admin's pages
SELECT "auth_group"."id", "auth_group"."name" FROM "auth_group" WHERE "auth_group"."id" = 1 LIMIT 21

-- @ the admin's pages
SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename" FROM "auth_permission" INNER JOIN "auth_group_permissions" ON ("auth_permission"."id" = "auth_group_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_group_permissions"."group_id" = 1 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ the admin's pages
DECLARE "_django_curs_140556071979904_sync_3" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename", "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ the admin's pages
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_3"

-- @ the admin's pages
CLOSE "_django_curs_140556071979904_sync_3"

-- @ the admin's pages
SELECT COUNT(*) AS "__count" FROM "django_admin_log" WHERE ("django_admin_log"."content_type_id" = 4 AND "django_admin_log"."object_id" = '1')

-- @ the admin's pages
SELECT "auth_group_permissions"."id", "auth_group_permissions"."group_id", "auth_group_permissions"."permission_id", "auth_group"."id", "auth_group"."name" FROM "auth_group_permissions" INNER JOIN "auth_group" ON ("auth_group_permissions"."group_id" = "auth_group"."id") WHERE "auth_group_permissions"."group_id" IN (1)

-- @ the admin's pages
SELECT "auth_user_groups"."id", "auth_user_groups"."user_id", "auth_user_groups"."group_id", "auth_group"."id", "auth_group"."name" FROM "auth_user_groups" INNER JOIN "auth_group" ON ("auth_user_groups"."group_id" = "auth_group"."id") WHERE "auth_user_groups"."group_id" IN (1)

-- @ the admin's pages
SELECT COUNT(*) AS "__count" FROM "django_site"

-- @ the admin's pages
SELECT "django_site"."id", "django_site"."domain", "django_site"."name" FROM "django_site" ORDER BY "django_site"."domain" ASC

-- @ the admin's changes
SELECT 1 AS "a" FROM "auth_group" WHERE "auth_group"."name" = 'readers' LIMIT 1

-- @ the admin's changes
INSERT INTO "django_admin_log" ("action_time", "user_id", "content_type_id", "object_id", "object_repr", "action_flag", "change_message") VALUES ('2026-11-23 23:19:13.309551+00:00'::timestamptz, 1, 3, '2', 'readers', 1, '[{"added": {}}]') RETURNING "django_admin_log"."id"

-- @ the admin's changes
SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename", "django_content_type"."id", "django_content_type"."app_label", "django_content_type"."model" FROM "auth_permission" INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_permission"."id" IN (1, 2) ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ the admin's changes
SELECT 1 AS "a" FROM "auth_group" WHERE ("auth_group"."name" = 'writers too' AND NOT ("auth_group"."id" = 1)) LIMIT 1

-- @ the admin's changes
UPDATE "auth_group" SET "name" = 'writers too' WHERE "auth_group"."id" = 1

-- @ the admin's changes
DELETE FROM "auth_group_permissions" WHERE ("auth_group_permissions"."group_id" = 1 AND "auth_group_permissions"."permission_id" IN (5, 9, 13, 17, 21, 25))

-- @ the admin's changes
INSERT INTO "auth_group_permissions" ("group_id", "permission_id") VALUES (1, 2) ON CONFLICT DO NOTHING

-- @ the admin's changes
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" IN (5, 6) ORDER BY "auth_user"."username" ASC LIMIT 1

-- @ the admin's changes
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" IN (5, 6) ORDER BY "auth_user"."username" ASC

-- @ the admin's changes
SELECT "django_admin_log"."id", "django_admin_log"."action_time", "django_admin_log"."user_id", "django_admin_log"."content_type_id", "django_admin_log"."object_id", "django_admin_log"."object_repr", "django_admin_log"."action_flag", "django_admin_log"."change_message", "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "django_admin_log" INNER JOIN "auth_user" ON ("django_admin_log"."user_id" = "auth_user"."id") WHERE "django_admin_log"."user_id" IN (5, 6) ORDER BY "django_admin_log"."action_time" DESC

-- @ the admin's changes
SELECT "auth_user_groups"."id", "auth_user_groups"."user_id", "auth_user_groups"."group_id", "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user_groups" INNER JOIN "auth_user" ON ("auth_user_groups"."user_id" = "auth_user"."id") WHERE "auth_user_groups"."user_id" IN (5, 6)

-- @ the admin's changes
SELECT "auth_user_user_permissions"."id", "auth_user_user_permissions"."user_id", "auth_user_user_permissions"."permission_id", "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user_user_permissions" INNER JOIN "auth_user" ON ("auth_user_user_permissions"."user_id" = "auth_user"."id") WHERE "auth_user_user_permissions"."user_id" IN (5, 6)

-- @ the admin's changes
INSERT INTO "django_admin_log" ("action_time", "user_id", "content_type_id", "object_id", "object_repr", "action_flag", "change_message") SELECT * FROM UNNEST(('{"2026-11-23 23:19:13.335517+00:00","2026-11-23 23:19:13.335551+00:00"}'::timestamptz[])::timestamp with time zone[], ('{1,1}'::int2[])::integer[], ('{4,4}'::int2[])::integer[], ('{5,6}')::text[], ('{u3,u4}')::varchar[], ('{3,3}'::int2[])::smallint[], ('{"",""}')::text[]) RETURNING "django_admin_log"."id"

-- @ the admin's changes
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" IN (5, 6)

-- @ the admin's changes
DELETE FROM "django_admin_log" WHERE "django_admin_log"."user_id" IN (5, 6)

-- @ the admin's changes
DELETE FROM "auth_user_groups" WHERE "auth_user_groups"."user_id" IN (5, 6)

-- @ the admin's changes
DELETE FROM "auth_user_user_permissions" WHERE "auth_user_user_permissions"."user_id" IN (5, 6)

-- @ the admin's changes
DELETE FROM "auth_user" WHERE "auth_user"."id" IN (6, 5)

-- @ the admin's changes
DELETE FROM "auth_group_permissions" WHERE "auth_group_permissions"."group_id" IN (1)

-- @ the admin's changes
DELETE FROM "auth_user_groups" WHERE "auth_user_groups"."group_id" IN (1)

-- @ the admin's changes
DELETE FROM "auth_group" WHERE "auth_group"."id" IN (1)

-- @ deleted, dumped
DELETE FROM "django_admin_log" WHERE "django_admin_log"."user_id" IN (11)

-- @ deleted, dumped
DELETE FROM "auth_user_groups" WHERE "auth_user_groups"."user_id" IN (11)

-- @ deleted, dumped
DELETE FROM "auth_user_user_permissions" WHERE "auth_user_user_permissions"."user_id" IN (11)

-- @ deleted, dumped
DELETE FROM "auth_user" WHERE "auth_user"."id" IN (11)

-- @ deleted, dumped
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."username" IN ('u7', 'u8')

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_4" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id", "auth_permission"."name", "auth_permission"."content_type_id", "auth_permission"."codename" FROM "auth_permission" ORDER BY "auth_permission"."id" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_4"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_4"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_5" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id", "auth_group"."name" FROM "auth_group" ORDER BY "auth_group"."id" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_5"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_6" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_group_permissions" ON ("auth_permission"."id" = "auth_group_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_group_permissions"."group_id" = 2 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_6"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_6"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_5"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_7" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."first_name", "auth_user"."last_name", "auth_user"."email", "auth_user"."is_staff", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" ORDER BY "auth_user"."id" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_7"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_8" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 1

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_8"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_8"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_9" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 1 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_9"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_9"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_10" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 2

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_10"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_10"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_11" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 2 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_11"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_11"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_12" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 3

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_12"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_12"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_13" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 3 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_13"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_13"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_14" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 4

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_14"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_14"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_15" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 4 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_15"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_15"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_16" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 7

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_16"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_16"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_17" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 7 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_17"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_17"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_18" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 8

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_18"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_18"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_19" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 8 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_19"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_19"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_20" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 12

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_20"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_20"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_21" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 12 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_21"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_21"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_22" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 13

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_22"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_22"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_23" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 13 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_23"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_23"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_24" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 14

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_24"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_24"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_25" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 14 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_25"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_25"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_26" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 15

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_26"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_26"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_27" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 15 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_27"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_27"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_28" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 16

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_28"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_28"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_29" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 16 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_29"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_29"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_30" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 17

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_30"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_30"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_31" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 17 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_31"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_31"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_32" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 18

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_32"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_32"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_33" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 18 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_33"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_33"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_34" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 19

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_34"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_34"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_35" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 19 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_35"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_35"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_36" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 20

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_36"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_36"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_37" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 20 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_37"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_37"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_38" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 21

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_38"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_38"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_39" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 21 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_39"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_39"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_40" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_group"."id" FROM "auth_group" INNER JOIN "auth_user_groups" ON ("auth_group"."id" = "auth_user_groups"."group_id") WHERE "auth_user_groups"."user_id" = 22

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_40"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_40"

-- @ deleted, dumped
DECLARE "_django_curs_140556071979904_sync_41" NO SCROLL CURSOR WITH HOLD FOR SELECT "auth_permission"."id" FROM "auth_permission" INNER JOIN "auth_user_user_permissions" ON ("auth_permission"."id" = "auth_user_user_permissions"."permission_id") INNER JOIN "django_content_type" ON ("auth_permission"."content_type_id" = "django_content_type"."id") WHERE "auth_user_user_permissions"."user_id" = 22 ORDER BY "django_content_type"."app_label" ASC, "django_content_type"."model" ASC, "auth_permission"."codename" ASC

-- @ deleted, dumped
FETCH FORWARD 2000 FROM "_django_curs_140556071979904_sync_41"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_41"

-- @ deleted, dumped
CLOSE "_django_curs_140556071979904_sync_7"

-- @ deleted, dumped
DELETE FROM "django_session" WHERE "django_session"."expire_date" < '2026-11-23 23:19:16.712189+00:00'::timestamptz
