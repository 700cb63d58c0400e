"""The connector's configuration: what may never change unnoticed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.debezium.connector import connector_config, slot_name
from taprail.schemas.errors import SettingsError


def config(server: str = "main", database: str = "prod") -> dict[str, str]:
    return connector_config(
        server=server,
        database=database,
        host="db",
        port=5432,
        user="feed",
        password="secret",
        registry_url="http://registry",
    )


def test_every_change_is_decoded_and_no_value_is_snapshotted() -> None:
    settings = config()
    assert settings["skipped.operations"] == "none"
    assert settings["snapshot.mode"] == "no_data"
    assert settings["provide.transaction.metadata"] == "true"
    assert settings["message.prefix.include.list"] == "taprail,taprail-ddl"


def test_both_sides_are_avro_in_confluents_framing() -> None:
    settings = config()
    for side in ("key", "value"):
        assert settings[f"{side}.converter"].endswith(".AvroConverter")
        assert settings[f"{side}.converter.apicurio.registry.as-confluent"] == "true"
        assert settings[f"{side}.converter.apicurio.registry.use-id"] == "contentId"


@given(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True))
def test_everything_of_a_database_goes_to_its_one_topic(server: str, database: str) -> None:
    settings = config(server, database)
    route = re.compile(settings["transforms.route.regex"])
    prefix = settings["topic.prefix"]
    heartbeat = f"{settings['topic.heartbeat.prefix']}.{prefix}"
    for topic in (f"{prefix}.public.customers", f"{prefix}.message", f"{prefix}.transaction", heartbeat):
        assert route.fullmatch(topic)
    assert settings["transforms.route.replacement"] == f"cdc.{server}.{database}"
    assert not route.fullmatch(f"x{prefix}.message")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a$1", "a/b", "ä", "x" * 64])
def test_a_name_that_cannot_stand_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        config(server=name)
    with pytest.raises(SettingsError):
        config(database=name)


@given(st.text(min_size=1, max_size=80))
def test_slot_names_are_what_postgresql_takes(database: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,63}", slot_name(database))
