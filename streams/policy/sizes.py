"""How much of a statement's text the tap takes: its cost is counted before the grammar sees it.

What a text costs libpg_query, in time and in memory, depends on its tokens and not on its bytes: 16 MiB in one string
are parsed in a moment, 1 MiB of `1,1,1` takes a second and 150 MB. So tokens are counted first, by a lexer that reads
strings, names and comments as the server's does; where it were wrong, only that estimate would be.
"""

from __future__ import annotations

import re
from typing import Final

from taprail.schemas.errors import RefusedError

TEXT_BYTES_MAX: Final = 16 << 20
TOKENS_MAX: Final = 1_000_000  # two seconds and 200 MB at most, on a core of 2024
LONG_CHARACTERS: Final = (
    64 << 10
)  # a text above it is judged each time anew, and recorded with its beginning normalised
TEXT_BYTES_KEPT: Final = 256 << 10  # of a text, in a record: Kafka takes 1 MiB

# A comment that holds another one ends where the first does: what follows is counted, which is no harm. What isn't
# closed reaches to the end, as it does for the server, which refuses it: no place is looked at twice.
_TOKEN = re.compile(
    r"""
    \s*(?: --[^\n]* | /\*.*?(?:\*/|\Z)         # a comment counts as a token
    | [eE]'(?:[^'\\]|\\.|'')*+(?:'|\Z)         # E'a\'b'
    | (?:[bBxXnN]|[uU]&)?'[^']*(?:'|\Z)          # 'a''b' counts as two
    | (?:[uU]&)?"[^"]*(?:"|\Z)
    | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    | [A-Za-z_\x80-\U0010ffff][\w$]*
    | [0-9.][\w.]*
    | \$[0-9]+
    | .
    )
    """,
    re.VERBOSE | re.DOTALL,
)


def check(text: str) -> None:
    """Raises RefusedError on a text that isn't judged: its bytes or its tokens are too many."""
    if len(text) <= LONG_CHARACTERS:
        return
    if len(text) > TEXT_BYTES_MAX or len(text.encode()) > TEXT_BYTES_MAX:
        hint = "send values by COPY or by parameters"
        raise RefusedError(f"a statement of more than {TEXT_BYTES_MAX} bytes isn't judged", hint=hint)
    if len(text) > TOKENS_MAX:
        for count, _ in enumerate(_TOKEN.finditer(text), 1):
            if count > TOKENS_MAX:
                hint = "send it in several, or values by COPY"
                raise RefusedError(f"a text of more than {TOKENS_MAX} tokens isn't judged", hint=hint)


def beginning(text: str) -> str:
    """The whole tokens at the beginning of a long text, as far as they fit into `LONG_CHARACTERS`."""
    end = 0
    for match in _TOKEN.finditer(text):
        if match.end() > LONG_CHARACTERS:
            break
        end = match.end()
    return text[:end]
