"""A mask plan applied: which bytes stand for which columns of a row, and what is left of errors and notices."""

from __future__ import annotations

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.rows import Keyed, replacement
from taprail.schemas.guard import ColumnAction, Hash, Keep, MaskPlan, Null

RowActions = tuple[bytes | Keyed | None, ...]
_HIDDEN_TEXT = "the text of this message is hidden: it may hold personal data"
_KEPT_FIELDS = ("S", "V", "C")
_POSITION, _CONTEXT = "P", "W"


def row_actions(plan: MaskPlan, description: bytes) -> tuple[RowActions, int]:
    """(the actions of `rows.rewrite`, () where every column stays; how many columns are masked)."""
    actions = plan.actions(wire.parse_row_description(description))
    found = tuple(_row_action(action) for action in actions)
    masked = sum(action is not None for action in found)
    return (found if masked else ()), masked


def _row_action(action: ColumnAction) -> bytes | Keyed | None:
    if isinstance(action, Keep):
        return None
    if isinstance(action, Hash):
        return Keyed(action.key)
    return replacement(None if isinstance(action, Null) else action.value)


def scrubbed(fields: dict[str, str]) -> dict[str, str]:
    """Severity and SQLSTATE; the message only where the analysis of the statement's own text failed.

    Then it has a position and no context (PostgreSQL documentation, 54.8). Class 42 alone says nothing: a cast to
    regclass or tsquery fails with it and quotes the value, a cast to regtype even has a position, in the value, but
    its context as well; RAISE may choose any code. Detail, hint, context, internal query and the names of schema
    objects go: each was seen with a value in it.
    """
    kept = {code: fields[code] for code in _KEPT_FIELDS if code in fields}
    if fields.get("C", "").startswith("42") and _POSITION in fields and _CONTEXT not in fields:
        kept["M"] = fields.get("M", "")
        kept[_POSITION] = fields[_POSITION]
    else:
        kept["M"] = _HIDDEN_TEXT
    return kept


def original_position(position: str, insertions: tuple[tuple[int, int], ...]) -> str:
    """Where the client's own text has the character that field P names in the text that the server got (from 1).

    '' where it names one of ours: the error is of another text then, as that of a prepared statement.
    """
    if not position.isdigit():
        return position
    at = int(position) - 1
    for offset, length in insertions:
        if at < offset:
            break
        if at < offset + length:
            return ""
        at -= length
    return str(at + 1)
