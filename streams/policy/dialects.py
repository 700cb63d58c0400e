"""The same facts of statements that aren't PostgreSQL's: read by sqlglot, for policies that have to hold there, too.

sqlglot is a translator and no server: it takes `FLUSH PRIVILEGES` for a column with an alias, and what MySQL runs
inside `/*! … */` for a comment. So whatever it doesn't understand as a whole is *opaque*, and what it can't read isn't
judged.
`reading.py` says what the words mean; tests hold the two readers against each other, statement by statement.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Facts, Transaction
from taprail.schemas.records import RelationUse
from taprail.streams.policy import dialect_trees as parts
from taprail.streams.policy.named import STAR, Column, Reading, Touch

# It warns of what it knows by the first words alone; here that is opaque.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

Dialect = Literal["mysql", "tsql"]
CHARACTERS_MAX = 100_000
_HIDDEN_CODE = re.compile(r"/\*M?!")  # MySQL and MariaDB run what is in such a comment
_WHOLE = (
    exp.Query, exp.Values, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter,
    exp.TruncateTable, exp.Set, exp.Show, exp.Describe, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.Grant,
    exp.Revoke, exp.Analyze,
)  # fmt: skip
# What MySQL has and sqlglot knows by its first words alone; all else of that sort is opaque.
_SAVEPOINTS: tuple[tuple[re.Pattern[str], str, Transaction], ...] = (
    (re.compile(r"\s*SAVEPOINT\s+[\w`]+\s*;?\s*", re.IGNORECASE), "SAVEPOINT", "savepoint"),
    (re.compile(r"\s*SAVE\s+TRAN(SACTION)?\s+\w+\s*;?\s*", re.IGNORECASE), "SAVEPOINT", "savepoint"),
    (re.compile(r"\s*RELEASE\s+SAVEPOINT\s+[\w`]+\s*;?\s*", re.IGNORECASE), "RELEASE", "release"),
)
_CALL = re.compile(r"\s*(?:CALL|EXEC|EXECUTE)\s+([\w.]+)", re.IGNORECASE)
_REPLACE = re.compile(r"\s*REPLACE\s+(?:LOW_PRIORITY\s+|DELAYED\s+)?(?:INTO\s+)?", re.IGNORECASE)
# As `tags.py` names them, by how a statement that sqlglot doesn't read begins.
_TAGS = {
    "CREATE USER": "CREATE ROLE", "CREATE LOGIN": "CREATE ROLE", "ALTER USER": "ALTER ROLE",
    "ALTER LOGIN": "ALTER ROLE", "DROP USER": "DROP ROLE", "DROP LOGIN": "DROP ROLE", "SET PASSWORD": "ALTER ROLE",
}  # fmt: skip
_OBJECTS = {"PROCEDURE", "FUNCTION", "TRIGGER", "EVENT"}
_CREATED = {"TABLE", "VIEW", "SEQUENCE"}
# Expressions that aren't calls to PostgreSQL's grammar either.
_NO_CALLS = (
    exp.Connector, exp.Not, exp.Case, exp.Cast, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least, exp.Exists, exp.Any,
    exp.All, exp.Array, exp.If, exp.Interval, exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.CurrentUser,
    exp.SubqueryPredicate,
)  # fmt: skip
_EQUAL = (exp.EQ, exp.NullSafeEQ, exp.In, exp.Is)
_PASSING = (exp.Cast, exp.Tuple, exp.Array, exp.Collate, exp.Coalesce, exp.Paren, exp.Lower, exp.Upper, exp.Trim)
# Functions of the server's own that sqlglot has no name for.
_OWN = frozenset({"sleep", "benchmark", "load_file", "connection_id", "database", "schema", "user", "row_count",
                  "found_rows", "last_insert_id", "get_lock", "release_lock", "uuid", "rand", "row", "isnull",
                  "object_id", "newid", "getdate", "scope_identity", "db_name", "suser_sname"})  # fmt: skip
_OWN_PROCEDURES = ("sp_", "xp_", "sys.")


class Statement(NamedTuple):
    """`normalised` has a question mark for every literal; `foreign` are functions not known to be the server's own."""

    text: str
    normalised: str
    facts: Facts
    reading: Reading
    foreign: frozenset[str]


