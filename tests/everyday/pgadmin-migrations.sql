-- tool: pgadmin4 9.18 psycopg 3.3.4
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_pgadmin.py

-- @ GET /browser/check_constraint/validate/<int:gid>/<int:sid>/<int:did>/<int:scid>/<int:tid>/<int:cid>
ALTER TABLE IF EXISTS public.customers
    VALIDATE CONSTRAINT customers_email_check;

-- @ GET /browser/check_constraint/validate/<int:gid>/<int:sid>/<int:did>/<int:scid>/<int:tid>/<int:cid>
ALTER TABLE IF EXISTS public.orders
    VALIDATE CONSTRAINT customers_email_check;

-- @ GET /browser/foreign_key/validate/<int:gid>/<int:sid>/<int:did>/<int:scid>/<int:tid>/<int:fkid>
ALTER TABLE IF EXISTS public.customers
    VALIDATE CONSTRAINT orders_customer_id_fkey;

-- @ GET /browser/foreign_key/validate/<int:gid>/<int:sid>/<int:did>/<int:scid>/<int:tid>/<int:fkid>
ALTER TABLE IF EXISTS public.orders
    VALIDATE CONSTRAINT orders_customer_id_fkey;
