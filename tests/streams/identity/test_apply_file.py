"""A file of identities: what it means, what it changes, and that every mistake is told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.control import Identity, Provisioned, sign
from taprail.schemas.errors import RefusedError, SettingsError
from taprail.streams.identity import apply_file, standing
from taprail.streams.identity.apply import Change, plan
from taprail.streams.identity.apply_file import Entry
from taprail.streams.identity.roster import Roster

KEY = Ed25519PrivateKey.generate()
FILE = """
[[people]]
subject = "ann"
name = "Ann"
email = "ann@example.com"
groups = ["engineers"]

[[people]]
subject = "bob"
active = false

[[services]]
subject = "reports"
owner = "ann"

[[groups]]
name = "engineers"
members = ["reports"]

[[groups]]
name = "owners"
members = ["ann"]
"""


def roster(*identities: Identity) -> Roster:
    made = Roster({"control-1": KEY.public_key()})
    for at, each in enumerate(identities, 1):
        made.take(sign("identity", each.subject, each, private_key=KEY, key_id="control-1", now_us=at))
    return made


def entries(folder: Path, text: str, name: str = "people.toml") -> list[Entry]:
    (folder / name).write_text(text)
    return apply_file.read(folder / name)


def after(changes: list[Change], before: Roster) -> Roster:
    """Everybody, with the changes written."""
    changed = [change.identity for change in changes]
    return roster(*(each for each in before.all() if each.subject not in {c.subject for c in changed}), *changed)


def test_groups_may_stand_on_either_side(tmp_path: Path) -> None:
    ann, bob, reports = entries(tmp_path, FILE)
    assert ann == Entry("ann", "Ann", "person", ("engineers", "owners"), True, "ann@example.com", "", 2)
    assert (bob.name, bob.active, bob.groups) == ("bob", False, ())
    assert (reports.kind, reports.owner, reports.groups) == ("service", "ann", ("engineers",))


def test_a_time_zone_is_one(tmp_path: Path) -> None:
    (ann,) = entries(tmp_path, '[[people]]\nsubject = "ann"\nzone = "Europe/Helsinki"\n')
    assert ann.zone == "Europe/Helsinki"
    before = roster()
    made = after(plan([ann], before), before)
    found = made.get("ann")
    assert found is not None and found.zone == "Europe/Helsinki"
    with pytest.raises(SettingsError, match="there is no time zone 'Europe/Helsinky'") as caught:
        entries(tmp_path, '[[people]]\nsubject = "ann"\nzone = "Europe/Helsinky"\n')
    assert "Europe/Helsinki" in caught.value.hint


def test_json_says_the_same(tmp_path: Path) -> None:
    import tomllib

    text = json.dumps(tomllib.loads(FILE), indent=2)
    found = entries(tmp_path, text, "people.json")
    assert [(e.subject, e.groups, e.kind) for e in found] == [
        (e.subject, e.groups, e.kind) for e in entries(tmp_path, FILE)
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('email = "ann@example.com"', 'emial = "x"', 5, "'email'"),
        ('owner = "ann"', 'ovner = "ann"', 14, "'owner'"),
        ("active = false", 'active = "no"', 10, "bool"),
        ('name = "owners"', 'naem = "owners"', 21, "'name'"),
        ('members = ["ann"]', 'members = ["anm"]', 22, "'ann'"),
        ('groups = ["engineers"]', 'groups = ["enginers"]', 6, "'engineers'"),
        ('owner = "ann"', 'owner = "bbo"', 14, "'bob'"),
        ("[[services]]", "[[servces]]", 12, "'services'"),
        ('subject = "bob"', 'subject = "ann"', 9, "twice"),
        ('subject = "bob"', 'subject = "group:1"', 9, "group:"),
        ('subject = "bob"', 'subject = " bob"', 9, "regex"),
        ('name = "owners"', 'name = "engineers"', 21, "twice"),
        ('subject = "bob"', 'name = "bob"', 8, "subject"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        entries(tmp_path, FILE.replace(old, new))
    assert f"people.toml:{line}: " in refused.value.message
    assert said in str(refused.value)


def test_a_mistake_in_json_has_its_line(tmp_path: Path) -> None:
    people = '[\n{"subject": "ann"},\n{"subject": "b",\n"members": []}]'
    text = f'{{"groups": [{{"name": "a", "members": []}}],\n"people": {people}}}'
    with pytest.raises(SettingsError, match=r"people.json:5: people have no field 'members'"):
        entries(tmp_path, text, "people.json")


@pytest.mark.parametrize("text", ["", "[[groups]]\nname = 'a'\n", "people = 1", "[[people]", "people = ['ann']"])
def test_what_names_nobody_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError):
        entries(tmp_path, text)


def test_the_first_time_everybody_is_added_and_the_second_time_nothing_changes(tmp_path: Path) -> None:
    found, before = entries(tmp_path, FILE), roster()
    changes = plan(found, before)
    assert [(c.action, c.identity.subject) for c in changes] == [("added", s) for s in ("ann", "bob", "reports")]
    assert [c.identity.active for c in changes] == [True, False, True]
    assert plan(found, after(changes, before)) == []


def test_who_is_gone_from_the_file_is_revoked_and_comes_back_with_it(tmp_path: Path) -> None:
    found, first = entries(tmp_path, FILE), roster()
    there = after(plan(found, first), first)
    [change] = plan([each for each in found if each.subject != "ann"], there)
    assert (change.action, change.identity.active, change.identity.groups) == ("removed", False, ())
    gone = after([change], there)
    assert plan([each for each in found if each.subject != "ann"], gone) == []
    [back] = plan(found, gone)
    assert back.identity == there.get("ann")


def test_a_file_revokes_nobody_whom_it_never_had(tmp_path: Path) -> None:
    scim = Identity("eve", "Eve", "person", (), source="scim", scim=Provisioned("1", "eve", 1))
    by_hand = Identity("dan", "Dan", "person", ())
    assert {c.identity.subject for c in plan(entries(tmp_path, FILE), roster(scim, by_hand))} == {
        "ann",
        "bob",
        "reports",
    }


def test_a_file_does_not_change_whom_the_provider_keeps(tmp_path: Path) -> None:
    scim = Identity("ann", "Ann", "person", (), source="scim", scim=Provisioned("1", "ann", 1))
    with pytest.raises(RefusedError, match="line 2: 'ann' is kept by the identity provider"):
        plan(entries(tmp_path, FILE), roster(scim))


@pytest.mark.parametrize("first_form", [True, False])
def test_who_was_revoked_by_hand_is_not_restored_by_a_file(tmp_path: Path, first_form: bool) -> None:
    ann = Identity("ann", "Ann", "person", ())
    left = Identity("ann", "Ann", "person", (), False, "left") if first_form else standing.revoked(ann, "hand", "left")
    found = next(c for c in plan(entries(tmp_path, FILE), roster(left)) if c.identity.subject == "ann")
    assert (found.identity.active, found.identity.reason) == (False, "left")
    assert "stays revoked by hand" in found.details


def test_the_differences_are_told(tmp_path: Path) -> None:
    before = Identity("ann", "Anne", "agent", ("engineers", "leavers"), source="file")
    found = next(c for c in plan(entries(tmp_path, FILE), roster(before)) if c.identity.subject == "ann")
    told = "-leavers, +owners, name Anne → Ann, kind agent → person, email (none) → ann@example.com"
    assert ", ".join(found.details) == told


STANDINGS = st.sets(st.sampled_from(["hand", "directory"]))


@given(STANDINGS, st.lists(st.tuples(st.sampled_from(["hand", "directory"]), st.booleans()), max_size=8))
def test_each_gives_back_only_what_it_took(begin: set[Any], steps: list[tuple[Any, bool]]) -> None:
    identity = Identity("ann", "Ann", "person", ())
    for by in sorted(begin):
        identity = standing.revoked(identity, by, "why")
    wanted = set(begin)
    for by, takes in steps:
        identity = (standing.revoked if takes else standing.restored)(identity, by, "why")
        wanted = wanted | {by} if takes else wanted - {by}
        assert (standing.bars(identity), identity.active) == (wanted, not wanted)