def statements(sql: str, dialect: Dialect) -> Iterator[Statement]:
    """Each statement of a text. Raises RefusedError where sqlglot can't read it: then nothing of it may run."""
    if len(sql) > CHARACTERS_MAX:
        raise RefusedError(f"a statement of {len(sql)} characters; {CHARACTERS_MAX} are the most", hint="send less")
    try:
        trees = _parsed(sql, dialect)
        hides_code = dialect == "mysql" and _HIDDEN_CODE.search(sql) is not None
        if not trees and hides_code:
            trees = [exp.Command(this="/*!")]
        for tree in trees:
            text = sql if len(trees) == 1 else tree.sql(dialect, comments=False)
            yield _Reader(tree, text, dialect).statement(opaque=hides_code)
    except (SqlglotError, RecursionError) as error:
        first = re.sub(r"\x1b\[\d+m", "", str(error)).partition("\n")[0]
        raise RefusedError(f"the statement can't be read as {dialect}: {first}", hint="write it otherwise") from None


def _parsed(sql: str, dialect: str) -> list[Any]:
    if any(re.fullmatch(pattern, sql) for pattern, *_ in _SAVEPOINTS):
        return [exp.Command(this="SAVEPOINT")]
    if found := _REPLACE.match(sql):  # it deletes the row that is there, and inserts
        sql = "INSERT INTO " + sql[found.end() :]
    trees: list[Any] = [tree for tree in sqlglot.parse(sql, dialect) if tree is not None]
    if found:
        trees[0].meta["replaces"] = True
    return trees


def normalise(sql: str, dialect: Dialect) -> str:
    """The text with a question mark for every literal, and without comments."""
    literals = {
        TokenType.STRING, TokenType.NUMBER, TokenType.HEX_STRING, TokenType.BIT_STRING, TokenType.BYTE_STRING,
        TokenType.NATIONAL_STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.UNICODE_STRING,
    }  # fmt: skip
    pieces, end = list[str](), -1
    for token in sqlglot.tokenize(sql, dialect):
        if end >= 0 and token.start > end + 1:
            pieces.append(" ")
        pieces.append("?" if token.token_type in literals else sql[token.start : token.end + 1])
        end = token.end
    return "".join(pieces)


class _Where(NamedTuple):
    """Where in a statement the pass is, as in `reading.py`."""

    hidden: frozenset[str] = frozenset()
    filtered: bool = False
    condition: bool = False
    equal: bool = False


