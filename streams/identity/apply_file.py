"""A file of people, services, agents and groups: read, checked, and every mistake with its line.

TOML or JSON, the same tables in both:

    [[people]]              # also [[services]] and [[agents]]
    subject = "00u1f3"      # the token's `sub`; a service's name
    name = "Ann"            # default: the subject
    email = "ann@example.com"
    groups = ["engineers"]
    active = true           # false: known, and revoked
    zone = "Europe/Helsinki"  # time zone, for policies that look at the hour
    owner = "00u2b7"        # services and agents: the person who answers for it

    [[groups]]
    name = "engineers"
    members = ["00u1f3"]    # besides those who name the group themselves
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta, Struct

from taprail.schemas.control import GROUP_KEY
from taprail.schemas.errors import SettingsError

Kind = Literal["person", "service", "agent"]
Text = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^\S(.*\S)?$")]
BYTES_MAX = 64 << 20


class _Person(Struct, frozen=True):
    subject: Text
    name: Text | None = None
    email: Text | None = None
    groups: tuple[Text, ...] = ()
    active: bool = True
    zone: Text | None = None


class _Program(_Person, frozen=True):
    owner: Text | None = None


class _Group(Struct, frozen=True):
    name: Text
    members: tuple[Text, ...] = ()


TABLES: dict[str, type[Struct]] = {"people": _Person, "services": _Program, "agents": _Program, "groups": _Group}
KINDS: dict[str, Kind] = {"people": "person", "services": "service", "agents": "agent"}


class Entry(Struct, frozen=True):
    """Somebody in the file; `groups` from either side, sorted. `line` is where the entry begins."""

    subject: str
    name: str
    kind: Kind
    groups: tuple[str, ...]
    active: bool
    email: str
    owner: str
    line: int
    zone: str = ""


def read(path: Path) -> list[Entry]:
    """Raises SettingsError with the file and the line of the first mistake."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise SettingsError(f"{path} has more than {BYTES_MAX >> 20} MiB", hint="is it the right file?")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"can't read {path}: {error}", hint="a file of identities is TOML or JSON") from error
    return _File(path, text).entries()


