"""Filters and paths: RFC 7644, sections 3.4.2.2 and 3.5.2, parsed and applied to resources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, json

from taprail.connectors.scim.errors import ScimError, invalid
from taprail.connectors.scim.schemas import KINDS

Operator = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")
TEXT_MAX, DEPTH_MAX = 8_192, 32
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([()\[\]])|([^\s()\[\]"]+))')
_PATH = re.compile(r"(?:(urn:[\w.:-]+):)?([A-Za-z$][\w$-]*)(?:\.([A-Za-z$][\w$-]*))?", re.IGNORECASE)
# Schemas' own prefixes are left away; their version has a dot, which isn't a sub-attribute's.
_CORE = re.compile("(?:" + "|".join(re.escape(kind.urn) for kind in KINDS) + "):", re.IGNORECASE)


class Name(Struct, frozen=True):
    """An attribute, or its sub-attribute; in lower case. `urn` is an extension's, '' for the resource's own schema."""

    attribute: str
    sub: str = ""
    urn: str = ""


class Compare(Struct, frozen=True):
    name: Name
    operator: Operator
    value: str | float | bool | None


class Present(Struct, frozen=True):
    name: Name


class Not(Struct, frozen=True):
    of: Filter


class Both(Struct, frozen=True):
    left: Filter
    right: Filter


class Either(Struct, frozen=True):
    left: Filter
    right: Filter


class Within(Struct, frozen=True):
    """One value of a multi-valued attribute fits: `emails[type eq "work"]`."""

    name: Name
    of: Filter


Filter = Compare | Present | Not | Both | Either | Within


class Path(Struct, frozen=True):
    """What a PATCH operation is about: an attribute, values of it that fit a filter, a sub-attribute of those."""

    name: Name
    of: Filter | None = None


def parse_filter(text: str) -> Filter:
    """Raises ScimError (invalidFilter)."""
    parser = _Parser(text, "invalidFilter")
    found = parser.either(0)
    parser.end()
    return found


def parse_path(text: str) -> Path:
    """Raises ScimError (invalidPath)."""
    parser = _Parser(text, "invalidPath")
    found = parser.path()
    parser.end()
    return found


def fits(filter_: Filter, resource: Mapping[str, Any], exact: frozenset[str] = frozenset()) -> bool:
    """Whether a resource fits. `exact` has the names, `attribute` or `attribute.sub`, that regard case."""
    if isinstance(filter_, Not):
        return not fits(filter_.of, resource, exact)
    if isinstance(filter_, Both):
        return fits(filter_.left, resource, exact) and fits(filter_.right, resource, exact)
    if isinstance(filter_, Either):
        return fits(filter_.left, resource, exact) or fits(filter_.right, resource, exact)
    if isinstance(filter_, Within):
        prefix = filter_.name.attribute + "."
        inner = frozenset(name.removeprefix(prefix) for name in exact if name.startswith(prefix))
        return any(fits(filter_.of, each, inner) for each in _values(resource, filter_.name) if isinstance(each, dict))
    values = [each for each in _plain(resource, filter_.name) if each not in (None, "")]
    if isinstance(filter_, Present):
        return bool(values)
    if filter_.value is None:
        return (not values) == (filter_.operator == "eq")
    regards_case = _dotted(filter_.name) in exact
    if filter_.operator == "ne":
        return not any(_compare("eq", each, filter_.value, regards_case) for each in values)
    return any(_compare(filter_.operator, each, filter_.value, regards_case) for each in values)


def equals(filter_: Filter | None) -> Iterator[tuple[Name, str]]:
    """Texts that a resource must have for the filter to fit: what an index can be asked for."""
    if isinstance(filter_, Both):
        yield from equals(filter_.left)
        yield from equals(filter_.right)
    elif isinstance(filter_, Compare) and filter_.operator == "eq" and isinstance(filter_.value, str):
        yield filter_.name, filter_.value


def _dotted(name: Name) -> str:
    return f"{name.attribute}.{name.sub}" if name.sub else name.attribute


def get(resource: Mapping[str, Any], name: str) -> Any:
    """An attribute by its name in lower case; None where it isn't there."""
    return next((value for key, value in resource.items() if key.lower() == name), None)


def _values(resource: Mapping[str, Any], name: Name) -> list[Any]:
    if name.urn:
        return []  # extensions aren't kept
    found = get(resource, name.attribute)
    values = found if isinstance(found, list) else [] if found is None else [found]
    return [get(each, name.sub) for each in values if isinstance(each, dict)] if name.sub else values


