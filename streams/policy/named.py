"""What a statement names, and what it does to it: the words of `reading.py` and `dialects.py`."""

from __future__ import annotations

from typing import NamedTuple

STAR = "*"


class Touch(NamedTuple):
    """A relation that is named, and what is done to it. `filtered`: a condition on a column says to which rows."""

    schema: str
    name: str
    verb: str
    filtered: bool


class Column(NamedTuple):
    """A column as it is written: the name or alias before it, '' for none; `name` may be `*`."""

    of: str
    name: str


class Reading:
    """What one statement does.

    kinds       command tags of everything in it: those of CTEs, of what EXPLAIN ANALYZE, COPY and PREPARE hold, too
    written     columns that an INSERT or UPDATE gives values
    conditions  columns that a WHERE, ON or HAVING looks at
    probes      those of them that are compared otherwise than for equality, so that values can be found by asking
    alters      what an ALTER TABLE does, as `DROP COLUMN`
    settings    that SET TRANSACTION, BEGIN and SET SESSION CHARACTERISTICS change; READ ONLY changes none
    types       that something is cast to, or a column has, without their schemas
    dotted      names behind a dot, where the server takes a function where there is no column: `o.f`, `(o).f`; the name
                before it is '' where it is an expression
    outputs     columns of what stands in FROM and is no relation, by its alias: a set for each that has it, with `*`
                where a query gives all of what it reads
    """

    def __init__(self) -> None:
        self.kinds: dict[str, None] = {}
        self.touches: dict[Touch, None] = {}
        self.aliases: dict[str, set[str]] = {}  # what stands for which relation's name
        self.columns: dict[Column, None] = {}
        self.written: dict[Column, None] = {}
        self.conditions: dict[Column, None] = {}
        self.probes: dict[Column, None] = {}
        self.alters: dict[str, None] = {}
        self.privileges: dict[str, None] = {}
        self.grantees: dict[str, None] = {}
        self.role_options: dict[str, None] = {}
        self.settings: dict[str, None] = {}
        self.types: dict[str, None] = {}
        self.dotted: dict[Column, None] = {}
        self.outputs: dict[str, list[set[str]]] = {}
        self.definer = False
        self.limited = False