class _File:
    """One file while it is read."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text, self._json = path, text, path.suffix == ".json"

    def entries(self) -> list[Entry]:
        tables = self._tables()
        found: dict[str, Entry] = {}
        for table, kind in KINDS.items():
            for number, raw in enumerate(tables.get(table, ())):
                entry = self._entry(table, number, kind, raw)
                if entry.subject in found:
                    also = found[entry.subject].line
                    self._fail(table, number, "subject", f"{entry.subject!r} stands there twice, also in line {also}")
                if entry.subject.startswith(GROUP_KEY):
                    self._fail(table, number, "subject", f"a subject can't begin with {GROUP_KEY!r}")
                found[entry.subject] = entry
        if not found:
            raise SettingsError(
                f"{self._path} names nobody: applied, it would revoke everybody whom a file has named before",
                hint=f"it has the tables {', '.join(TABLES)}",
            )
        self._check_owners(tables, found)
        return list(self._with_members(tables, found).values())

    def _tables(self) -> dict[str, list[Any]]:
        try:
            raw = msgspec.json.decode(self._text) if self._json else tomllib.loads(self._text)
        except (msgspec.DecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            kind = "JSON" if self._json else "TOML"
            raise SettingsError(f"{self._path} is not {kind}: {error}", hint="correct it there") from error
        if not isinstance(raw, dict):
            raise SettingsError(f"{self._path} is no object", hint=f"with the tables {', '.join(TABLES)}")
        for table, entries in raw.items():
            if table not in TABLES:
                self._fail(table, 0, None, f"there is no table {table!r}", _nearest(table, TABLES))
            if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
                self._fail(table, 0, None, f"{table!r} is no list of tables", f"write [[{table}]] before each")
        return raw

    def _convert(self, table: str, number: int, raw: Mapping[str, Any]) -> Any:
        struct = TABLES[table]
        for key in raw:
            if key not in struct.__struct_fields__:
                hint = _nearest(key, struct.__struct_fields__)
                self._fail(table, number, key, f"{table} have no field {key!r}", hint)
        try:
            return msgspec.convert(dict(raw), struct)
        except msgspec.ValidationError as error:
            field = re.search(r"\$\.(\w+)", str(error))
            self._fail(table, number, field[1] if field else None, str(error))

    def _entry(self, table: str, number: int, kind: Kind, raw: Mapping[str, Any]) -> Entry:
        made = self._convert(table, number, raw)
        if made.zone and made.zone not in available_timezones():
            hint = _nearest(made.zone, sorted(available_timezones()))
            self._fail(table, number, "zone", f"there is no time zone {made.zone!r}", hint)
        return Entry(
            subject=made.subject,
            name=made.name or made.subject,
            kind=kind,
            groups=tuple(sorted(set(made.groups))),
            active=made.active,
            email=made.email or "",
            owner=getattr(made, "owner", None) or "",
            line=self._line(table, number, None),
            zone=made.zone or "",
        )

    def _check_owners(self, tables: Mapping[str, list[Any]], found: Mapping[str, Entry]) -> None:
        people = [entry.subject for entry in found.values() if entry.kind == "person"]
        for table in ("services", "agents"):
            for number, raw in enumerate(tables.get(table, ())):
                if (owner := raw.get("owner")) is not None and owner not in people:
                    hint = _nearest(owner, people)
                    self._fail(table, number, "owner", f"the owner {owner!r} is nobody of the file's people", hint)

    def _with_members(self, tables: Mapping[str, list[Any]], found: Mapping[str, Entry]) -> dict[str, Entry]:
        """With the groups of `[[groups]]`. Where there are any, a group that isn't there is a mistake."""
        groups: dict[str, set[str]] = {entry.subject: set(entry.groups) for entry in found.values()}
        names: list[str] = []
        for number, raw in enumerate(tables.get("groups", ())):
            group = self._convert("groups", number, raw)
            if group.name in names:
                self._fail("groups", number, "name", f"the group {group.name!r} stands there twice")
            names.append(group.name)
            for member in group.members:
                if member not in found:
                    hint = _nearest(member, found)
                    self._fail("groups", number, "members", f"{group.name!r} has a member {member!r}: nobody", hint)
                groups[member].add(group.name)
        for table in KINDS if names else ():
            for number, raw in enumerate(tables.get(table, ())):
                for group_name in raw.get("groups", ()):
                    if group_name not in names:
                        hint = _nearest(group_name, names)
                        self._fail(table, number, "groups", f"there is no group {group_name!r}", hint)
        return {
            subject: msgspec.structs.replace(entry, groups=tuple(sorted(groups[subject])))
            for subject, entry in found.items()
        }

    def _line(self, table: str, number: int, key: str | None) -> int:
        """Where this entry, or the key in it, stands; the table's first line where that can't be said."""
        begin = self._json_entry(table, number) if self._json else self._toml_entry(table, number)
        end = len(self._text)
        if key is not None:
            name = re.escape(key)
            pattern = rf'"{name}"\s*:' if self._json else rf"""(?m)(?:^|[{{,])\s*["']?{name}["']?\s*="""
            if (match := re.compile(pattern).search(self._text, begin, end)) is not None:
                begin = match.end()
        return self._text.count("\n", 0, begin) + 1

    def _toml_entry(self, table: str, number: int) -> int:
        headers = list(re.finditer(rf"(?m)^\s*\[\[?\s*[\"']?{re.escape(table)}[\"']?\s*\]?\]", self._text))
        if number < len(headers):
            return headers[number].end()
        inline = re.search(rf"(?m)^\s*{re.escape(table)}\s*=", self._text)
        return inline.end() if inline else 0

    def _json_entry(self, table: str, number: int) -> int:
        """Where the object begins, found by reading the list's elements one after the other."""
        import json

        start = re.search(rf'"{re.escape(table)}"\s*:\s*', self._text)
        if start is None:
            return 0
        decoder, place = json.JSONDecoder(), start.end()
        if self._text[place : place + 1] != "[":
            return place
        for _ in range(number + 1):
            gap = re.compile(r"[\[,\s]*").match(self._text, place)
            begin = gap.end() if gap else place
            try:
                _, place = decoder.raw_decode(self._text, begin)
            except ValueError:
                return begin
        return begin

    def _fail(self, table: str, number: int, key: str | None, text: str, hint: str = "") -> NoReturn:
        raise SettingsError(f"{self._path}:{self._line(table, number, key)}: {text}", hint=hint)


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(sorted(known)[:12])}" if known else "there is none"
