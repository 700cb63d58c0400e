"""EXECUTE and FETCH are what was prepared or declared, with what they say themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taprail.schemas.guard import Facts
from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of


def with_body(facts: Facts, text: str) -> tuple[Facts, Any]:
    """The facts of an EXECUTE or FETCH together with those of `text`, the whole PREPARE or DECLARE; and its query."""
    node = sql.parse(text).stmts[0].stmt
    inner = facts_of(node)
    body = node.prepare_stmt.query if node.HasField("prepare_stmt") else node.declare_cursor_stmt.query
    made = replace(
        inner,
        tag=facts.tag,
        relations=(*inner.relations, *facts.relations),
        functions=(*inner.functions, *facts.functions),
        operators=(*inner.operators, *facts.operators),
        settings=(*inner.settings, *facts.settings),
        executes=facts.executes,
        fetches=facts.fetches,
        prepares="",
        declares="",
        utility=True,
        explain_analyze=facts.explain_analyze,
        writes=inner.writes and bool(facts.executes) and (facts.tag != "EXPLAIN" or facts.explain_analyze),
    )
    return made, body
