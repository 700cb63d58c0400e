"""SQLAlchemy 2: engine, reflection, ORM, pool; a fresh token for each new connection by `do_connect`."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy import orm
from told import DATABASE, HOST, PASSWORD, PORT, PROTECTED, USER, parameters, tell, tell_table


def engine_of(database: str = DATABASE) -> sa.Engine:
    """As docs/clients.md shows it: the URL has no password, each connection asks for one."""
    url = sa.URL.create("postgresql+psycopg", username=USER, host=HOST, port=PORT, database=database)
    rest = {key: parameters()[key] for key in ("sslmode", "sslrootcert") if key in parameters()}
    engine = sa.create_engine(url, connect_args=rest, pool_pre_ping=True)

    @sa.event.listens_for(engine, "do_connect")
    def token(_dialect, _record, _arguments, keywords):
        keywords["password"] = PASSWORD

    return engine


def browse(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    tell("schemas", inspector.get_schema_names())
    tell("tables", [sorted(inspector.get_table_names()), inspector.get_view_names()])
    for table in ("customers", "orders", "kinds"):
        tell(f"columns of {table}", [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)])
        tell(f"keys of {table}", [inspector.get_pk_constraint(table), inspector.get_foreign_keys(table)])
        tell(f"indexes of {table}", [inspector.get_indexes(table), inspector.get_check_constraints(table)])
    metadata = sa.MetaData()
    metadata.reflect(engine)
    tell("reflected", sorted(metadata.tables))


class Base(orm.DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    customer_id: orm.Mapped[int]


def work(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(sa.text("SELECT * FROM kinds ORDER BY id"))
        tell_table("types", result.keys(), result)
        result = connection.execute(sa.text("SELECT * FROM customers ORDER BY id"))
        tell_table("customers", result.keys(), result)
        streamed = connection.execution_options(yield_per=1000).execute(sa.text("SELECT n FROM big"))
        tell("100,000 rows, streamed", sum(row.n for row in streamed))
    with orm.Session(engine) as session:
        session.add_all([Order(id=11, customer_id=1), Order(id=12, customer_id=2)])
        session.flush()
        tell("ORM", [order.id for order in session.scalars(sa.select(Order).order_by(Order.id))])
        with session.begin_nested() as savepoint:
            session.execute(sa.insert(Order), [{"id": n, "customer_id": 1} for n in range(20, 30)])
            savepoint.rollback()
        tell("savepoint", session.scalar(sa.select(sa.func.count()).select_from(Order)))
        session.rollback()
    with engine.connect() as connection:
        for text in ("SELECT 1/0", "INSERT INTO orders VALUES (1, 1)"):
            try:
                connection.execute(sa.text(text))
            except sa.exc.DBAPIError as error:
                tell(text, [type(error).__name__, getattr(error.orig, "sqlstate", None), str(error.orig)])
                connection.rollback()
        tell("after errors", connection.scalar(sa.text("SELECT 1")))
    with engine.connect() as connection:
        connection.execute(sa.text("SET idle_session_timeout = '100ms'"))
        connection.commit()  # and back into the pool, where it is lost
    time.sleep(1)
    with engine.connect() as connection:
        tell("reconnected by the pool", connection.scalar(sa.text("SELECT 1")))


def policy() -> None:
    with engine_of(PROTECTED).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        notices: list[str | None] = []
        raw = connection.connection.driver_connection
        raw.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for step, text in (("denied", "DROP TABLE orders"), ("held", "DELETE FROM orders")):
            try:
                connection.execute(sa.text(text))
            except sa.exc.DBAPIError as error:
                connection.rollback()
                alive = connection.scalar(sa.text("SELECT 1"))
                tell(step, [error.orig.sqlstate, str(error.orig), notices, alive])


made = engine_of()
browse(made)
work(made)
if PROTECTED:
    policy()
