"""The shipped policies and safeguards beside what tools send all day: none of it is denied or held, in production.

Who sends it is an engineer who sees personal data masked, and one who sees it in the clear. In the same run, with the
same policies, every statement of the policies' own tests that must match does (`test_pack.py`).
"""

from __future__ import annotations

import re
from collections import Counter

import postgast
import pytest

from taprail.streams.policy import sql
from taprail.streams.policy.explain import explain
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.policy import Example
from tests.everyday import corpus

TABLES = {
    "public.customers": "id integer, name text, email text, phone text, note text, doc jsonb",
    "public.orders": "id integer, customer_id integer, total numeric, placed timestamptz",
    "public.auth_user": "id integer, username text, email text, first_name text, last_name text, password text",
    "public.kinds": "id integer, at timestamptz, doc jsonb, net inet",
    **{
        f"public.{name}": "id integer, title text, told text"
        for name in (
            "authors", "books", "big", "parts_2024", "c", "copied", "auth_permission", "auth_group_permissions",
            "django_content_type", "django_admin_log", "django_site", "k_users", "k_posts", "SUsers", "SPosts",
            "t_users", "t_posts",
        )
    },
    "pg_catalog.pg_authid": "oid oid, rolname name, rolsuper boolean, rolpassword text",
    "pg_catalog.pg_roles": "oid oid, rolname name, rolpassword text",
}  # fmt: skip
EVERYDAY = [each for each in corpus.everything() if not each.tool.endswith("-migrations")]
# What these tools send besides everyday work, and which is stopped on purpose: the rule, what the text holds, and why.
MEANT = (
    ("session-identity", "row_security = off", "a dump of everything isn't made through the tap, which records people"),
    ("session-identity", "restrict_nonsystem_relation_kind", "the same: pg_dump hides a setting's name in a query"),
    ("masked-copy", "COPY public.customers", "personal data would leave unmasked"),
    ("masked-copy", "COPY public.kinds", "personal data would leave unmasked"),
    ("masked-copy", "LISTEN news", "a notification of others may hold personal data, and can't be masked"),
    ("credential-read", "rolpassword", "pgAdmin's page of a role's SQL shows its password verifier"),
    ("server-programs", "pg_reload_conf", "an administrator does this on the server"),
    ("masked-copy", "bdr.", "functions of an extension that isn't there"),
    ("masked-copy", "edb_get_package", "functions of EnterpriseDB's server, which this isn't"),
)


def test_there_are_a_thousand_and_each_has_its_provenance() -> None:
    assert len(EVERYDAY) >= 1_000
    assert len({postgast.normalize(each.text) for each in corpus.everything()}) == len(corpus.everything())
    for tool in corpus.tools():
        assert re.match(r"-- tool: .*\d\n-- captured: 20\d\d-\d\d, \S.*\n-- ran: tests/\S+\n", corpus.head(tool)), tool
    assert len({each.tool for each in EVERYDAY}) >= 10


@pytest.mark.parametrize("group", ["engineers", "data-owners"])
def test_nothing_everyday_is_denied_or_held(group: str) -> None:
    stopped, used = [], set()
    prepared = _prepared()
    for each in EVERYDAY:
        example = Example(each.text, person={"groups": (group,)}, tables=TABLES, prepared=prepared)
        for told in explain(shipped().policies, example):
            if told.action not in ("deny", "hold"):
                continue
            meant = next((m for m in MEANT if m[0] == told.rule and m[1] in told.statement), None)
            used.add(meant)
            if meant is None:
                stopped.append((told.rule, each.tool, each.doing, told.statement[:200]))
    assert stopped == [], Counter(rule for rule, *_ in stopped)
    if group == "engineers":
        assert used == set(MEANT), "the list has grown old"


def test_migrations_are_stopped_in_production_and_nowhere_else() -> None:
    changes = [each for each in corpus.everything() if each.tool.endswith("-migrations")]
    dropping = [e for e in changes if re.match(r"\s*drop (table|index|type)", e.text, re.IGNORECASE)]
    assert len(changes) >= 50 and dropping
    for each in changes:
        for told in explain(shipped().policies, Example(each.text, session={"environment": "dev"}, tables=TABLES)):
            assert told.action in ("allow", "mask") or told.rule in ("masked-copy", "masked-code"), (told.rule, each)
    for each in dropping:
        assert "deny" in {t.action for t in explain(shipped().policies, Example(each.text, tables=TABLES))}


def _prepared() -> dict[str, str]:
    """SQL-level PREPARE of any captured statement, by its name."""
    found = {}
    for each in EVERYDAY:
        for statement in sql.parse(each.text).stmts:
            if statement.stmt.HasField("prepare_stmt"):
                found[statement.stmt.prepare_stmt.name] = each.text
    return found
