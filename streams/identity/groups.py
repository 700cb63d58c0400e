"""Whether somebody may act at all, and with which groups: the directory's word beside that of the proof.

`identity.groups_from` says whose word counts on the groups of those who prove themselves with a token, and of those for
whom a service speaks:

- `token`       what the token, or the service's statement, says
- `identities`  what `taprail.identities` says, and nothing else; whoever isn't there isn't let in
- `both`        either

Services and certificates stand in the settings with their groups; with `identities` and `both` those of the directory
are added. While the topic hasn't been read to its end, nobody is let in whose groups it would say.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.identity.enrich import Directory
from taprail.streams.settings_signin import GroupsFrom

HINT = "ask whoever manages your identities"


class Standing:
    """`complete` says whether the directory has been read to the end that it had at the start."""

    def __init__(self, directory: Directory, source: GroupsFrom, complete: Callable[[], bool]) -> None:
        self._directory, self._source, self._complete = directory, source, complete

    def proven(self, person: Person) -> Person:
        """Who a token, or a service's statement, says it is, with the groups that count. Raises RefusedError."""
        check(self._directory, person)
        if self._source == "token":
            return person
        found = self._in_directory(person)
        if self._source == "identities":
            if found is None:
                raise RefusedError(f"{person.name} isn't in the directory of identities", hint=HINT)
            return replace(person, groups=found.groups)
        return _with(person, found)

    def listed(self, person: Person) -> Person:
        """Who stands in the settings. Raises RefusedError."""
        check(self._directory, person)
        return person if self._source == "token" else _with(person, self._directory.get(person.subject))

    def owner_of(self, person: Person) -> str:
        """Subject of the person who answers for a program, '' where the directory names none."""
        found = self._directory.get(person.subject) if person.kind != "person" else None
        return found.owner if found is not None else ""

    def _in_directory(self, person: Person) -> Identity | None:
        """An agent has the groups of the person whose rights it uses."""
        if not self._complete():
            raise RefusedError(
                "the directory of identities hasn't been read yet, so nobody's groups are known",
                hint="try again in a moment; where it goes on, Kafka is away",
            )
        return self._directory.get(person.on_behalf_of or person.subject)


def check(directory: Directory, person: Person) -> None:
    """Raises RefusedError where anybody's access is revoked without whom this person couldn't act."""
    for subject in stands_on(directory, person):
        found = directory.get(subject)
        if found is not None and not found.active:
            raise RefusedError(f"{subject} may not sign in: the directory has revoked the access", hint=HINT)


def stands_on(directory: Directory, person: Person) -> list[str]:
    """Whose access this person's rests on: its own, that of whose rights it uses, of the service that speaks for it,
    and, for an agent, of the person who answers for it."""
    found = [person.subject, person.via, person.on_behalf_of]
    if person.kind == "agent" and (agent := directory.get(person.subject)) is not None:
        found.append(agent.owner)
    return [subject for subject in found if subject]


def loses(person: Person, before: Identity | None, after: Identity, source: GroupsFrom) -> bool:
    """Whether a change takes a group from somebody who signed in with it."""
    if source == "token" or before is None or after.subject not in (person.subject, person.on_behalf_of):
        return False
    return bool((set(before.groups) - set(after.groups)) & set(person.groups))


def _with(person: Person, found: Identity | None) -> Person:
    more = () if found is None else tuple(group for group in found.groups if group not in person.groups)
    return replace(person, groups=(*person.groups, *more)) if more else person
