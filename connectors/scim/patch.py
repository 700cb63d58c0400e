"""Values as their schema has them, and PATCH (RFC 7644, section 3.5.2), with what providers send beside the RFC.

Entra ID: `"op": "Replace"`, booleans as the text "False", values as `[{"value": …}]`, dotted names in a value without a
path, members removed by a value rather than by a filter, and a value set behind a filter that nothing fits yet.
Okta: `replace` without a path, with the read-only `id` among its values.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

from taprail.connectors.scim.errors import invalid
from taprail.connectors.scim.filters import Compare, Filter, Name, Path, equals, fits, get, parse_path
from taprail.connectors.scim.schemas import PATCH, Attribute, Kind

STRING_MAX, VALUES_MAX, OPERATIONS_MAX = 1_024, 10_000, 1_000
Op = Literal["add", "remove", "replace"]
# Attributes of RFC 7643 that aren't kept: providers send them unless somebody takes them out there.
_LISTS = {"phonenumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509certificates", "schemas"}
DROPPED = _LISTS | {"nickname", "profileurl", "title", "preferredlanguage", "locale", "password"}


def clean(body: object, kind: Kind) -> dict[str, Any]:
    """A resource as it was sent, with the attributes that are kept, by their own names; read-only ones are left out.

    Raises ScimError where a value isn't what its attribute takes.
    """
    if not isinstance(body, dict):
        raise invalid("the body is no object", "invalidSyntax")
    found: dict[str, Any] = {}
    for key, value in body.items():
        attribute = kind.find(str(key))
        if attribute is None or attribute.mutability == "readOnly":
            continue
        if attribute.name in found:
            raise invalid(f"{attribute.name} is there twice", "invalidSyntax")
        if (taken := take(attribute, value)) not in (None, [], {}):
            found[attribute.name] = taken
    return found


def patch(resource: dict[str, Any], body: object, kind: Kind) -> dict[str, Any]:
    """The resource after all operations of a PatchOp. Raises ScimError; then nothing has changed."""
    if not isinstance(body, dict) or PATCH not in (get(body, "schemas") or ()):
        raise invalid(f"a PATCH has the schema {PATCH}", "invalidSyntax")
    operations = get(body, "operations")
    if not isinstance(operations, list) or not 0 < len(operations) <= OPERATIONS_MAX:
        raise invalid(f"a PATCH has a list of up to {OPERATIONS_MAX} Operations", "invalidSyntax")
    made = copy.deepcopy(resource)
    for operation in operations:
        if not isinstance(operation, dict) or str(get(operation, "op")).lower() not in ("add", "remove", "replace"):
            raise invalid("an operation's `op` is add, remove or replace", "invalidSyntax")
        op: Op = str(get(operation, "op")).lower()  # type: ignore[assignment]
        path, value = get(operation, "path"), get(operation, "value")
        if path:
            _apply(made, op, parse_path(str(path)), value, kind)
        elif op == "remove":
            raise invalid("`remove` needs a path", "noTarget")
        elif not isinstance(value, dict):
            raise invalid(f"without a path the value of {op!r} is an object", "invalidValue")
        else:
            _apply_each(made, op, value, kind)
    return made


def take(attribute: Attribute, value: Any) -> Any:
    """The value as the attribute has it: None for nothing. Raises ScimError."""
    if value is None:
        return None
    if attribute.many:
        values = value if isinstance(value, list) else [value]
        if len(values) > VALUES_MAX:
            raise invalid(f"{attribute.name} has more than {VALUES_MAX} values", "invalidValue")
        return [made for each in values if (made := _one(attribute, each))]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and attribute.type != "complex":
        value = get(value[0], "value")
    return _one(attribute, value)


def _one(attribute: Attribute, value: Any) -> Any:
    if attribute.type == "complex":
        if isinstance(value, str) and attribute.many:
            value = {"value": value}
        if not isinstance(value, dict):
            raise invalid(f"{attribute.name} takes an object", "invalidValue")
        found = {}
        for key, inner in value.items():
            sub = attribute.find(str(key))
            if sub is not None and sub.mutability != "readOnly" and (made := take(sub, inner)) is not None:
                found[sub.name] = made
        return found
    if attribute.type == "boolean":
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise invalid(f"{attribute.name} is true or false", "invalidValue")
        return value
    if not isinstance(value, str):
        raise invalid(f"{attribute.name} takes a text", "invalidValue")
    if len(value) > STRING_MAX or not value.isprintable():
        raise invalid(f"{attribute.name} takes a printable text of up to {STRING_MAX} characters", "invalidValue")
    return value.strip() or None


def _apply_each(resource: dict[str, Any], op: Op, value: dict[str, Any], kind: Kind) -> None:
    for key, inner in value.items():
        path = parse_path(str(key))
        attribute = kind.find(path.name.attribute)
        if attribute is not None and attribute.mutability == "readOnly":
            continue
        _apply(resource, op, path, inner, kind)


def _apply(resource: dict[str, Any], op: Op, path: Path, value: Any, kind: Kind) -> None:
    if path.name.urn or path.name.attribute in DROPPED or path.name.attribute.startswith("urn"):
        return
    attribute = kind.find(path.name.attribute)
    if attribute is None:
        raise invalid(f"{kind.name} has no attribute {path.name.attribute!r}", "invalidPath")
    if attribute.mutability == "readOnly":
        raise invalid(f"{attribute.name} can't be changed", "mutability")
    if op == "replace" and value is None:
        op = "remove"
    if attribute.many:
        resource[attribute.name] = _changed(attribute, list(resource.get(attribute.name, ())), op, path, value)
        return
    if path.of is not None:
        raise invalid(f"{attribute.name} has one value: a filter chooses none", "invalidPath")
    if path.name.sub or (attribute.type == "complex" and op != "remove"):
        inner = dict(resource.get(attribute.name, {}))
        changes = {path.name.sub: value} if path.name.sub else value
        if not isinstance(changes, dict):
            raise invalid(f"{attribute.name} takes an object", "invalidValue")
        for key, each in changes.items():
            sub = attribute.find(key)
            if sub is not None:
                _set(inner, sub, None if op == "remove" else take(sub, each))
            elif path.name.sub and attribute.name != "name":  # other parts of a name aren't kept
                raise invalid(f"{attribute.name} has no {key!r}", "invalidPath")
        _set(resource, attribute, inner or None)
    else:
        _set(resource, attribute, None if op == "remove" else take(attribute, value))


def _set(into: dict[str, Any], attribute: Attribute, value: Any) -> None:
    if value is None:
        into.pop(attribute.name, None)
    else:
        into[attribute.name] = value


def _changed(attribute: Attribute, values: list[dict[str, Any]], op: Op, path: Path, value: Any) -> list[Any]:
    """The values of a multi-valued attribute afterwards."""
    if path.of is not None or path.name.sub:
        return _changed_where(attribute, values, op, path, value)
    if op == "remove":
        if value is None:
            return []
        gone = [each.get("value") for each in take(attribute, value)]
        return [each for each in values if each.get("value") not in gone]
    given = take(attribute, value) or []
    if op == "replace":
        return _unique(given)
    return _unique([*values, *given])


def _changed_where(attribute: Attribute, values: list[dict[str, Any]], op: Op, path: Path, value: Any) -> list[Any]:
    exact = frozenset(sub.name.lower() for sub in attribute.sub if sub.exact)
    chosen = [each for each in values if path.of is None or fits(path.of, each, exact)]
    if not path.name.sub:
        others = [each for each in values if each not in chosen]
        if op == "remove":
            return others
        return _unique([*others, *(take(attribute, value) or [])])
    sub = attribute.find(path.name.sub)
    if sub is None:
        raise invalid(f"{attribute.name} has no {path.name.sub!r}", "invalidPath")
    if not chosen and op != "remove":
        chosen = [_fitting(attribute, path.of)]  # its value comes now
        values = [*values, *chosen]
    for each in chosen:
        _set(each, sub, None if op == "remove" else take(sub, value))
    return [each for each in values if each.get("value")]


def _fitting(attribute: Attribute, of: Filter | None) -> dict[str, Any]:
    """A new value that fits the filter: Entra ID sets `emails[type eq "work"].value` where there is no such address."""
    made: dict[str, Any] = {}
    for name, text in equals(of):
        sub = attribute.find(name.attribute)
        if sub is not None:
            made[sub.name] = text
    if of is None or not made:
        raise invalid(f"no value of {attribute.name} fits", "noTarget")
    if isinstance(of, Compare) and of.name == Name("primary"):
        made["primary"] = True
    return made


def _unique(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each `value` once, as it came last; at most one is primary, the last that says so."""
    found: dict[Any, dict[str, Any]] = {}
    for each in values:
        if each.get("value"):
            found[each["value"]] = {**found.get(each["value"], {}), **each}
    primary = [each for each in found.values() if each.get("primary")]
    for each in primary[:-1]:
        each["primary"] = False
    if len(found) > VALUES_MAX:
        raise invalid(f"more than {VALUES_MAX} values", "invalidValue")
    return list(found.values())
