"""What others wrote, fit for a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The text; control, escape, line end and direction characters become `\x1b` and the like.

    A statement's text is its author's: it may not move the cursor, set a title or hide a part of itself on the
    terminal of who reads it.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
