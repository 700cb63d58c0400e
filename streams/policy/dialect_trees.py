"""What the parts of sqlglot's trees are, in the words of policies."""

from __future__ import annotations

import re
from typing import cast

from sqlglot import exp

# Words that begin a statement, which no server takes for a name without quotes.
_VERBS = {
    "ALTER", "BACKUP", "BULK", "CREATE", "DECLARE", "DELETE", "DENY", "DROP", "EXEC", "EXECUTE", "GRANT", "INSERT",
    "KILL", "MERGE", "RESTORE", "REVERT", "REVOKE", "SELECT", "SHUTDOWN", "TRUNCATE", "UPDATE", "WAITFOR",
}  # fmt: skip


def targets(node: exp.Expr) -> list[exp.Table]:
    """What is written, each by its own name where the statement says it by an alias."""
    named = node.args.get("tables") or [node.this.this if isinstance(node.this, exp.Schema) else node.this]
    if isinstance(node, exp.Delete) and not node.args.get("tables") and node.args.get("using"):
        named = [node.this, *(join.this for join in node.this.args.get("joins") or ())]
    if isinstance(node, exp.Update):  # MySQL may change columns of any that it joins
        named = [node.this, *(join.this for join in node.this.args.get("joins") or ())]
    tables = [table for source in (node.this, *sources(node)) for table in source.find_all(exp.Table)]
    by_alias = {table.alias: table for table in tables if table.alias}
    return [cast(exp.Table, by_alias.get(each.name, each)) for each in named if isinstance(each, exp.Table)]


def sources(node: exp.Expr) -> list[exp.Expr]:
    """What is read beside what is written."""
    found = [*listed(node.args.get("using")), *listed(node.args.get("from_"))]
    if isinstance(node, exp.Delete) and node.args.get("tables"):
        found.append(node.this)
    elif isinstance(node.this, exp.Table):
        found += node.this.args.get("joins") or []
    return found


def spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def joined(source: exp.Expr) -> list[exp.Expr]:
    """What stands beside it in FROM, that of subqueries aside."""
    table = source.this if isinstance(source, exp.From) else source
    return [table, *(join.this for join in table.args.get("joins") or ())]


def listed(value: object) -> list[exp.Expr]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, exp.Expr)]


def assignments(node: exp.Expr) -> list[exp.Expr]:
    """`column = value`, wherever the statement has some."""
    found = list(node.expressions) if isinstance(node, exp.Update) else []
    if isinstance(conflict := node.args.get("conflict"), exp.OnConflict):
        found += conflict.expressions
    if isinstance(node, exp.Merge):
        thens = [when.args["then"] for when in node.args["whens"].expressions]
        found += [each for then in thens if isinstance(then, exp.Update) for each in then.expressions]
    return [each for each in found if isinstance(each, exp.EQ)]


def values(node: exp.Expr) -> list[exp.Expr]:
    """What columns become, and what WHEN asks; names of columns that get values aside."""
    found = [each.expression for each in assignments(node)]
    if isinstance(node, exp.Merge):
        whens = node.args["whens"].expressions
        found += [when.args["condition"] for when in whens if when.args.get("condition") is not None]
        found += [then.expression for when in whens if isinstance(then := when.args["then"], exp.Insert)]
    return [each for each in found if isinstance(each, exp.Expr)]


def merge_verb(then: object) -> str:
    if isinstance(then, exp.Insert | exp.Update):
        return then.key
    return "delete" if isinstance(then, exp.Expr) and then.name.upper() == "DELETE" else ""


def has_condition(node: exp.Expr) -> bool:
    """Whether a clause says anything of a row; for what is written a join's condition does as well."""
    clauses = [node.args.get("where"), node.args.get("on")]
    if not isinstance(node, exp.Query):
        clauses += [join.args.get("on") for source in (node.this, *sources(node)) for join in source.find_all(exp.Join)]
    return any(isinstance(clause, exp.Expr) and clause.find(exp.Column) is not None for clause in clauses)


def makes_table(tree: exp.Expr) -> bool:
    """SELECT … INTO a table; MySQL's INTO @variable makes none."""
    into = tree.args.get("into")
    return into is not None and isinstance(into.this.this, exp.Identifier)


def takes_verb_for_name(tree: exp.Expr) -> bool:
    """`SELECT 1 DELETE FROM t` is two statements to SQL Server, and one to sqlglot, of a column called DELETE."""
    names = tree.find_all(exp.Identifier)
    return any(not name.args.get("quoted") and name.name.upper() in _VERBS for name in names)
