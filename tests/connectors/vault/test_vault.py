"""Secrets from Vault: the right one, from the right place, and a clear word where it can't be had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taprail.connectors import vault as vault_module
from taprail.connectors.vault import Login, Vault
from taprail.schemas.errors import SettingsError, StackError
from tests.fakes.vault import JWT, ROLE_ID, SECRET_ID, TOKEN, FakeVault, version_2

BY_TOKEN = Login("token", lambda: TOKEN)
PASSWORD = "kept-in-vault-4711"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    monkeypatch.setattr(vault_module, "WAIT_SECONDS", 0.001)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody else is asked
    with FakeVault() as fake:
        fake.secrets["secret/data/shop"] = version_2(password=PASSWORD, username="app")
        fake.secrets["kv/shop"] = {"password": PASSWORD, "ttl": 3600}
        fake.secrets["database/static-creds/app"] = {"username": "app", "password": PASSWORD, "data": "no document"}
        yield fake


@pytest.mark.parametrize("path", ["secret/data/shop", "kv/shop", "database/static-creds/app"])
def test_a_field_of_either_version_and_of_any_engine(server: FakeVault, path: str) -> None:
    assert Vault(server.address, BY_TOKEN).read(f"{path}#password", "x") == PASSWORD


def test_a_path_is_read_once_and_a_new_one_reads_again(server: FakeVault) -> None:
    vault = Vault(server.address + "/", BY_TOKEN)
    assert (vault.read("secret/data/shop#password", "x"), vault.read("secret/data/shop#username", "x")) == (
        PASSWORD,
        "app",
    )
    assert server.asked == [("GET", "secret/data/shop")]
    server.secrets["secret/data/shop"] = version_2(password="rotated")
    assert vault.read("secret/data/shop#password", "x") == PASSWORD
    assert Vault(server.address, BY_TOKEN).read("secret/data/shop#password", "x") == "rotated"


@pytest.mark.parametrize(
    "login",
    [
        Login("approle", lambda: SECRET_ID, role=ROLE_ID),
        Login("kubernetes", lambda: JWT, mount="k8s", role="taprail"),
    ],
)
def test_it_signs_in_and_again_where_the_token_has_ended(server: FakeVault, login: Login) -> None:
    vault = Vault(server.address, login)
    assert vault.read("kv/shop#password", "x") == PASSWORD
    server.tokens.clear()
    assert vault.read("secret/data/shop#password", "x") == PASSWORD
    assert [path for method, path in server.asked if method == "POST"] == [f"auth/{login.mount or 'approle'}/login"] * 2


def test_a_namespace_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeVault("team-a") as server:
        server.secrets["kv/shop"] = {"password": PASSWORD}
        assert Vault(server.address, BY_TOKEN, namespace="team-a").read("kv/shop#password", "x") == PASSWORD
        with pytest.raises(SettingsError, match="lets taprail not read kv/shop"):
            Vault(server.address, BY_TOKEN).read("kv/shop#password", "x")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("secret/data/nothing#password", "nothing at secret/data/nothing"),
        ("secret/data/shop#passwort", "no text 'passwort'"),
        ("kv/shop#ttl", "no text 'ttl'"),
        ("secret/data/denied#password", "not read secret/data/denied"),
        ("secret/data/shop", "no place in Vault"),
        ("../sys/seal#password", "no place in Vault"),
        ("secret/../sys#password", "no place in Vault"),
        ("kv/shop?x=1#password", "no place in Vault"),
    ],
)
def test_what_cannot_be_had_names_the_setting_and_shows_no_secret(server: FakeVault, reference: str, says: str) -> None:
    server.denied.add("secret/data/denied")
    with pytest.raises(SettingsError, match=r"databases\.prod\.catalog_password: ") as raised:
        Vault(server.address, BY_TOKEN).read(reference, "databases.prod.catalog_password")
    told = f"{raised.value} {raised.value.hint}"
    assert says in told and PASSWORD not in told and TOKEN not in told


def test_a_wrong_secret_is_refused_and_not_shown(server: FakeVault) -> None:
    with pytest.raises(SettingsError, match="refuses the sign-in by approle") as raised:
        Vault(server.address, Login("approle", lambda: "wrong-4712", role=ROLE_ID)).read("kv/shop#password", "x")
    assert "4712" not in f"{raised.value} {raised.value.hint}"


def test_a_busy_server_is_asked_again_and_given_up(server: FakeVault) -> None:
    server.busy = (2, 503)
    assert Vault(server.address, BY_TOKEN).read("kv/shop#password", "x") == PASSWORD
    server.busy = (3, 503)
    with pytest.raises(StackError, match="Vault is sealed"):
        Vault(server.address, BY_TOKEN).read("kv/shop#password", "x")


def test_nobody_at_the_address(server: FakeVault) -> None:
    with pytest.raises(StackError, match="doesn't answer"):
        Vault("http://127.0.0.1:9", BY_TOKEN).read("kv/shop#password", "x")


@pytest.mark.parametrize("address", ["http://vault.example.com:8200", "vault:8200", "ftp://vault", "https://"])
def test_a_token_crosses_no_network_in_the_clear(address: str) -> None:
    with pytest.raises(SettingsError, match=r"vault\.address"):
        Vault(address, BY_TOKEN)
