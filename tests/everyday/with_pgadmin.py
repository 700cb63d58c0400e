"""pgAdmin 4 in desktop mode, through its own web application: the browser's tree, dashboards, the query tool.

Every GET of the tree is called with the ids of what there is in the database: nodes, properties, SQL, dependencies,
statistics of tables, columns, indexes, constraints, triggers, views, functions, roles, …
"""

from __future__ import annotations

import builtins
import importlib.util
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from told import DATABASE, HOST, PASSWORD, PORT, SSLMODE, USER, tell

HOME = Path(tempfile.mkdtemp())
spec = importlib.util.find_spec("pgadmin4")
assert spec is not None and spec.submodule_search_locations is not None
sys.path.insert(0, next(iter(spec.submodule_search_locations)))
builtins.SERVER_MODE = False  # type: ignore[attr-defined]  # as pgAdmin4.py does it

import config  # noqa: E402

for name in ("DATA_DIR", "SESSION_DB_PATH", "STORAGE_DIR", "AZURE_CREDENTIAL_CACHE_DIR", "KERBEROS_CCACHE_DIR"):
    setattr(config, name, str(HOME / name.lower()))
config.SQLITE_PATH, config.LOG_FILE = str(HOME / "pgadmin.db"), str(HOME / "log")
config.SERVER_MODE = config.UPGRADE_CHECK_ENABLED = config.MASTER_PASSWORD_REQUIRED = False
config.USE_OS_SECRET_STORAGE = config.WTF_CSRF_ENABLED = False
logging.disable(logging.CRITICAL)

from pgadmin import create_app  # noqa: E402

app = create_app()
app.config["WTF_CSRF_ENABLED"] = False
app.PGADMIN_INT_KEY, app.PGADMIN_RUNTIME = "", True
with app.test_request_context():
    app.run_before_app_start()
client = app.test_client()
client.get("/browser/", follow_redirects=True)
IDS: dict[str, list[int]] = {"gid": [1], "sid": [1]}
NOT_CALLED = ("psql", "erd", "backup", "restore", "import", "debugger", "schema_diff", "misc", "cloud", "preferences")


def call(method: str, path: str, **body: Any) -> Any:
    try:
        answer = client.open(path, method=method, json=body or None)
    except Exception:  # some pages of some nodes have nothing to say
        return {}
    return answer.get_json(silent=True) or {}


def children(path: str) -> dict[str, int]:
    """Names and ids of the tree's nodes at a path."""
    data = call("GET", path).get("data") or []
    return {each["label"]: each["_id"] for each in data if isinstance(each, dict) and "_id" in each}


server = {
    "name": "s", "host": HOST, "port": PORT, "db": DATABASE, "username": USER, "password": PASSWORD, "gid": 1,
    "save_password": False, "connect_now": True, "kerberos_conn": False, "fgcolor": "", "bgcolor": "", "comment": "",
    "role": "", "service": "", "tunnel_port": 22, "use_ssh_tunnel": 0, "tunnel_authentication": 0, "shared": False,
    "connection_params": [{"name": "sslmode", "keyword": "sslmode", "value": SSLMODE}],
}  # fmt: skip
tell("connect", call("POST", "/browser/server/obj/1/", **server)["node"]["connected"])
did = children("/browser/database/nodes/1/1/")[DATABASE]
call("POST", f"/browser/database/connect/1/1/{did}", password=PASSWORD)
IDS["did"] = [did]
tell("databases", bool(did))
schemas = children(f"/browser/schema/nodes/1/1/{did}/")
IDS["scid"] = [schemas["public"]]
base = f"1/1/{did}/{schemas['public']}"
tables = children(f"/browser/table/nodes/{base}/")
IDS["tid"] = [tables["customers"], tables["orders"]]
for node, argument in (
    ("view", "vid"),
    ("function", "fnid"),
    ("sequence", "seid"),
    ("type", "tid_"),
    ("domain", "doid"),
):
    if found := children(f"/browser/{node}/nodes/{base}/"):
        IDS[argument] = [next(iter(found.values()))]
for node, argument in (("column", "clid"), ("index", "idx"), ("trigger", "trid"), ("rule", "rid"),
                       ("check_constraint", "cid"), ("foreign_key", "fkid"), ("primary_key", "cid")):  # fmt: skip
    for table in IDS["tid"]:
        if found := children(f"/browser/{node}/nodes/{base}/{table}/"):
            IDS.setdefault(argument, [next(iter(found.values()))])
for node, argument in (("role", "rid"), ("tablespace", "tsid"), ("language", "lid"), ("extension", "eid")):
    place = "1/1" if node in ("role", "tablespace") else f"1/1/{did}"
    if found := children(f"/browser/{node}/nodes/{place}/"):
        IDS.setdefault(argument, [next(iter(found.values()))])
tell("the tree", sorted(IDS))
called = 0
for rule in sorted(app.url_map.iter_rules(), key=lambda r: r.rule):
    tree = rule.rule.startswith(("/browser/", "/dashboard/", "/search_objects/", "/sqleditor/"))
    if not tree or "GET" not in (rule.methods or ()) or any(part in rule.rule for part in NOT_CALLED):
        continue
    if not rule.arguments or not all(argument in IDS for argument in rule.arguments):
        continue
    for index in range(max(len(IDS[argument]) for argument in rule.arguments)):
        path = rule.rule
        for argument in rule.arguments:
            values = IDS[argument]
            for kind in ("int", "string", "path", "default"):
                path = path.replace(f"<{kind}:{argument}>", str(values[min(index, len(values) - 1)]))
            path = path.replace(f"<{argument}>", str(values[min(index, len(values) - 1)]))
        try:
            client.get(path)
        except Exception as error:  # some pages want more than ids
            tell(f"GET {rule.rule} wants more: {type(error).__name__}", index)
            continue
        called += 1
    tell(f"GET {rule.rule}", 0)
transaction = 7_000_001
opened = call("POST", f"/sqleditor/initialize/sqleditor/{transaction}/1/1/{did}", user=USER, password=PASSWORD)
tell("query tool", bool(opened))
for text in ("SELECT * FROM customers ORDER BY id", "SELECT count(*) FROM orders", "SELECT nothing"):
    client.post(f"/sqleditor/query_tool/start/{transaction}", data=json.dumps({"sql": text, "explain_plan": None}),
                content_type="application/json")  # fmt: skip
    for _ in range(20):
        if (call("GET", f"/sqleditor/poll/{transaction}").get("data") or {}).get("status") != "Busy":
            break
tell("queries", called > 100)
grid = 7_000_002
call("POST", f"/sqleditor/initialize/viewdata/{grid}/3/table/1/1/{did}/{schemas['public']}/{tables['customers']}")
call("GET", f"/sqleditor/view_data/start/{grid}")
call("GET", f"/sqleditor/poll/{grid}")
tell("view data", 0)
