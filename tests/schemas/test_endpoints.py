"""Endpoints: passwords reach clients and files of mode 0600, never a representation."""

from __future__ import annotations

from pathlib import Path

import pytest

from taprail.schemas.endpoints import (
    ConnectEndpoint,
    Endpoints,
    KafkaEndpoint,
    PostgresEndpoint,
    read_endpoints,
    write_endpoints,
)
from taprail.schemas.errors import SettingsError

SECRET = "s3cret/@:"
ENDPOINTS = Endpoints(
    kafka=KafkaEndpoint("127.0.0.1:9092", {"tap": SECRET}),
    postgres=PostgresEndpoint("127.0.0.1", 5432, "postgres", SECRET),
    connect=ConnectEndpoint("http://127.0.0.1:8083", "taprail", SECRET),
    registry_url="http://127.0.0.1:8080",
    issuer_url="http://127.0.0.1:9400",
    psql="/usr/bin/psql",
)


def test_no_representation_shows_a_password() -> None:
    for value in (ENDPOINTS, ENDPOINTS.kafka, ENDPOINTS.postgres, ENDPOINTS.connect):
        assert SECRET not in f"{value!r} {value}"


def test_written_privately_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    write_endpoints(path, ENDPOINTS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_endpoints(path) == ENDPOINTS


def test_client_config_signs_in_as_the_role() -> None:
    config = ENDPOINTS.kafka.client_config("tap")
    assert (config["sasl.username"], config["sasl.password"]) == ("tap", SECRET)
    with pytest.raises(SettingsError, match="stream"):
        ENDPOINTS.kafka.client_config("stream")


def test_dsn_quotes_the_password() -> None:
    assert ENDPOINTS.postgres.dsn("a b") == "postgresql://postgres:s3cret%2F%40%3A@127.0.0.1:5432/a%20b"


def test_missing_or_foreign_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not there"):
        read_endpoints(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"kafka": 1}')
    with pytest.raises(SettingsError, match="doesn't describe"):
        read_endpoints(tmp_path / "other.json")
