"""Where a statement's output comes from: column lineage by sqlglot, for what is recorded.

It is an additional signal and never a reason to allow anything: the server's grammar is libpg_query's, and where
sqlglot reads a statement otherwise, or not at all, the lineage is wrong or empty and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage as trace
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope
from sqlglot.schema import MappingSchema

from taprail.schemas.guard import RelationInfo

CHARACTERS_MAX = 20_000  # a statement that is longer is recorded without lineage
OUTPUTS_MAX = 200
TRACED_MAX = 30  # expressions; each costs about a millisecond
_DIALECT = "postgres"
# sqlglot warns of what it can't resolve; it has no say here.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def column_lineage(normalised: str, relations: Iterable[RelationInfo]) -> tuple[str, ...]:
    """`output <- schema.table.column` for each pair, sorted; empty where there is none, or none can be found.

    `relations` are those that the statement names, as the catalog has them.
    """
    if len(normalised) > CHARACTERS_MAX:
        return ()
    try:
        tree = sqlglot.parse_one(normalised, dialect=_DIALECT)
        query = _query_of(tree)
        if query is None:
            return ()
        pairs = sorted(set(_pairs(_qualified(query, list(relations)), _targets(tree))))
    except (SqlglotError, RecursionError, KeyError, ValueError, AttributeError):
        return ()
    return tuple(f"{output} <- {source}" for output, source in pairs)


def _query_of(tree: exp.Expr) -> exp.Query | None:
    """The query whose rows leave, or are written."""
    inner = tree.expression if isinstance(tree, exp.Insert | exp.Create) else tree
    if isinstance(tree, exp.Copy):
        inner = tree.this
    if isinstance(inner, exp.Subquery):
        inner = inner.unnest()
    return inner if isinstance(inner, exp.Query) else None


def _targets(tree: exp.Expr) -> tuple[str, list[str]]:
    """What is written: its name, and the columns where they are named; nothing for a query that is only read."""
    if not isinstance(tree, exp.Insert | exp.Create):
        return "", []
    target = tree.this
    columns = [c.name for c in target.expressions] if isinstance(target, exp.Schema) else []
    table = target.this if isinstance(target, exp.Schema) else target
    return f"{table.db}.{table.name}" if table.db else table.name, columns


def _qualified(query: exp.Query, relations: list[RelationInfo]) -> exp.Query:
    """Every column with its table, every table with its schema, stars expanded."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    by_name: dict[str, RelationInfo] = {}
    for relation in relations:
        tables.setdefault(relation.schema, {})[relation.name] = {c.name: c.type_name for c in relation.columns}
        by_name.setdefault(relation.name, relation)
    local = {cte.alias for cte in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if not table.db and table.name in by_name and table.name not in local:
            table.set("db", exp.to_identifier(by_name[table.name].schema))
    schema = MappingSchema(dict(tables), dialect=_DIALECT)
    qualified = qualify(query, schema=schema, dialect=_DIALECT, validate_qualify_columns=False, identify=False)
    if not isinstance(qualified, exp.Query):
        raise ValueError("qualifying made something else of the query")
    return qualified


def _pairs(query: exp.Query, target: tuple[str, list[str]]) -> Iterator[tuple[str, str]]:
    scope = build_scope(query)
    if scope is None:
        return
    table, columns = target
    traced = 0
    for position, selected in enumerate(query.selects[:OUTPUTS_MAX]):
        name = columns[position] if position < len(columns) else selected.alias_or_name
        output = f"{table}.{name}" if table else name
        direct = _direct(selected, scope)
        if direct:
            yield output, direct
        elif traced < TRACED_MAX:
            traced += 1
            for source in _traced(selected, query, scope):
                yield output, source


def _direct(selected: exp.Expr, scope: Scope) -> str:
    """The column that is passed on as it is; '' for anything else."""
    inner = selected.unalias()
    if not isinstance(inner, exp.Column) or isinstance(scope.expression, exp.SetOperation):
        return ""
    source = scope.sources.get(inner.table)
    return _name(source, inner.name) if isinstance(source, exp.Table) else ""


def _traced(selected: exp.Expr, query: exp.Query, scope: Scope) -> Iterator[str]:
    node = trace(selected.alias_or_name, query, {}, dialect=_DIALECT, scope=scope)
    for leaf in node.walk():
        if not leaf.downstream and isinstance(leaf.source, exp.Table):
            yield _name(leaf.source, leaf.name.rpartition(".")[2])


def _name(table: exp.Table, column: str) -> str:
    return ".".join(part for part in (table.db, table.name, column) if part)
