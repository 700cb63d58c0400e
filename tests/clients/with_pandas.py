"""pandas over SQLAlchemy: frames in and out."""

from __future__ import annotations

import pandas as pd
import sqlalchemy as sa
from told import DATABASE, HOST, PASSWORD, PORT, USER, parameters, tell, tell_table

rest = {key: parameters()[key] for key in ("sslmode", "sslrootcert") if key in parameters()}
url = sa.URL.create("postgresql+psycopg", USER, PASSWORD, HOST, PORT, DATABASE)
engine = sa.create_engine(url, connect_args=rest)

kinds = pd.read_sql("SELECT * FROM kinds ORDER BY id", engine)
tell_table("types", kinds.columns, kinds.values.tolist())
clean = kinds.drop(columns=["doc", "net"])
tell("dtypes", [(name, str(kind)) for name, kind in clean.dtypes.items()])
people = pd.read_sql_table("customers", engine).sort_values("id")
tell_table("customers", people.columns, people.values.tolist())
chunks = pd.read_sql("SELECT n, word FROM big", engine.connect().execution_options(stream_results=True), chunksize=9000)
tell("100,000 rows in chunks", [sum(len(chunk) for chunk in chunks)])
with engine.connect() as connection:
    frame = pd.DataFrame({"a": range(500), "b": ["x"] * 500, "c": pd.Timestamp("2024-01-01", tz="UTC")})
    frame.to_sql("frames", connection, index=False, method="multi", if_exists="replace")
    back = pd.read_sql("SELECT count(*) AS n, min(c) AS c, sum(a) AS s FROM frames", connection)
    tell("to_sql and back", back.astype(str).values.tolist())
    connection.execute(sa.text("DROP TABLE frames"))
    connection.commit()
