"""Jupyter's kernel machinery (IPython) with jupysql's `%sql` and `%%sql`, as cells of a notebook run them."""

from __future__ import annotations

import sqlalchemy as sa
from IPython.core.interactiveshell import InteractiveShell
from told import DATABASE, HOST, PASSWORD, PORT, PROTECTED, USER, parameters, tell, tell_table


def engine_of(database: str) -> sa.Engine:
    rest = {key: parameters()[key] for key in ("sslmode", "sslrootcert") if key in parameters()}
    return sa.create_engine(sa.URL.create("postgresql+psycopg", USER, PASSWORD, HOST, PORT, database, query=rest))


notebook = InteractiveShell.instance()
notebook.run_line_magic("load_ext", "sql")
notebook.run_line_magic("config", "SqlMagic.feedback = 0")
notebook.run_line_magic("config", "SqlMagic.displaylimit = None")
notebook.user_ns["engine"] = engine_of(DATABASE)
notebook.run_line_magic("sql", "engine")
frame = notebook.run_cell_magic("sql", "", "SELECT * FROM customers ORDER BY id").DataFrame()
tell_table("customers", frame.columns, frame.values.tolist())
frame = notebook.run_cell_magic("sql", "", "SELECT * FROM kinds ORDER BY id").DataFrame()
tell_table("types", frame.columns, frame.values.tolist())
tell("100,000 rows", len(notebook.run_line_magic("sql", "SELECT n, word FROM big").DataFrame()))
tell("tables", str(notebook.run_line_magic("sqlcmd", "tables")))
tell("columns", str(notebook.run_line_magic("sqlcmd", "columns --table customers")))
if PROTECTED:
    notebook.user_ns["protected"] = engine_of(PROTECTED)
    notebook.run_line_magic("sql", "protected")
    try:
        notebook.run_line_magic("sql", "DROP TABLE orders")
    except Exception as error:  # jupysql has its own kinds
        tell("denied", str(error))
