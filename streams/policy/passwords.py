"""Whether a statement gives somebody a password: such a text stands in no record, not even encrypted."""

from __future__ import annotations

import re

from taprail.schemas.guard import Facts

_PASSWORD = re.compile(r"passw(?:or)?d", re.IGNORECASE)


def gives_password(text: str, facts: Facts) -> bool:
    """By the word, in CREATE ROLE, USER MAPPING, code, connection strings: in doubt it does."""
    where = facts.utility or facts.opaque or not facts.tag or any("dblink" in name for name in facts.functions)
    return where and _PASSWORD.search(text) is not None
