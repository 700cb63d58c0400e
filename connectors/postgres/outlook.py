"""What a statement changes about how the next text of the same session must be read.

A session's names and settings are known for sure once the server has answered. Inside a group (see `state.py`) later
statements run only if the earlier ones succeeded, so what they will find can be computed ahead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from taprail.connectors.postgres.startup import PINNED_SETTINGS, same_as_pinned
from taprail.schemas.guard import Facts, SessionContext, Verdict

PURPOSE_SETTING = "taprail.purpose"
_HOLD = re.compile(r"\bwith\s+hold\b", re.IGNORECASE)


@dataclass(init=False)
class Outlook:
    """The context that the next statement will find.

    path_known   `context.search_path` is what the server will use
    text_certain the server will read any text as the parser does: encoding and backslashes are as pinned
    path_moved   the open transaction has changed search_path, so its end may change it back
    """

    context: Final[SessionContext]
    path_known: Final[bool]
    text_certain: Final[bool]
    path_moved: Final[bool]

    def __init__(
        self, context: SessionContext, path_known: bool = True, text_certain: bool = True, path_moved: bool = False
    ) -> None:
        self.context, self.path_known = context, path_known
        self.text_certain, self.path_moved = text_certain, path_moved


def forgets_all(facts: Facts) -> bool:
    """DEALLOCATE ALL and DISCARD ALL drop the prepared statements, the tap's own among them."""
    return facts.deallocates == "" or facts.tag == "DISCARD ALL"


def changes_names(facts: Facts) -> bool:
    return (
        bool(facts.prepares or facts.declares)
        or facts.deallocates is not None
        or facts.tag.startswith(("CLOSE", "DISCARD"))
        or _purpose(facts) is not None
    )


def apply_names(context: SessionContext, facts: Facts, text: str) -> None:
    """Keep SQL-level names and the stated purpose current, after the server took the statement."""
    if (purpose := _purpose(facts)) is not None:
        context.purpose = purpose
    if facts.prepares:
        context.prepared[facts.prepares] = text
    if facts.declares:
        context.cursors[facts.declares] = text
    if forgets_all(facts):
        context.prepared.clear()
    elif facts.deallocates:
        context.prepared.pop(facts.deallocates, None)
    if facts.tag.startswith("CLOSE") or facts.tag == "DISCARD ALL":
        context.cursors.clear()  # a cursor that the guard doesn't know is never taken for a clean one


def _purpose(facts: Facts) -> str | None:
    """The purpose that the statement states, '' where it takes it back, None where it says nothing of it."""
    for name, value in facts.settings:
        if name.lower() == PURPOSE_SETTING:
            return "" if facts.tag.startswith("RESET") else value
        if name == "" and facts.tag.startswith(("RESET", "DISCARD")):
            return ""
    return None


def end_transaction(context: SessionContext) -> None:
    """Cursors end with their transaction, but for those WITH HOLD; the catalog shows what DDL has done."""
    context.reshaped = False
    context.cursors = {name: text for name, text in context.cursors.items() if _HOLD.search(text)}


def inert(facts: Facts, mark: str) -> bool:
    """Whether the statement changes nothing of how the session's next text is read: most do not."""
    may_set = facts.opaque or (facts.functions and mark != "none")  # a function may call set_config
    return not (facts.settings or may_set or facts.transaction or facts.reshapes or changes_names(facts))


def after(outlook: Outlook, verdict: Verdict, text: str) -> Outlook:
    """The outlook once the server has run the statement; the same object where nothing changes."""
    facts = verdict.facts
    if verdict.inert or inert(facts, verdict.mark):
        return outlook
    context = outlook.context
    if changes_names(facts):
        context = replace(context)
        context.prepared, context.cursors = dict(context.prepared), dict(context.cursors)
        apply_names(context, facts, text)
    if facts.reshapes:
        context = replace(context)
        context.reshaped = True
    path_known, certain, moved = outlook.path_known, outlook.text_certain, outlook.path_moved
    if facts.opaque or (facts.functions and verdict.mark != "none"):
        certain = False  # a function may call set_config
    for name, value in facts.settings:
        name = name.lower()
        if name in ("", "search_path") or facts.tag.startswith(("DISCARD", "RESET")):
            moved = True
            path_known = bool(name == "search_path" and value)
            if path_known:
                context = replace(context)
                context.search_path = value
        if name == "" or (name in PINNED_SETTINGS and not same_as_pinned(name, value)):
            certain = False
    if moved and facts.transaction in ("commit", "rollback", "rollback_to"):
        path_known = False
    if (context is outlook.context) and (path_known, certain, moved) == (
        outlook.path_known,
        outlook.text_certain,
        outlook.path_moved,
    ):
        return outlook
    return replace(outlook, context=context, path_known=path_known, text_certain=certain, path_moved=moved)


def without(outlook: Outlook, names: Literal["prepared", "cursors"], name: bytes) -> Outlook:
    """The outlook once the protocol has taken a name that SQL had given before: to the server they are the same."""
    known = outlook.context.prepared if names == "prepared" else outlook.context.cursors
    if not known:
        return outlook
    text = name.decode(errors="replace")
    if text not in known:
        return outlook
    context = replace(outlook.context)
    setattr(context, names, {other: value for other, value in known.items() if other != text})
    return replace(outlook, context=context)


def unpinned(facts: Facts) -> str:
    """The pinned setting that the statement would change, '' where it changes none."""
    if facts.tag.startswith(("RESET", "DISCARD")):
        return ""  # back to the values of the session's start, which are the pinned ones
    for name, value in facts.settings:
        if name.lower() in PINNED_SETTINGS and not same_as_pinned(name.lower(), value):
            return name
    return ""


def unreadable(outlook: Outlook, text: str) -> bool:
    """Whether the server might read this text otherwise than the parser did."""
    return not outlook.text_certain and ("\\" in text or not text.isascii())
