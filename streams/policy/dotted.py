"""Functions that a statement calls as if they were columns.

Where there is no column of the name, the server takes `o.keep` for `keep(o)`, and `('x'::text).upper` for `upper('x')`:
also of a function that reads files, ends sessions, or runs the text that it is given. So a name behind a dot that a
function has counts as a call, unless whatever stands before the dot surely has such a column.
Source: PostgreSQL's parse_func.c, ParseFuncOrColumn; documentation 8.16.5.
"""

from __future__ import annotations

from taprail.schemas.guard import Catalog, RelationInfo, SessionContext
from taprail.streams.masking.readers import reads_by_itself, sends
from taprail.streams.policy.named import STAR, Column, Reading
from taprail.streams.policy.safeguards.server_programs import reaches_out

_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


def calls(reading: Reading, session: SessionContext, catalog: Catalog) -> tuple[str, ...]:
    """The names of such functions, each once."""
    found = [c for c in reading.dotted if catalog.callable(c.name) or session.reshaped]  # CREATE FUNCTION may reshape
    return tuple(dict.fromkeys(c.name for c in found if not _is_column(c, reading, session, catalog)))


def _is_column(column: Column, reading: Reading, session: SessionContext, catalog: Catalog) -> bool:
    """Whether everything that the name before the dot may stand for has it."""
    relations, outputs = reading.aliases.get(column.of), reading.outputs.get(column.of)
    if not column.of or (relations is None and outputs is None):
        return False
    if outputs is not None and _does_more(column.name, catalog):
        return False  # a relation's columns are known; a query that names one so is rather a disguise
    infos = [info for touch in reading.touches if touch.name in (relations or ()) for info in
             catalog.candidates(touch.schema, touch.name, session.search_path, session.role) or (None,)]  # fmt: skip
    if not all(_has(info, column.name) for info in infos):
        return False
    if outputs is None:
        return bool(infos)
    gives_all = _anywhere(column.name, reading, session, catalog)
    return all(column.name in each or (STAR in each and gives_all) for each in outputs)


def _does_more(function: str, catalog: Catalog) -> bool:
    """Whether a function of PostgreSQL's own of this name does more than compute something from its arguments."""
    more = reads_by_itself(function) or sends(function) or reaches_out(function)
    return more or (catalog.builtin(function) and catalog.volatile(function))


def _anywhere(name: str, reading: Reading, session: SessionContext, catalog: Catalog) -> bool:
    """Whether any relation of the statement has such a column, which `*` may give."""
    return any(
        _has(info, name)
        for touch in reading.touches
        for info in catalog.candidates(touch.schema, touch.name, session.search_path, session.role)
    )


def _has(info: RelationInfo | None, name: str) -> bool:
    return info is not None and (name in _SYSTEM_COLUMNS or any(column.name == name for column in info.columns))
