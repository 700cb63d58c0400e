"""What the demo's databases hold: customers with personal data, and orders, many of them."""

from __future__ import annotations

import psycopg

DATABASES = ("dev", "staging", "prod")
CUSTOMERS = 200
ORDERS = 120_000
DOOMED = 3  # rows of `carts`, which ann deletes without a WHERE

TABLES = f"""
CREATE TABLE customers (
    id integer PRIMARY KEY, full_name text NOT NULL, email text NOT NULL, phone text, city text, created date NOT NULL);
CREATE TABLE orders (
    id integer PRIMARY KEY, customer_id integer NOT NULL, cents integer NOT NULL, status text NOT NULL);
CREATE TABLE carts (id integer PRIMARY KEY, customer_id integer NOT NULL, note text);
INSERT INTO customers SELECT i, 'Person ' || i, 'person' || i || '@mail.example', '+49 30 ' || 1000000 + i,
    (ARRAY['Berlin', 'Lagos', 'Lima', 'Osaka'])[1 + i % 4], date '2024-01-01' + i
    FROM generate_series(1, {CUSTOMERS}) i;
INSERT INTO orders SELECT i, 1 + i % {CUSTOMERS}, 100 + i % 9000, (ARRAY['open', 'paid', 'sent'])[1 + i % 3]
    FROM generate_series(1, {ORDERS}) i;
INSERT INTO carts SELECT i, i, 'left behind' FROM generate_series(1, {DOOMED}) i;
"""


def seed(dsn: str) -> None:
    """Make the tables in a database that hasn't got them; fill the carts again where an earlier play emptied them."""
    with psycopg.connect(dsn) as connection:
        if connection.execute("SELECT to_regclass('public.customers')").fetchone() == (None,):
            connection.execute(TABLES.encode())
        carts = "INSERT INTO carts SELECT i, i, 'left behind' FROM generate_series(1, %s) i ON CONFLICT DO NOTHING"
        connection.execute(carts, [DOOMED])
