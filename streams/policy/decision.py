"""What rules are given, and what they answer."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from taprail.schemas.guard import Catalog, Facts, RelationInfo, SessionContext


class RuleSettings(Struct, frozen=True):
    """What an installation says to the shipped rules; see `[policy]` in docs/settings.md."""

    protected: tuple[str, ...] = ("prod",)
    clear_groups: tuple[str, ...] = ()
    approver_groups: tuple[str, ...] = ("data-owners",)
    hold_seconds: int = 300
    masked: Literal["redacted", "hashed"] = "redacted"
    networks: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Case(Struct, frozen=True):
    """A statement in its session. `relations` are those of `facts`, None where the catalog doesn't know one.

    node       the parse tree of what runs: for EXECUTE and FETCH, of what was prepared or declared
    arguments  parse trees of what EXECUTE passes to it
    masked     this person sees personal data masked, and the statement can reach some
    calls      functions that it calls as if they were columns (`dotted.py`)
    """

    facts: Facts
    node: Any
    arguments: tuple[Any, ...]
    session: SessionContext
    catalog: Catalog
    relations: tuple[RelationInfo | None, ...]
    masked: bool
    settings: RuleSettings
    calls: frozenset[str] = frozenset()

    @property
    def protected(self) -> bool:
        return self.session.environment in self.settings.protected


class Decision(Struct, frozen=True):
    """`hint` says what to do next; it is the HINT of the error that the person sees."""

    action: Literal["deny", "hold"]
    rule: str
    reason: str
    hint: str


def strictest(decisions: list[Decision]) -> Decision | None:
    return next((d for d in decisions if d.action == "deny"), decisions[0] if decisions else None)