def _plain(resource: Mapping[str, Any], name: Name) -> list[Any]:
    """Simple values; of a complex one its `value` (RFC 7643, section 2.4)."""
    return [get(each, "value") if isinstance(each, dict) else each for each in _values(resource, name)]


def _compare(operator: Operator, value: Any, wanted: str | float | bool, regards_case: bool) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        if operator != "eq":
            raise invalid(f"a boolean can't be compared with {operator!r}", "invalidFilter")
        return str(value).lower() == str(wanted).lower()  # Okta asks for active eq "true"
    left, right = str(value), str(wanted)
    times = _time(left), _time(right)
    if times[0] is not None and times[1] is not None and operator in ("eq", "gt", "ge", "lt", "le"):
        return _ordered(operator, times[0], times[1])
    if not regards_case:
        left, right = left.casefold(), right.casefold()
    if operator == "co":
        return right in left
    if operator == "sw":
        return left.startswith(right)
    if operator == "ew":
        return left.endswith(right)
    return _ordered(operator, left, right)


def _ordered(operator: Operator, left: Any, right: Any) -> bool:
    results: dict[str, bool] = {
        "eq": left == right,
        "gt": left > right,
        "ge": left >= right,
        "lt": left < right,
        "le": left <= right,
    }
    return results[operator]


def _time(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\dT", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


class _Parser:
    """Recursive descent; `not` binds closer than `and`, `and` closer than `or`."""

    def __init__(self, text: str, scim_type: Literal["invalidFilter", "invalidPath"]) -> None:
        self._scim_type = scim_type
        if len(text) > TEXT_MAX:
            raise self._error("it is too long")
        self._tokens: list[str] = []
        place, text = 0, _CORE.sub("", text.strip())
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._error(f"it can't be read from {text[place : place + 20]!r} on")
            self._tokens.append(match[1] or match[2] or match[3])
            place = match.end()
        self._tokens.reverse()

    def either(self, depth: int) -> Filter:
        if depth > DEPTH_MAX:
            raise self._error("it is too deep")
        found = self._both(depth)
        while self._word("or"):
            found = Either(found, self._both(depth))
        return found

    def path(self) -> Path:
        name = self._name()
        if not self._word("["):
            return Path(name)
        if name.sub:
            raise self._error("a sub-attribute has no values of its own")
        inner = self.either(0)
        self._expect("]")
        if self._tokens and (match := re.fullmatch(r"\.([A-Za-z$][\w$-]*)", self._tokens[-1])):
            self._tokens.pop()
            return Path(Name(name.attribute, match[1].lower(), name.urn), inner)
        return Path(name, inner)

    def end(self) -> None:
        if self._tokens:
            raise self._error(f"{self._tokens[-1]!r} stands where it should end")

    def _both(self, depth: int) -> Filter:
        found = self._one(depth)
        while self._word("and"):
            found = Both(found, self._one(depth))
        return found

    def _one(self, depth: int) -> Filter:
        if self._word("not"):
            self._expect("(")
            inner = self.either(depth + 1)
            self._expect(")")
            return Not(inner)
        if self._word("("):
            inner = self.either(depth + 1)
            self._expect(")")
            return inner
        name = self._name()
        if self._word("["):
            inner = self.either(depth + 1)
            self._expect("]")
            return Within(name, inner)
        if self._word("pr"):
            return Present(name)
        operator = self._next().lower()
        if operator not in OPERATORS:
            raise self._error(f"{operator!r} is no operator")
        known: Operator = operator  # type: ignore[assignment]
        return Compare(name, known, self._value())

    def _name(self) -> Name:
        text = self._next()
        match = _PATH.fullmatch(text)
        if match is None:
            raise self._error(f"{text!r} is no attribute")
        return Name(match[2].lower(), (match[3] or "").lower(), (match[1] or "").lower())

    def _value(self) -> str | float | bool | None:
        text = self._next()
        lowered = text.lower()  # Entra ID writes True
        try:
            return json.decode(
                lowered if lowered in ("true", "false", "null") else text, type=str | float | bool | None
            )
        except ValueError:
            raise self._error(f"{text!r} is no value") from None

    def _next(self) -> str:
        if not self._tokens:
            raise self._error("it ends too early")
        return self._tokens.pop()

    def _word(self, word: str) -> bool:
        if self._tokens and self._tokens[-1].lower() == word:
            self._tokens.pop()
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._word(word):
            raise self._error(f"{word!r} is missing")

    def _error(self, text: str) -> ScimError:
        what = "filter" if self._scim_type == "invalidFilter" else "path"
        return invalid(f"the {what} can't be understood: {text}", self._scim_type)
