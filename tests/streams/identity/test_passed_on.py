"""What the tap tells a server of who acts: which key, which port, from the settings."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres.upstream import Target
from taprail.schemas.errors import TaprailError
from taprail.schemas.records import Person
from taprail.streams.identity.passed_on import database_key, key_of, pass_on, value
from taprail.streams.settings import load
from tests.fakes.sign_in import settings

KEY = bytes(range(32))
BOB = Person("bob", "Bob", "agent", ("agents",), "https://idp.example", on_behalf_of="ann", via="superset")
TARGET = Target("test", "main", "postgres", "127.0.0.1", 5432, "upstream", "app")


def claims(said: str, key: bytes) -> dict[str, object]:
    mac, _, text = said.partition(" ")
    assert mac == hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    found: dict[str, object] = json.loads(text)
    return found


def test_without_a_key_nothing_is_told(tmp_path: Path) -> None:
    loaded = settings(tmp_path, "https://idp.example")
    assert pass_on(loaded) is None and key_of(loaded, loaded.settings.databases[0]) is None


def test_with_one_everything_is_and_the_database_has_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "person-key").write_text(KEY.hex())
    loaded = settings(tmp_path, "https://idp.example", keys='person = "file:person-key"')
    tell = pass_on(loaded)
    assert tell is not None
    [(name, said)] = tell(TARGET, BOB, "session-1", 40_000).items()
    key = database_key(KEY, "main", "upstream")
    found = claims(said, key)
    assert name == "taprail.person" and abs(int(str(found.pop("time"))) / 1e6 - time.time()) < 5
    assert found == {
        "person": "bob", "name": "Bob", "kind": "agent", "groups": ["agents"], "on_behalf_of": "ann", "via": "superset",
        "session": "session-1", "port": 40_000,
    }  # fmt: skip
    assert key_of(loaded, loaded.settings.databases[0]) == database_key(KEY, "main", "postgres")
    assert claims(tell(TARGET, BOB, "s", 0)[name], key)["port"] is None, "a Unix socket has none"


def test_behind_something_that_changes_ports_it_names_none(tmp_path: Path) -> None:
    (tmp_path / "person-key").write_text(KEY.hex())
    settings(tmp_path, "https://idp.example", keys='person = "file:person-key"')
    file = tmp_path / "taprail.toml"
    file.write_text(file.read_text().replace('tls = "disable"', 'tls = "disable"\nperson_binding = "time"'))
    tell = pass_on(load(file))
    assert tell is not None
    assert "port" not in claims(tell(TARGET, BOB, "s", 40_000)["taprail.person"], database_key(KEY, "main", "upstream"))


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "person-key").write_text("abcd")
    with pytest.raises(TaprailError, match=r"keys\.person"):
        pass_on(settings(tmp_path, "https://idp.example", keys='person = "file:person-key"'))


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_two_databases_never_share_a_key(server: str, database: str, other: str, another: str) -> None:
    same = (server, database) == (other, another)
    assert (database_key(KEY, server, database) == database_key(KEY, other, another)) is same


@given(st.text(max_size=50), st.lists(st.text(max_size=50), max_size=5))
def test_whatever_a_person_is_called_the_text_is_ascii_and_comes_back(name: str, groups: list[str]) -> None:
    person = Person(name, name, "person", tuple(groups))
    said = value(KEY, person, "s", 1, 2)
    assert said.isascii() and said.isprintable()
    assert (claims(said, KEY)["person"], claims(said, KEY)["groups"]) == (name, groups)
