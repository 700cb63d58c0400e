"""SCIM: what a provider's requests make of identities, and that nobody gets rights by them that nobody gave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from taprail.schemas.control import Identity
from taprail.schemas.errors import StackError
from taprail.streams.identity import standing
from taprail.streams.identity.roster import Roster
from tests.fakes.provisioning import KEY, URL, Provider


@pytest.fixture
def provider() -> Provider:
    return Provider()


def by_hand(provider: Provider, subject: str) -> None:
    provider.memory.change(
        lambda roster: [
            standing.revoked(roster.get(subject) or Identity(subject, subject, "person", ()), "hand", "stolen")
        ]
    )


def body(answer: Any, status: int = 200) -> dict[str, Any]:
    assert answer.status == status, answer
    found: dict[str, Any] = answer.body
    return found


def test_a_user_is_an_identity_by_the_subject_of_its_tokens(provider: Provider) -> None:
    sent = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ann@example.com",
        "externalId": "00u1f3",
        "name": {"givenName": "Ann", "familyName": "A"},
        "emails": [{"value": "ann@example.com", "type": "work", "primary": True}],
        "active": True,
        "password": "secret",
    }
    answer = provider.ask("POST", "/Users", sent)
    made = body(answer, 201)
    assert answer.headers["Location"] == made["meta"]["location"] == f"{URL}/Users/{made['id']}"
    assert answer.headers["ETag"] == made["meta"]["version"]
    assert {k: v for k, v in made.items() if k not in ("id", "meta")} == {
        k: v for k, v in sent.items() if k != "password"
    }
    found = provider.identity("00u1f3")
    assert (found.name, found.email, found.kind, found.active, found.source) == (
        "Ann A",
        "ann@example.com",
        "person",
        True,
        "scim",
    )
    assert "secret" not in repr(provider.memory.written)


def test_it_may_be_known_by_its_user_name() -> None:
    provider = Provider("userName")
    provider.user("ann", externalId=None)
    assert provider.identity("ann").active


@pytest.mark.parametrize(
    "sent",
    [
        {"userName": "ann"},
        {"externalId": "1"},
        {"userName": " ", "externalId": "1"},
        [],
        {"userName": "a", "externalId": "group:x"},
    ],
)
def test_who_has_no_subject_is_not_made(provider: Provider, sent: Any) -> None:
    assert body(provider.ask("POST", "/Users", sent), 400)["scimType"] in ("invalidValue", "invalidSyntax")
    assert provider.memory.roster.all() == []


def test_names_and_subjects_are_unique(provider: Provider) -> None:
    provider.user("ann")
    for clash in ({"userName": "ANN", "externalId": "other"}, {"userName": "other", "externalId": "00u-ann"}):
        assert body(provider.ask("POST", "/Users", clash), 409)["scimType"] == "uniqueness"
    bob = provider.user("bob")
    taken = {"op": "replace", "path": "externalId", "value": "00u-ann"}
    assert provider.patch(f"/Users/{bob}", taken).status == 409
    assert provider.identity("00u-ann").name == "ann"


def test_kinds_of_actors(provider: Provider) -> None:
    for user_type, kind in (("agent", "agent"), ("Service", "service"), ("Employee", "person"), ("", "person")):
        provider.user(f"u{user_type}", userType=user_type)
        assert provider.identity(f"00u-u{user_type}").kind == kind


def test_the_time_zone_is_kept_and_shown(provider: Provider) -> None:
    ann = provider.user(timezone="Europe/Helsinki")
    assert provider.identity("00u-ann").zone == "Europe/Helsinki"
    assert body(provider.ask("GET", f"/Users/{ann}"))["timezone"] == "Europe/Helsinki"
    assert provider.patch(f"/Users/{ann}", {"op": "replace", "path": "timezone", "value": "Asia/Tokyo"}).status == 200
    assert provider.identity("00u-ann").zone == "Asia/Tokyo"


@pytest.mark.parametrize("how", ["patch", "put", "delete"])
def test_deactivated_is_revoked_and_comes_back(provider: Provider, how: str) -> None:
    ann = provider.user()
    provider.group("engineers", ann)
    if how == "patch":
        provider.patch(f"/Users/{ann}", {"op": "Replace", "path": "active", "value": "False"})
    elif how == "put":
        provider.ask("PUT", f"/Users/{ann}", {"userName": "ann", "externalId": "00u-ann", "active": False})
    else:
        assert provider.ask("DELETE", f"/Users/{ann}").status == 204
        assert provider.ask("GET", f"/Users/{ann}").status == 404
    found = provider.identity("00u-ann")
    assert (found.active, found.revoked_by) == (False, ("directory",))
    assert "identity provider" in found.reason
    if how == "delete":
        assert found.groups == () and found.scim is None
        assert (found.name, found.email) == ("00u-ann", ""), "nothing of the person stays but the subject"
        provider.user()
        assert provider.identity("00u-ann").groups == (), "who comes anew has no rights of before"
    else:
        assert body(provider.ask("GET", f"/Users/{ann}"))["active"] is False
        provider.patch(f"/Users/{ann}", {"op": "replace", "value": {"active": True}})
        assert provider.identity("00u-ann").groups == ("engineers",)
    assert provider.identity("00u-ann").active and provider.identity("00u-ann").reason == ""


@pytest.mark.parametrize("how", ["put", "patch"])
def test_only_who_is_said_to_be_active_comes_back(provider: Provider, how: str) -> None:
    ann = provider.user(active=False)
    if how == "put":
        body(provider.ask("PUT", f"/Users/{ann}", {"userName": "ann", "externalId": "00u-ann"}))
    else:
        body(provider.patch(f"/Users/{ann}", {"op": "remove", "path": "active"}))
    assert not provider.identity("00u-ann").active


@pytest.mark.parametrize("how", ["patch", "put", "post"])
def test_who_was_revoked_by_hand_is_not_restored_by_a_provider(provider: Provider, how: str) -> None:
    ann = provider.user() if how != "post" else ""
    by_hand(provider, "00u-ann")
    if how == "post":
        provider.user()
    elif how == "put":
        body(provider.ask("PUT", f"/Users/{ann}", {"userName": "ann", "externalId": "00u-ann", "active": True}))
    else:
        for value in (False, True):
            body(provider.patch(f"/Users/{ann}", {"op": "replace", "path": "active", "value": value}))
    found = provider.identity("00u-ann")
    assert (found.active, found.revoked_by) == (False, ("hand",))


def test_nobody_escapes_a_revocation_by_another_name(provider: Provider) -> None:
    ann = provider.user()
    group = provider.group("engineers", ann)
    by_hand(provider, "00u-ann")
    body(provider.patch(f"/Users/{ann}", {"op": "replace", "path": "externalId", "value": "new"}))
    old, new = provider.identity("00u-ann"), provider.identity("new")
    assert standing.bars(new) == {"hand"}
    assert (old.active, old.groups, new.active, new.groups) == (False, (), False, ("engineers",))
    assert [record.key for record in provider.memory.written[-1]] == ["00u-ann", "new"]
    assert [each["value"] for each in body(provider.ask("GET", f"/Groups/{group}"))["members"]] == [ann]


def test_nor_by_the_name_of_somebody_who_was_there(provider: Provider) -> None:
    provider.ask("DELETE", f"/Users/{provider.user('bob')}")
    ann = provider.user("ann")
    by_hand(provider, "00u-ann")
    body(provider.patch(f"/Users/{ann}", {"op": "replace", "path": "externalId", "value": "00u-bob"}))
    found = provider.identity("00u-bob")
    assert (found.active, found.name, standing.bars(found)) == (False, "ann", {"hand"})


def test_a_renamed_user_leaves_nothing_of_use_behind(provider: Provider) -> None:
    ann = provider.user()
    body(provider.patch(f"/Users/{ann}", {"op": "replace", "path": "externalId", "value": "new"}))
    assert (provider.identity("00u-ann").active, provider.identity("new").active) == (False, True)
    body(provider.patch(f"/Users/{ann}", {"op": "replace", "path": "externalId", "value": "00u-ann"}))
    assert (provider.identity("00u-ann").active, provider.identity("new").active) == (True, False)


def test_what_a_file_keeps_is_the_files(provider: Provider) -> None:
    provider.memory.change(lambda _: [Identity("00u-ann", "Ann", "person", ("owners",), source="file")])
    sent = {"userName": "ann", "externalId": "00u-ann"}
    assert "a file" in body(provider.ask("POST", "/Users", sent), 409)["detail"]
    gone = standing.revoked(provider.identity("00u-ann"), "directory", "gone")
    provider.memory.change(lambda _: [gone])
    assert provider.ask("POST", "/Users", sent).status == 201
    assert (provider.identity("00u-ann").groups, provider.identity("00u-ann").active) == ((), True)


def test_members_are_in_the_identities(provider: Provider) -> None:
    ann, bob = provider.user("ann"), provider.user("bob")
    group = provider.group("engineers", ann)
    assert (provider.identity("00u-ann").groups, provider.identity("00u-bob").groups) == (("engineers",), ())
    [shown] = body(provider.ask("GET", f"/Users/{ann}"))["groups"]
    assert (shown["value"], shown["display"]) == (group, "engineers")
    provider.patch(
        f"/Groups/{group}",
        {"op": "add", "path": "members", "value": [{"value": bob}]},
        {"op": "remove", "path": f'members[value eq "{ann}"]'},
    )
    assert (provider.identity("00u-ann").groups, provider.identity("00u-bob").groups) == ((), ("engineers",))


def test_a_renamed_group_is_renamed_for_all_of_its_members_at_once(provider: Provider) -> None:
    ann, bob = provider.user("ann"), provider.user("bob")
    group = provider.group("engineers", ann, bob)
    body(provider.patch(f"/Groups/{group}", {"op": "replace", "value": {"id": group, "displayName": "Engineers"}}))
    assert provider.identity("00u-ann").groups == provider.identity("00u-bob").groups == ("Engineers",)
    assert len(provider.memory.written[-1]) == 3
    assert provider.ask("DELETE", f"/Groups/{group}").status == 204
    assert provider.identity("00u-ann").groups == ()
    assert provider.ask("GET", f"/Groups/{group}").status == 404
    assert body(provider.ask("GET", "/Groups"))["totalResults"] == 0


@pytest.mark.parametrize("name", ["", "*", "x" * 300, "ENGINEERS"])
def test_a_group_that_can_not_be(provider: Provider, name: str) -> None:
    provider.group("engineers")
    assert provider.ask("POST", "/Groups", {"displayName": name}).status in (400, 409)


def test_a_member_must_be_known(provider: Provider) -> None:
    inner = provider.group("inner")
    for member in ("nobody", inner):
        answer = provider.ask("POST", "/Groups", {"displayName": "outer", "members": [{"value": member}]})
        assert body(answer, 400)["scimType"] == "invalidValue"
    assert provider.memory.roster.group_named("outer") is None


def test_a_provider_sees_its_own_users_and_groups_only(provider: Provider) -> None:
    provider.memory.change(lambda _: [Identity("dan", "Dan", "person", ("engineers",))])
    group = provider.group("engineers")
    assert body(provider.ask("GET", "/Users"))["totalResults"] == 0
    assert body(provider.ask("GET", f"/Groups/{group}"))["members"] == []
    provider.ask("DELETE", f"/Groups/{group}")
    assert provider.identity("dan").groups == ("engineers",)


def test_filters_that_providers_use(provider: Provider) -> None:
    ann, bob = provider.user("ann"), provider.user("bob", displayName="Bob")
    group = provider.group("engineers", ann)

    def ids(path: str) -> list[str]:
        return [each["id"] for each in body(provider.ask("GET", path))["Resources"]]

    assert ids('/Users?filter=userName eq "ANN"') == [ann]
    assert ids('/Users?filter=externalId eq "00u-bob"') == [bob] and ids('/Users?filter=externalId eq "00U-BOB"') == []
    assert ids('/Users?filter=displayName eq "bob"') == [bob]
    assert ids('/Users?filter=userName eq "ann" and active eq false') == []
    assert ids(f'/Users?filter=groups.value eq "{group}"') == [ann]
    assert ids('/Groups?filter=displayName eq "Engineers"') == [group]
    assert ids(f'/Groups?filter=id eq "{group}" and members eq "{ann}"') == [group]  # Entra ID
    assert ids(f'/Groups?filter=id eq "{group}" and members eq "{bob}"') == []
    assert ids(f'/Groups?filter=members[value eq "{ann}"]&excludedAttributes=members') == [group]
    assert body(provider.ask("GET", "/Users?filter=userName"), 400)["scimType"] == "invalidFilter"


def test_a_query_may_come_as_a_body(provider: Provider) -> None:
    made = [provider.user(f"user{number}") for number in range(3)]
    search = {"filter": 'userName sw "user"', "startIndex": 2, "count": 1, "attributes": ["userName"]}
    found = body(provider.ask("POST", "/Users/.search", search))
    assert (found["totalResults"], [each["id"] for each in found["Resources"]]) == (3, [made[1]])
    assert set(found["Resources"][0]) == {"schemas", "id", "userName"}
    assert (
        provider.ask("POST", "/Users/.search", []).status
        == provider.ask("POST", "/Groups/.search", raw=b"x").status
        == 400
    )


def test_pages(provider: Provider) -> None:
    made = [provider.user(f"user{number}") for number in range(5)]
    seen = []
    for start in (1, 3, 5, 7):
        page = body(provider.ask("GET", f"/Users?startIndex={start}&count=2"))
        assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, start, len(page["Resources"]))
        seen += [each["id"] for each in page["Resources"]]
    assert seen == made
    assert body(provider.ask("GET", "/Users?count=0"))["Resources"] == []
    assert body(provider.ask("GET", "/Users?startIndex=-4&count=-1"))["startIndex"] == 1
    assert provider.ask("GET", "/Users?count=many").status == 400


def test_attributes_are_chosen(provider: Provider) -> None:
    ann = provider.user(name={"givenName": "Ann", "familyName": "A"})
    group = provider.group("engineers", ann)
    assert set(body(provider.ask("GET", f"/Users/{ann}?attributes=userName,name.givenName"))) == {
        "schemas",
        "id",
        "userName",
        "name",
    }
    assert "members" not in body(provider.ask("GET", f"/Groups/{group}?excludedAttributes=members"))
    assert "members" not in body(provider.ask("GET", "/Groups?excludedAttributes=members"))["Resources"][0]


def test_versions(provider: Provider) -> None:
    ann = provider.user()
    version = body(provider.ask("GET", f"/Users/{ann}"))["meta"]["version"]
    assert provider.ask("GET", f"/Users/{ann}", if_none_match=version).status == 304
    first = provider.patch(f"/Users/{ann}", {"op": "replace", "value": {"displayName": "A"}}, if_match=version)
    assert first.status == 200
    assert (
        provider.patch(f"/Users/{ann}", {"op": "replace", "value": {"displayName": "B"}}, if_match=version).status
        == 412
    )
    assert provider.ask("DELETE", f"/Users/{ann}", if_match=version).status == 412
    group = provider.group("engineers", ann)
    before = body(provider.ask("GET", f"/Groups/{group}"))["meta"]["version"]
    provider.ask("DELETE", f"/Users/{ann}")
    assert body(provider.ask("GET", f"/Groups/{group}"))["meta"]["version"] != before


def test_what_changes_nothing_is_not_written(provider: Provider) -> None:
    ann = provider.user()
    group = provider.group("engineers", ann)
    provider.patch(f"/Users/{ann}", {"op": "replace", "value": {"active": True}})
    provider.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ann}]})
    assert provider.memory.written[-2:] == [[], []]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Users/nobody", 404),
        ("PUT", "/Groups/nobody", 404),
        ("DELETE", "/Users/nobody", 404),
        ("DELETE", "/Users", 405),
        ("POST", "/Users/x", 405),
        ("POST", "/Schemas", 405),
        ("POST", "/Bulk", 501),
        ("GET", "/Me", 501),
        ("GET", "/", 404),
        ("GET", "/Schemas/x", 404),
    ],
)
def test_what_there_is_not(provider: Provider, method: str, path: str, status: int) -> None:
    answer = provider.ask(method, path, {} if method in ("PUT", "POST") else None)
    assert body(answer, status)["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert answer.body is not None and answer.body["status"] == str(status)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(provider: Provider, raw: bytes) -> None:
    assert body(provider.ask("POST", "/Users", raw=raw or b" "), 400)["scimType"] == "invalidSyntax"


def test_discovery(provider: Provider) -> None:
    config = body(provider.ask("GET", "/ServiceProviderConfig"))
    assert config["patch"]["supported"] and config["filter"]["supported"] and not config["bulk"]["supported"]
    assert [each["id"] for each in body(provider.ask("GET", "/ResourceTypes"))["Resources"]] == ["User", "Group"]
    for schema in body(provider.ask("GET", "/Schemas"))["Resources"]:
        assert body(provider.ask("GET", f"/Schemas/{schema['id']}")) == schema


def test_where_kafka_does_not_answer_it_is_said(provider: Provider) -> None:
    ann = provider.user()
    provider.memory.fails = StackError("away")
    answer = provider.patch(f"/Users/{ann}", {"op": "replace", "value": {"active": False}})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


NAMES = st.sampled_from(["ann", "bob", "carol"])
GROUP_NAMES = st.sampled_from(["engineers", "owners"])


class ProvisionedLong(RuleBasedStateMachine):
    """Whatever comes in whatever order: a roster that reads the records again knows the same, and who is revoked by
    hand, or has no membership, has no more."""

    def __init__(self) -> None:
        super().__init__()
        self.provider, self.hand = Provider(), set[str]()
        self.groups: dict[str, set[str]] = {}

    def id_of(self, name: str) -> str:
        found = self.provider.memory.roster.user_named(name)
        return found.scim.resource_id if found is not None and found.scim is not None else "nobody"

    def group_of(self, name: str) -> str:
        found = self.provider.memory.roster.group_named(name)
        return found.group_id if found is not None else "nothing"

    @rule(name=NAMES, active=st.booleans())
    def make(self, name: str, active: bool) -> None:
        self.provider.ask("POST", "/Users", {"userName": name, "externalId": name, "active": active})

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self.provider.ask("DELETE", f"/Users/{self.id_of(name)}").status == 204:
            for members in self.groups.values():
                members.discard(name)

    @rule(name=NAMES, value=st.booleans())
    def set_active(self, name: str, value: bool) -> None:
        self.provider.patch(f"/Users/{self.id_of(name)}", {"op": "replace", "path": "active", "value": value})

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        by_hand(self.provider, name)
        self.hand.add(name)

    @rule(name=GROUP_NAMES)
    def make_group(self, name: str) -> None:
        if self.provider.ask("POST", "/Groups", {"displayName": name}).status == 201:
            self.groups[name] = set()

    @rule(group=GROUP_NAMES, name=NAMES, op=st.sampled_from(["add", "remove"]))
    def member(self, group: str, name: str, op: str) -> None:
        operation = {"op": op, "path": "members", "value": [{"value": self.id_of(name)}]}
        if self.provider.patch(f"/Groups/{self.group_of(group)}", operation).status == 200:
            (self.groups[group].add if op == "add" else self.groups[group].discard)(name)

    @rule(group=GROUP_NAMES)
    def delete_group(self, group: str) -> None:
        if self.provider.ask("DELETE", f"/Groups/{self.group_of(group)}").status == 204:
            del self.groups[group]

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        again, roster = Roster({"control-1": KEY.public_key()}), self.provider.memory.roster
        newest = {record.key: record for change in self.provider.memory.written for record in change}
        for record in newest.values():  # what compaction leaves
            again.take(record)
        assert (again.all(), again.groups(), again.users()) == (roster.all(), roster.groups(), roster.users())
        for group in roster.groups():
            assert again.members(group) == roster.members(group)
        for identity in roster.all():
            wanted = {group for group, members in self.groups.items() if identity.subject in members}
            if identity.scim is not None:
                assert set(identity.groups) == wanted
            assert not (identity.active and identity.subject in self.hand)


ProvisionedLong.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestProvisionedLong = ProvisionedLong.TestCase
