"""Who may ask for access for a time, and who may take it at once in an emergency: `[[access]]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taprail.schemas.errors import SettingsError
from taprail.streams.settings_base import Section

Names = tuple[str, ...]


class AccessRule(Section, frozen=True, kw_only=True):
    environments: Annotated[Names, Meta(min_length=1, description="Where.")]
    databases: Annotated[Names, Meta(description="Names of databases; empty: all of these environments.")] = ()
    groups: Annotated[Names, Meta(min_length=1, description="Who may ask: members of any of these groups.")]
    roles: Annotated[
        Names, Meta(description="Database roles that may be asked for; each stands in `databases.roles`.")
    ] = ()
    approvers: Annotated[Names, Meta(min_length=1, description="Groups that decide, take back, and review.")]
    quorum: Annotated[int, Meta(ge=1, le=10, description="How many of them must approve.")] = 1
    every_group: Annotated[bool, Meta(description="One of each of these groups must approve.")] = False
    ticket: Annotated[bool, Meta(description="Whoever asks must name a ticket.")] = False
    seconds_max: Annotated[int, Meta(ge=1, le=7 * 86_400, description="For how long it may be asked for.")] = 3600
    emergency: Annotated[
        bool,
        Meta(
            description="Break-glass: it is given at once, lifts what policies deny as well, alerts the owners, and "
            "a review stays open until one of `approvers` closes it."
        ),
    ] = False


def check_access(rules: tuple[AccessRule, ...], roles: dict[str, set[str]]) -> None:
    """`roles` are those that a tap has passwords of, by environment. Raises SettingsError."""
    for number, rule in enumerate(rules):
        for environment in rule.environments:
            if environment not in roles:
                text = f"access[{number}]: no database has environment {environment!r}"
                raise SettingsError(text, hint="databases say which there are")
        known = set().union(*(roles[environment] for environment in rule.environments))
        if unknown := set(rule.roles) - known:
            name = sorted(unknown)[0]
            raise SettingsError(
                f"access[{number}]: no database has role {name!r} there",
                hint="add it to databases.roles, with an empty group if nobody is to have it always",
            )
