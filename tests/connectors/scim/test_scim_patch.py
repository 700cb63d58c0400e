"""PATCH, as RFC 7644 has it and as Entra ID and Okta send it; and what isn't kept is dropped."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.scim.errors import ScimError
from taprail.connectors.scim.patch import clean, patch
from taprail.connectors.scim.schemas import GROUPS, PATCH, USERS

USER: dict[str, Any] = {
    "id": "1",
    "userName": "ann",
    "name": {"givenName": "Ann", "familyName": "A"},
    "active": True,
    "emails": [{"value": "ann@example.com", "type": "work", "primary": True}],
}
GROUP: dict[str, Any] = {"id": "9", "displayName": "engineers", "members": [{"value": "1"}, {"value": "2"}]}


def patched(resource: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(resource)
    made = patch(
        resource, {"schemas": [PATCH], "Operations": list(operations)}, USERS if "userName" in resource else GROUPS
    )
    assert resource == before
    return made


def members(*operations: dict[str, Any]) -> list[str]:
    return [each["value"] for each in patched(GROUP, *operations)["members"]]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "path": "active", "value": "False"},  # Entra ID
        {"op": "replace", "value": {"active": False}},  # Okta
        {"op": "Replace", "value": {"active": "false"}},
        {"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]},  # Entra ID, as it was
        {"op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False},
    ],
)
def test_every_way_to_say_inactive(operation: dict[str, Any]) -> None:
    assert patched(USER, operation)["active"] is False


@pytest.mark.parametrize("value", ["no", 0, [], {}, [{"value": "maybe"}], [False, True]])
def test_what_is_no_boolean_is_none(value: Any) -> None:
    with pytest.raises(ScimError) as refused:
        patched(USER, {"op": "replace", "path": "active", "value": value})
    assert refused.value.scim_type == "invalidValue"


def test_users_of_entra_id() -> None:
    """Dotted names without a path, an address that isn't there yet, and attributes that aren't kept."""
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    made = patched(
        USER,
        {"op": "Add", "path": 'emails[type eq "home"].value', "value": "ann@home.example"},
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "a@example.com"},
        {"op": "Replace", "path": "name.familyName", "value": "B"},
        {"op": "Add", "path": f"{enterprise}:department", "value": "IT"},
        {"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "1"},
        {
            "op": "Replace",
            "value": {"displayName": "Ann B", "name.givenName": "Anna", f"{enterprise}:manager": "2", "title": "Dr"},
        },
        {"op": "Remove", "path": "title"},
    )
    assert made == USER | {
        "displayName": "Ann B",
        "name": {"givenName": "Anna", "familyName": "B"},
        "emails": [
            {"value": "a@example.com", "type": "work", "primary": True},
            {"value": "ann@home.example", "type": "home"},
        ],
    }


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ({"op": "remove", "path": 'members[value eq "1"]'}, ["2"]),
        ({"op": "Remove", "path": "members", "value": [{"value": "1"}]}, ["2"]),  # Entra ID
        ({"op": "remove", "path": "members", "value": [{"value": "1", "$ref": None}, {"value": "7"}]}, ["2"]),
        ({"op": "remove", "path": 'members[value eq "7"]'}, ["1", "2"]),
        ({"op": "remove", "path": 'members[value eq "1" or value eq "2"]'}, []),
        ({"op": "remove", "path": "members"}, []),
        ({"op": "replace", "path": "members", "value": []}, []),
        ({"op": "replace", "path": "members", "value": [{"value": "3"}]}, ["3"]),
        ({"op": "add", "path": "members", "value": [{"value": "3"}, {"value": "1"}]}, ["1", "2", "3"]),
        ({"op": "Add", "path": "members", "value": {"value": "3"}}, ["1", "2", "3"]),
        ({"op": "add", "value": {"members": [{"value": "3", "display": "x"}]}}, ["1", "2", "3"]),
        ({"op": "add", "path": "members", "value": "3"}, ["1", "2", "3"]),
    ],
)
def test_members(operation: dict[str, Any], left: list[str]) -> None:
    assert members(operation) == left


def test_operations_come_one_after_the_other() -> None:
    assert members(
        {"op": "remove", "path": "members"},
        {"op": "add", "path": "members", "value": [{"value": "5"}]},
        {"op": "add", "path": "members", "value": [{"value": "6"}]},
    ) == ["5", "6"]


def test_okta_renames_a_group_with_its_id_among_the_values() -> None:
    assert patched(GROUP, {"op": "replace", "value": {"id": "9", "displayName": "new"}})["displayName"] == "new"


def test_one_address_is_primary() -> None:
    new = {"value": "b@example.com", "primary": True}
    made = patched(USER, {"op": "add", "path": "emails", "value": [new]})
    assert [each["primary"] for each in made["emails"]] == [False, True]


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "move", "path": "active"}, "invalidSyntax"),
        ({"path": "active"}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "2"}, "mutability"),
        ({"op": "replace", "path": "groups", "value": []}, "mutability"),
        ({"op": "replace", "path": "colour", "value": "red"}, "invalidPath"),
        ({"op": "replace", "path": "emails.colour", "value": "red"}, "invalidPath"),
        ({"op": "replace", "path": 'userName[value eq "x"]', "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "emails[value sw 'x'].value", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[value sw "x"].type', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": "userName", "value": 7}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": "a\u202eb"}, "invalidValue"),
        ({"op": "replace", "path": "displayName", "value": "x" * 2_000}, "invalidValue"),
        ({"op": "replace", "path": "name", "value": "x"}, "invalidValue"),
    ],
)
def test_what_can_not_be_done_has_the_rfcs_name(operation: dict[str, Any], scim_type: str) -> None:
    with pytest.raises(ScimError) as refused:
        patched(USER, operation)
    assert (refused.value.status, refused.value.scim_type) == (400, scim_type)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"schemas": [PATCH]},
        {"schemas": [PATCH], "Operations": []},
        {"Operations": [{"op": "add"}]},
        {"schemas": [PATCH], "Operations": [{"op": "remove", "path": "title"}] * 1001},
    ],
)
def test_what_is_no_patch(body: Any) -> None:
    with pytest.raises(ScimError) as refused:
        patch(USER, body, USERS)
    assert refused.value.scim_type == "invalidSyntax"


def test_only_what_is_kept_is_taken() -> None:
    sent = {
        "schemas": [],
        "id": "mine",
        "USERNAME": "ann",
        "password": "secret",
        "phoneNumbers": [{"value": "1"}],
        "groups": [{"value": "admins"}],
        "meta": {"version": "1"},
        "emails": [{"value": "a@example.com", "display": "x"}, {"type": "home"}],
        "name": {"givenName": "Ann", "middleName": "M"},
        "displayName": "",
    }
    assert clean(sent, USERS) == {
        "userName": "ann",
        "emails": [{"value": "a@example.com"}, {"type": "home"}],
        "name": {"givenName": "Ann"},
    }
    with pytest.raises(ScimError):
        clean({"userName": "ann", "username": "eve"}, USERS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("aé1\u202e\x00", max_size=5) | st.sampled_from(["1", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = st.sampled_from(
    [
        None,
        "active",
        "userName",
        "emails",
        "name",
        "name.givenName",
        "id",
        "emails.value",
        'emails[type eq "work"]',
        'emails[type eq "home"].value',
        "emails[primary eq true].value",
        "title",
        "members",
        "urn:a:b:c",
        "emails[value pr]",
    ]
)
OPERATIONS = st.fixed_dictionaries({"op": st.sampled_from(["add", "Remove", "replace"]), "path": PATHS, "value": JSON})


@given(st.lists(OPERATIONS, max_size=4))
def test_any_patch_gives_a_user_of_the_schema_or_one_error(operations: list[dict[str, Any]]) -> None:
    try:
        made = patched(USER, *operations)
    except ScimError:
        return
    assert clean(made, USERS) == {name: value for name, value in made.items() if name != "id" and value not in ([], {})}
