-- tool: pg 8.23.1, Knex 3.3.0, Sequelize 6.37.8, TypeORM 1.1.1
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_node.py

-- @ Knex: schema
create table "k_users" ("id" serial primary key, "name" varchar(255) not null, "told" jsonb, "created_at" timestamptz not null default CURRENT_TIMESTAMP, "updated_at" timestamptz not null default CURRENT_TIMESTAMP)

-- @ Knex: schema
create index "k_users_name_index" on "k_users" ("name")

-- @ Knex: schema
create table "k_posts" ("id" serial primary key, "user_id" integer, "body" text)

-- @ Knex: schema
alter table "k_posts" add constraint "k_posts_user_id_foreign" foreign key ("user_id") references "k_users" ("id") on delete CASCADE

-- @ Knex: schema
alter table "k_posts" add column "draft" boolean default '0'

-- @ Knex: dropped
drop table "k_posts"

-- @ Knex: dropped
drop table "k_users"

-- @ Sequelize: sync
DO 'BEGIN CREATE TYPE "public"."enum_SUsers_state" AS ENUM(''on'', ''off''); EXCEPTION WHEN duplicate_object THEN null; END';

-- @ Sequelize: sync
CREATE TABLE IF NOT EXISTS "SUsers" ("id"   SERIAL , "name" VARCHAR(255) UNIQUE, "age" INTEGER, "state" "public"."enum_SUsers_state", "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL, "updatedAt" TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY ("id"));

-- @ Sequelize: sync
CREATE TABLE IF NOT EXISTS "SPosts" ("id"   SERIAL , "title" VARCHAR(255), "told" JSONB, "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL, "updatedAt" TIMESTAMP WITH TIME ZONE NOT NULL, "deletedAt" TIMESTAMP WITH TIME ZONE, "SUserId" INTEGER REFERENCES "SUsers" ("id") ON DELETE SET NULL ON UPDATE CASCADE, PRIMARY KEY ("id"));

-- @ Sequelize: sync
ALTER TABLE "SUsers" ALTER COLUMN "name" DROP NOT NULL;ALTER TABLE "SUsers" ALTER COLUMN "name" DROP DEFAULT;ALTER TABLE "SUsers"  ADD UNIQUE ("name");ALTER TABLE "SUsers" ALTER COLUMN "name" TYPE VARCHAR(255) ;

-- @ Sequelize: sync
ALTER TABLE "SUsers" ALTER COLUMN "age" DROP NOT NULL;ALTER TABLE "SUsers" ALTER COLUMN "age" DROP DEFAULT;ALTER TABLE "SUsers" ALTER COLUMN "age" TYPE INTEGER;

-- @ Sequelize: sync
ALTER TABLE "SUsers" ALTER COLUMN "state" DROP NOT NULL;ALTER TABLE "SUsers" ALTER COLUMN "state" DROP DEFAULT;DO 'BEGIN CREATE TYPE "public"."enum_SUsers_state" AS ENUM(''on'', ''off''); EXCEPTION WHEN duplicate_object THEN null; END';ALTER TABLE "SUsers" ALTER COLUMN "state" TYPE "public"."enum_SUsers_state" USING ("state"::"public"."enum_SUsers_state");

-- @ Sequelize: sync
ALTER TABLE "SUsers" ALTER COLUMN "createdAt" SET NOT NULL;ALTER TABLE "SUsers" ALTER COLUMN "createdAt" DROP DEFAULT;ALTER TABLE "SUsers" ALTER COLUMN "createdAt" TYPE TIMESTAMP WITH TIME ZONE;

-- @ Sequelize: sync
ALTER TABLE "SUsers" ALTER COLUMN "updatedAt" SET NOT NULL;ALTER TABLE "SUsers" ALTER COLUMN "updatedAt" DROP DEFAULT;ALTER TABLE "SUsers" ALTER COLUMN "updatedAt" TYPE TIMESTAMP WITH TIME ZONE;

-- @ Sequelize: sync
ALTER TABLE "SPosts" ALTER COLUMN "title" DROP NOT NULL;ALTER TABLE "SPosts" ALTER COLUMN "title" DROP DEFAULT;ALTER TABLE "SPosts" ALTER COLUMN "title" TYPE VARCHAR(255);

-- @ Sequelize: sync
ALTER TABLE "SPosts" ALTER COLUMN "told" DROP NOT NULL;ALTER TABLE "SPosts" ALTER COLUMN "told" DROP DEFAULT;ALTER TABLE "SPosts" ALTER COLUMN "told" TYPE JSONB;

-- @ Sequelize: sync
ALTER TABLE "SPosts" ALTER COLUMN "createdAt" SET NOT NULL;ALTER TABLE "SPosts" ALTER COLUMN "createdAt" DROP DEFAULT;ALTER TABLE "SPosts" ALTER COLUMN "createdAt" TYPE TIMESTAMP WITH TIME ZONE;

-- @ Sequelize: sync
ALTER TABLE "SPosts" ALTER COLUMN "updatedAt" SET NOT NULL;ALTER TABLE "SPosts" ALTER COLUMN "updatedAt" DROP DEFAULT;ALTER TABLE "SPosts" ALTER COLUMN "updatedAt" TYPE TIMESTAMP WITH TIME ZONE;

-- @ Sequelize: sync
ALTER TABLE "SPosts" ALTER COLUMN "deletedAt" DROP NOT NULL;ALTER TABLE "SPosts" ALTER COLUMN "deletedAt" DROP DEFAULT;ALTER TABLE "SPosts" ALTER COLUMN "deletedAt" TYPE TIMESTAMP WITH TIME ZONE;

-- @ Sequelize: sync
ALTER TABLE "SPosts" DROP CONSTRAINT "SPosts_SUserId_fkey"

-- @ Sequelize: sync
ALTER TABLE "SPosts"  ADD FOREIGN KEY ("SUserId") REFERENCES "SUsers" ("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- @ Sequelize: queries
CREATE OR REPLACE FUNCTION pg_temp.testfunc(OUT response "SUsers", OUT sequelize_caught_exception text) RETURNS RECORD AS $func_46a733edc7134c948d218507ad8c6b80$ BEGIN INSERT INTO "SUsers" ("id","name","age","createdAt","updatedAt") VALUES (DEFAULT,'bo',5,'2026-11-23 23:19:25.354 +00:00','2026-11-23 23:19:25.354 +00:00') RETURNING * INTO response; EXCEPTION WHEN unique_violation THEN GET STACKED DIAGNOSTICS sequelize_caught_exception = PG_EXCEPTION_DETAIL; END $func_46a733edc7134c948d218507ad8c6b80$ LANGUAGE plpgsql; SELECT (testfunc.response)."id", (testfunc.response)."name", (testfunc.response)."age", (testfunc.response)."state", (testfunc.response)."createdAt", (testfunc.response)."updatedAt", testfunc.sequelize_caught_exception FROM pg_temp.testfunc(); DROP FUNCTION IF EXISTS pg_temp.testfunc();

-- @ Sequelize: drop
DROP TABLE IF EXISTS "SPosts";

-- @ Sequelize: drop
DROP TABLE IF EXISTS "SUsers";

-- @ Sequelize: drop
DROP TYPE IF EXISTS "public"."enum_SUsers_state";

-- @ TypeORM: synchronize
CREATE TABLE "t_users" ("id" SERIAL NOT NULL, "name" character varying(80) NOT NULL, "age" integer, "made" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), CONSTRAINT "PK_45e27b946b7f8cd527fd4fbe658" PRIMARY KEY ("id"))

-- @ TypeORM: synchronize
CREATE INDEX "IDX_20b8dc4505a54f966a075f64bb" ON "t_users"  ("name")

-- @ TypeORM: synchronize
CREATE TABLE "t_posts" ("id" uuid NOT NULL DEFAULT gen_random_uuid(), "title" text NOT NULL, "told" jsonb, "gone" TIMESTAMP WITH TIME ZONE, "version" integer NOT NULL, "userId" integer, CONSTRAINT "PK_27803a73ce27dff252f52f44742" PRIMARY KEY ("id"))

-- @ TypeORM: synchronize
ALTER TABLE "t_posts" ADD CONSTRAINT "FK_f357029f426b0c9676db6d141d3" FOREIGN KEY ("userId") REFERENCES "t_users"("id") ON DELETE CASCADE ON UPDATE NO ACTION

-- @ TypeORM: drop
DROP VIEW IF EXISTS public.people CASCADE

-- @ TypeORM: drop
DROP MATERIALIZED VIEW IF EXISTS public.people_copy CASCADE

-- @ TypeORM: drop
DROP TABLE IF EXISTS public.customers, public.parts_2024, public.parts, public.orders, public.kinds, public.big, public.t_users, public.t_posts CASCADE

-- @ TypeORM: drop
DROP TYPE IF EXISTS public.mood CASCADE
