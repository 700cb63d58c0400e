"""Superset, with its own web API: a database, schemas, tables, datasets, SQL Lab, the data of charts."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from told import CA_FILE, DATABASE, HOST, PASSWORD, PORT, PROTECTED, SSLMODE, USER, tell, tell_table

HOME = Path(tempfile.mkdtemp())
(HOME / "superset_config.py").write_text(
    "SECRET_KEY = 'of this try alone, nothing is kept of it'\n"
    f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{HOME}/superset.db'\n"
    "WTF_CSRF_ENABLED = False\nTALISMAN_ENABLED = False\nRATELIMIT_ENABLED = False\n"
    "FAB_ADD_SECURITY_API = True\n"
)
os.environ |= {"SUPERSET_CONFIG_PATH": str(HOME / "superset_config.py"), "SUPERSET_HOME": str(HOME)}
logging.disable(logging.CRITICAL)

from flask_migrate import upgrade  # noqa: E402
from sqlalchemy.engine import URL  # noqa: E402
from superset.app import create_app  # noqa: E402

app = create_app()
with app.app_context():
    upgrade(directory=str(Path(__import__("superset").__file__).parent / "migrations"))
    app.appbuilder.add_permissions(update_perms=True)
    app.appbuilder.sm.sync_role_definitions()
    manager = app.appbuilder.sm
    manager.add_user("admin", "A", "D", "admin@example.com", manager.find_role("Admin"), password="admin")
client = app.test_client()
signed_in = client.post("/api/v1/security/login", json={"username": "admin", "password": "admin", "provider": "db"})
HEADERS = {"Authorization": f"Bearer {signed_in.json['access_token']}"}


def call(method: str, path: str, **body: Any) -> Any:
    answer = client.open(f"/api/v1/{path}", method=method, headers=HEADERS, json=body or None)
    return answer.status_code, answer.json


def database(name: str, place: str) -> int:
    query = {"sslmode": SSLMODE, **({"sslrootcert": CA_FILE} if CA_FILE else {})}
    url = URL.create("postgresql+psycopg2", USER, PASSWORD, HOST, PORT, place, query=query)
    status, answer = call(
        "POST", "database/", database_name=name, sqlalchemy_uri=url.render_as_string(False), expose_in_sqllab=True,
        allow_dml=True,
    )  # fmt: skip
    assert status == 201, answer
    return int(answer["id"])


def lab(of: int, sql: str) -> Any:
    status, answer = call(
        "POST",
        "sqllab/execute/",
        database_id=of,
        sql=sql,
        schema="public",
        runAsync=False,
        client_id=os.urandom(5).hex(),
    )
    return status, answer


shop = database("shop", DATABASE)
tell("connection", call("POST", "database/test_connection/", sqlalchemy_uri="sqlite://")[0] != 500)
tell("schemas", sorted(call("GET", f"database/{shop}/schemas/")[1]["result"]))
tables = call("GET", f"database/{shop}/tables/?q=(schema_name:public)")[1]["result"]
tell("tables", sorted((each["value"], each["type"]) for each in tables))
columns = call("GET", f"database/{shop}/table_metadata/?name=customers&schema=public")[1]
tell("columns", [(each["name"], each["type"]) for each in columns["columns"]])
tell("keys", [columns["primaryKey"], columns["foreignKeys"], columns["indexes"]])
status, made = call("POST", "dataset/", database=shop, schema="public", table_name="customers")
tell(
    "dataset",
    [status, [column["column_name"] for column in call("GET", f"dataset/{made['id']}")[1]["result"]["columns"]]],
)
status, answer = lab(shop, "SELECT id, name, email, phone, note FROM customers ORDER BY id")
assert status == 200 and "columns" in answer, (status, answer)
names = [column["column_name"] for column in answer["columns"]]
tell_table("customers", names, [[row[name] for name in names] for row in answer["data"]])
tell("an error", lab(shop, "SELECT nothing FROM customers")[0])
status, answer = call(
    "POST", "chart/data", datasource={"id": made["id"], "type": "table"}, force=True,
    queries=[{"columns": ["note"], "metrics": ["count"], "orderby": [["count", False]], "row_limit": 100, "filters": [],
              "extras": {"having": "", "where": ""}}],
)  # fmt: skip
tell("chart", [status, sorted(map(str, answer["result"][0]["data"]))])
status, answer = call(
    "POST", "chart/data", datasource={"id": made["id"], "type": "table"}, force=True,
    queries=[{"columns": ["id", "note"], "filters": [{"col": "id", "op": "IN", "val": [1, 2]}], "row_limit": 10,
              "extras": {}}],
)  # fmt: skip
tell("rows of a chart", [status, answer["result"][0]["data"]])
if PROTECTED:
    protected = database("protected", PROTECTED)
    status, answer = lab(protected, "DROP TABLE orders")
    tell("denied", [status, str(answer)])