class _Reader:
    """One statement."""

    def __init__(self, tree: exp.Expr, text: str, dialect: Dialect) -> None:
        self._tree, self._text, self._dialect = tree, text, dialect
        self.found = Reading()
        self._functions: dict[str, None] = {}
        self._foreign: dict[str, None] = {}
        self._settings: list[tuple[str, str]] = []
        self._writes = self._opaque = False
        self._transaction: Transaction = ""
        self._written_to: set[int] = set()  # tables in FROM that are what the statement writes, by identity

    def statement(self, *, opaque: bool) -> Statement:
        self._opaque = opaque or not isinstance(self._tree, _WHOLE) or parts.takes_verb_for_name(self._tree)
        tag = self._top(self._tree)
        self.found.kinds = dict.fromkeys([tag, *self.found.kinds])
        if isinstance(self._tree, exp.Query):
            self.found.limited = self._tree.args.get("limit") is not None or self._tree.args.get("fetch") is not None
        uses = dict.fromkeys(
            RelationUse(t.schema, t.name, "read" if t.verb in ("read", "lock") else "write") for t in self.found.touches
        )
        facts = Facts(
            tag,
            relations=tuple(uses),
            functions=tuple(self._functions),
            writes=self._writes or self._opaque,
            opaque=self._opaque,
            settings=tuple(self._settings),
            transaction=self._transaction,
        )
        return Statement(self._text, normalise(self._text, self._dialect), facts, self.found, frozenset(self._foreign))

    # Whole statements -----------------------------------------------------------------------------------------------

    def _top(self, tree: exp.Expr) -> str:
        """Its tag; what is in it is read on the way."""
        if isinstance(tree, exp.Describe):
            return self._explain(tree)
        if isinstance(tree, exp.Query | exp.Values | exp.Insert | exp.Update | exp.Delete | exp.Merge):
            self._walk(tree, _Where())
            return (
                "SELECT INTO"
                if parts.makes_table(tree)
                else "SELECT"
                if isinstance(tree, exp.Query)
                else tree.key.upper()
            )
        if isinstance(tree, exp.Transaction | exp.Commit | exp.Rollback):
            return self._ends_or_begins(tree)
        if isinstance(tree, exp.Grant | exp.Revoke):
            return self._grant(tree)
        if isinstance(tree, exp.Set):
            return self._set(tree)
        if isinstance(tree, exp.Show | exp.Use | exp.Analyze):
            return self._plain(tree)
        self._writes = True
        if isinstance(tree, exp.Create):
            return self._create(tree)
        if isinstance(tree, exp.Drop):
            return self._drop(tree)
        if isinstance(tree, exp.Alter):
            return self._alter(tree)
        if isinstance(tree, exp.TruncateTable):
            for table in tree.expressions:
                self._touch(table, "truncate", True)
            return "TRUNCATE TABLE"
        return self._other(tree)

    def _explain(self, tree: exp.Describe) -> str:
        """What doesn't run is read; as with PostgreSQL only a plan with ANALYZE does."""
        inner = tree.this
        if isinstance(inner, exp.Table):  # DESCRIBE t
            self._touch(inner, "lock", True)
            return "SHOW"
        if "ANALYZE" in str(tree.args.get("style") or "").upper():
            self.found.kinds[self._top(inner)] = None
            return "EXPLAIN"
        planned = _Reader(inner, "", self._dialect)
        planned._top(inner)
        self._opaque = self._opaque or planned._opaque
        self.found.touches = dict.fromkeys(touch._replace(verb="read") for touch in planned.found.touches)
        return "EXPLAIN"

    def _ends_or_begins(self, tree: exp.Expr) -> str:
        if isinstance(tree, exp.Transaction):
            self._modes(tree.args.get("modes") or (), lasting=False)
            self._transaction = "begin"
            return "BEGIN"
        if isinstance(tree, exp.Commit):
            self._transaction = "commit"
            return "COMMIT"
        self._transaction = "rollback_to" if tree.args.get("savepoint") else "rollback"
        return "ROLLBACK"

    def _modes(self, modes: Iterable[str], lasting: bool) -> None:
        """READ WRITE switches a setting that keeps a session from writing; READ ONLY changes none."""
        for mode in modes:
            if mode.upper() != "READ ONLY":
                name = "transaction_read_only" if mode.upper() == "READ WRITE" else "transaction_isolation"
                self.found.settings[f"default_{name}" if lasting else name] = None

    def _grant(self, tree: exp.Expr) -> str:
        self._writes = True
        names = [str(privilege.this.name).upper() for privilege in tree.args["privileges"]]
        self.found.privileges = dict.fromkeys("ALL" if name == "ALL PRIVILEGES" else name for name in names)
        self.found.grantees = dict.fromkeys(principal.this.name for principal in tree.args["principals"])
        if isinstance(table := tree.args.get("securable"), exp.Table):
            self._touch(table, "grant", True)
        return tree.key.upper()

    def _set(self, tree: exp.Set) -> str:
        for item in tree.expressions:
            kind = str(item.args.get("kind") or "").upper()
            if kind == "TRANSACTION":
                self._modes((mode.name for mode in item.expressions), "SESSION" in self._text.upper())
            elif kind in ("NAMES", "CHARACTER SET"):
                self._settings.append((kind.lower(), item.name))
            elif isinstance(item.this, exp.EQ):
                self._settings.append((item.this.this.name.lower(), item.this.expression.name))
            self._fields(item, _Where())
        self.found.columns.clear()  # a setting is no column
        return "SET"

    def _plain(self, tree: exp.Expr) -> str:
        if isinstance(tree, exp.Analyze):
            self._writes = True
            for table in tree.args.get("tables") or ():
                self._touch(table, "maintain", True)
            return "VACUUM"  # PostgreSQL's tag for both
        if isinstance(tree, exp.Use):
            self._settings.append(("search_path", tree.name))  # names stand for something else from here on
            return "SET"
        return "SHOW"

    def _create(self, tree: exp.Create) -> str:
        kind = tree.kind or ""
        if kind in _OBJECTS:
            self._opaque = True
        if isinstance(tree.this, exp.Index):
            table = tree.this.args["table"]
            self._touch(table, "alter", True)
            self.found.written.update((Column(table.name, each.name), None) for each in tree.this.find_all(exp.Column))
        elif kind in _CREATED:
            target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            self._touch(target, "create", True)
        self._fields(tree, _Where(), "this")
        if kind == "TABLE" and isinstance(tree.expression, exp.Query):
            return "CREATE TABLE AS"
        return f"CREATE {'FUNCTION' if kind == 'PROCEDURE' else kind}"

    def _drop(self, tree: exp.Drop) -> str:
        for table in tree.args.get("tables") or [tree.this]:
            if isinstance(table, exp.Table):
                self._touch(table, "drop", True)
        return f"DROP {tree.args.get('kind')}"

    def _alter(self, tree: exp.Alter) -> str:
        if isinstance(tree.this, exp.Table):
            self._touch(tree.this, "alter", True)
        for action in tree.args.get("actions") or ():
            name = "ADD COLUMN" if isinstance(action, exp.ColumnDef) else parts.spaced(type(action).__name__)
            kind = str(action.args.get("kind") or "")
            self.found.alters[f"DROP {kind}" if isinstance(action, exp.Drop) else name] = None
            if name != "ADD COLUMN":
                named = action.find_all(exp.Column)
                self.found.written.update((Column(tree.this.name, each.name), None) for each in named)
            if isinstance(action, exp.Query):
                self._walk(action, _Where())
        return f"ALTER {tree.args.get('kind')}"

    def _other(self, tree: exp.Expr) -> str:
        """What sqlglot has no tree for, or one that can be wrong: its first words name it, and it is opaque."""
        for pattern, tag, transaction in _SAVEPOINTS:
            if pattern.fullmatch(self._text):
                self._opaque = self._writes = False
                self._transaction = transaction
                return tag
        self._opaque = True
        self._fields(tree, _Where())
        tokens = [token.text.upper() for token in sqlglot.tokenize(self._text, self._dialect)]
        words = " ".join(tokens[:2])  # none of what is in a comment
        if words in _TAGS and {"IDENTIFIED", "PASSWORD"} & set(tokens):
            self.found.role_options["PASSWORD"] = None
        if called := _CALL.match(self._text):
            name = called[1].lower()
            self._functions[name] = None
            if not name.startswith(_OWN_PROCEDURES):
                self._foreign[name] = None
        return _TAGS.get(words) or (words if words.startswith(("CREATE ", "ALTER ", "DROP ")) else "".join(tokens[:1]))

    # The tree -------------------------------------------------------------------------------------------------------

    def _walk(self, node: exp.Expr, where: _Where) -> None:
        if isinstance(node, exp.Table):
            self._table(node, where)
        elif isinstance(node, exp.Column):
            self._column(node, where)
        elif isinstance(node, exp.Star):
            self.found.columns[Column("", STAR)] = None
        elif isinstance(node, exp.SetOperation):
            inside = where._replace(hidden=self._with(node, where.hidden))
            self._fields(node, inside, "with_")
        elif isinstance(node, exp.Select):
            self._select(node, where)
        elif isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            self._write(node, where)
        elif isinstance(node, exp.Join):
            self._join(node, where)
        elif isinstance(node, exp.Subquery):
            if isinstance(node.this, exp.Table) and node.alias:  # `(a CROSS JOIN b) AS j`
                names = {table.name for table in node.find_all(exp.Table)}
                self.found.aliases.setdefault(node.alias, set()).update(names)
            self._fields(node, where)
        else:
            self._expression(node, where)

    def _expression(self, node: exp.Expr, where: _Where) -> None:
        if isinstance(node, exp.Func) and not isinstance(node, _NO_CALLS):
            self._call(node)
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
            return
        equal = isinstance(node, _EQUAL) or (where.equal and isinstance(node, _PASSING))
        self._fields(node, where._replace(filtered=False, equal=equal))

    def _fields(self, node: exp.Expr, where: _Where, *skip: str) -> None:
        for name, value in node.args.items():
            if name in skip:
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, exp.Expr):
                    self._walk(child, where)

    def _condition(self, node: exp.Expr, name: str, where: _Where) -> None:
        child = node.args.get(name)
        if isinstance(child, exp.Expr):
            self._walk(child, where._replace(condition=True, equal=False, filtered=False))

    def _join(self, node: exp.Join, where: _Where) -> None:
        self._fields(node, where, "on", "using")
        self._condition(node, "on", where)
        same = [each.name for each in node.args.get("using") or ()]
        for name in [STAR] if node.method == "NATURAL" else same:  # what is common isn't known here
            self.found.columns[Column("", name)] = self.found.conditions[Column("", name)] = None

    def _select(self, node: exp.Select, where: _Where) -> None:
        into = node.args.get("into")
        self.found.kinds["SELECT INTO" if parts.makes_table(node) else "SELECT"] = None
        where = where._replace(hidden=self._with(node, where.hidden), condition=False, equal=False)
        filtered = where.filtered or parts.has_condition(node)
        for source in ("from_", "joins", "laterals"):
            for child in parts.listed(node.args.get(source)):
                self._walk_source(child, where._replace(filtered=filtered))
        for clause in ("where", "having", "qualify"):
            self._condition(node, clause, where)
        if into is not None and isinstance(into.this.this, exp.Identifier):
            self._writes = True
            self._touch(into.this, "create", True)
        done = ("with_", "from_", "joins", "laterals", "where", "having", "qualify", "into")
        self._fields(node, where._replace(filtered=False), *done)
        if node.args.get("locks"):
            reads = [touch for touch in self.found.touches if touch.verb == "read"]
            self.found.touches.update((touch._replace(verb="lock", filtered=True), None) for touch in reads)

    def _walk_source(self, node: exp.Expr, where: _Where) -> None:
        """FROM and its joins; what a relation there is a condition of counts as in the statement that it is in."""
        if isinstance(node, exp.From):
            self._walk_source(node.this, where)
        else:
            self._walk(node, where)

    def _write(self, node: exp.Expr, where: _Where) -> None:
        self._writes = True
        verb = node.key
        self.found.kinds[verb.upper()] = None
        where = where._replace(hidden=self._with(node, where.hidden), condition=False, equal=False)
        filtered = verb == "insert" or parts.has_condition(node)
        verbs = [verb]
        if isinstance(node, exp.Merge):
            verbs = [name for when in node.args["whens"].expressions if (name := parts.merge_verb(when.args["then"]))]
            self.found.kinds.update(dict.fromkeys(each.upper() for each in verbs))
            for when in node.args["whens"].expressions:
                if when.args.get("source") and (name := parts.merge_verb(when.args["then"])):  # the join says nothing
                    clause = when.args.get("condition")
                    self._touch(node.this, name, clause is not None and clause.find(exp.Column) is not None)
        if node.meta.get("replaces"):
            verbs.append("delete")
            self.found.kinds["DELETE"] = None
        targets = parts.targets(node)
        for target in targets:
            self._opaque = self._opaque or (not target.db and target.name in where.hidden)  # it writes through a CTE
            for each in verbs:
                self._touch(target, each, filtered or each == "insert")
            if node.args.get("returning"):
                self._touch(target, "read", filtered)
                for alias in ("old", "new", "deleted", "inserted"):
                    self.found.aliases.setdefault(alias, set()).add(target.name)
        self._written(node, targets[0] if targets else None)
        # What MySQL's UPDATE joins may be written, and is read.
        names = {target.alias_or_name for target in (targets[:1] if isinstance(node, exp.Update) else targets)}
        sources = parts.sources(node)
        tables = [table for source in sources for table in parts.joined(source)]
        self._written_to |= {id(table) for table in tables if table.alias_or_name in names}
        for source in sources:
            self._walk_source(source, where._replace(filtered=filtered))
        for clause in ("where", "on"):
            self._condition(node, clause, where)
        inside = where._replace(filtered=False)
        for value in parts.values(node):
            self._walk(value, inside)
        done = ("with_", "this", "tables", "using", "from_", "where", "on", "expressions", "whens", "conflict")
        self._fields(node, inside, *done)

    def _written(self, node: exp.Expr, target: exp.Table | None) -> None:
        """Columns that get values; all of them where an INSERT names none."""
        name = target.alias_or_name if target is not None else ""
        if isinstance(node, exp.Insert):
            named = [each.name for each in node.this.expressions] if isinstance(node.this, exp.Schema) else [STAR]
            self.found.written.update(dict.fromkeys(Column(name, each) for each in named))
            if isinstance(conflict := node.args.get("conflict"), exp.OnConflict) and conflict.expressions:
                self.found.kinds["UPDATE"] = None
                self._touch(cast(exp.Table, target), "update", True)
        for assignment in parts.assignments(node):
            self.found.written[Column(name, assignment.this.name)] = None

    def _with(self, node: exp.Expr, hidden: frozenset[str]) -> frozenset[str]:
        """Names of a WITH hide relations in the statement's body, and in the queries that come after them."""
        clause = node.args.get("with_")
        if clause is None:
            return hidden
        if clause.args.get("recursive") or self._dialect == "tsql":  # T-SQL says it by no word
            hidden = hidden | {each.alias for each in clause.expressions}
        for each in clause.expressions:
            self._walk(each.this, _Where(hidden))
            hidden = hidden | {each.alias}
        return hidden

    def _table(self, node: exp.Table, where: _Where) -> None:
        if isinstance(node.this, exp.Func):
            self._walk(node.this, where._replace(filtered=False))
        elif id(node) not in self._written_to and (node.db or node.name not in where.hidden):
            self._touch(node, "read", where.filtered)
        for join in node.args.get("joins") or ():
            self._walk(join, where)

    def _touch(self, table: exp.Table, verb: str, filtered: bool) -> None:
        self.found.touches[Touch(table.db, table.name, verb, filtered)] = None
        self.found.aliases.setdefault(table.alias_or_name, set()).add(table.name)
        if table.alias_column_names:  # its columns have other names here
            self.found.columns[Column(table.alias, STAR)] = None

    def _column(self, node: exp.Column, where: _Where) -> None:
        column = Column(node.table, STAR if isinstance(node.this, exp.Star) else node.name)
        self.found.columns[column] = None
        if where.condition:
            self.found.conditions[column] = None
            if not where.equal:
                self.found.probes[column] = None

    def _call(self, node: exp.Func) -> None:
        if isinstance(node, exp.Anonymous):
            before = node.parent.sql(self._dialect).rpartition("(")[0] if isinstance(node.parent, exp.Dot) else ""
            name = str(node.this).lower()
            if before or name not in _OWN:
                self._foreign[name] = None
        else:
            name = node.sql_name().lower()
        self._functions[name] = None
