"""`taprail login`, `token`, `connect`, `logout`: as a person uses them, against a provider over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taprail.connectors.oidc.device import Client, Granted
from taprail.connectors.oidc.kept import Kept, path_of, read, write
from taprail.schemas.errors import SettingsError
from taprail.streams.cli import main
from taprail.streams.commands.connect import environment_of
from tests.fakes.provider import FakeProvider

SHOW = "import json, os, sys; print(json.dumps({'environment': dict(os.environ), 'arguments': sys.argv[1:]}))"


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with FakeProvider() as server:
        server.device_answer = {"interval": 1}
        yield server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def login(provider: FakeProvider, *arguments: str, **claims: object) -> Result:
    """Sign in, while somebody at a browser does as well."""

    def browser() -> None:
        while not provider.devices:
            time.sleep(0.01)
        for device in provider.devices.values():
            device.interval, device.claims = 1.0, {"sub": "ann", **claims}

    person = threading.Thread(target=browser)
    person.start()
    answer = run("login", *arguments)
    person.join()
    return answer


def keep(provider: FakeProvider, expires_in: float, refresh_token: str = "") -> None:
    granted = Granted(provider.token(sub="ann"), time.time() + expires_in, refresh_token)
    write(path_of("default"), Kept(Client(provider.url, "cli"), granted, host="127.0.0.1", sslmode="prefer"))


def test_from_login_to_logout(provider: FakeProvider) -> None:
    answer = login(provider, "--issuer", provider.url, "--client-id", "cli", preferred_username="ann@example.com")
    assert answer.exit_code == 0 and answer.stdout == ""
    assert f"{provider.url}/activate?user_code=WDJB-MJHT" in answer.stderr and "WDJB-MJHT" in answer.stderr
    assert "signed in as ann@example.com, until " in answer.stderr
    kept = read(path_of("default"))
    assert kept is not None and kept.client.client_id == "cli" and kept.sslmode == "prefer"
    assert kept.granted.access_token not in answer.output
    token = run("token")
    assert (token.exit_code, token.stdout) == (0, kept.granted.access_token + "\n")
    assert run("logout").exit_code == 0
    assert provider.revoked == [kept.granted.refresh_token]
    assert not path_of("default").exists()
    gone = run("token")
    assert gone.exit_code == 1 and "nobody is signed in" in gone.output and "taprail login" in gone.output
    assert "nobody was signed in" in run("logout").output


def test_the_next_login_is_as_the_last_one_but_for_what_is_given(provider: FakeProvider) -> None:
    first = ("--issuer", provider.url, "--client-id", "cli", "--host", "tap.example.com", "--ca-file", "system")
    assert login(provider, *first).exit_code == 0
    assert login(provider, "--port", "7000").exit_code == 0
    kept = read(path_of("default"))
    assert kept is not None
    assert (kept.client.client_id, kept.host, kept.port, kept.sslmode) == (
        "cli",
        "tap.example.com",
        7000,
        "verify-full",
    )
    assert kept.ca_file == "system"
    assert login(provider, "--host", "127.0.0.1").exit_code == 0
    again = read(path_of("default"))
    assert again is not None and again.sslmode == "prefer"
    assert login(provider, "--host", "tap.example.com").exit_code == 0
    away = read(path_of("default"))
    assert away is not None and away.sslmode == "verify-full", "what was fit for this machine isn't for another"


def test_who_never_said_which_provider_is_asked(provider: FakeProvider) -> None:
    answer = run("login")
    assert answer.exit_code == 1 and "which identity provider?" in answer.output
    answer = run("login", "--issuer", "http://idp.example.com")
    assert answer.exit_code == 1 and "https" in answer.output


def test_an_old_token_is_refreshed_once_however_many_ask(provider: FakeProvider) -> None:
    provider.refresh_tokens["first"] = {"sub": "ann"}
    keep(provider, 30.0, "first")
    command = [sys.executable, "-m", "taprail.streams.cli", "token"]
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {each.communicate(timeout=60)[0] for each in asked}
    assert len(answers) == 1 and answers != {""}, "the first refreshes, the others read what it got"
    assert "first" not in provider.refresh_tokens


def test_an_old_token_without_a_refresh_token_is_the_end(provider: FakeProvider) -> None:
    keep(provider, 30.0)
    answer = run("token")
    assert answer.exit_code == 1 and "the sign-in has ended" in answer.output and provider.requests == 0
    keep(provider, -1.0, "used before")
    answer = run("connect", "prod", "--", "true")
    assert answer.exit_code == 1 and "the sign-in has ended: invalid_grant" in answer.output


def test_a_provider_that_is_away_stops_nobody_whose_token_still_holds(provider: FakeProvider) -> None:
    keep(provider, 30.0, "refresh")
    provider.fail_next(9, 503)
    answer = run("token")
    assert answer.exit_code == 0 and answer.stdout.count(".") == 2
    keep(provider, -1.0, "refresh")
    provider.fail_next(9, 503)
    answer = run("token")
    assert answer.exit_code == 1 and "try again" in answer.output


def test_who_gets_an_opaque_token_is_told(provider: FakeProvider) -> None:
    provider.token_answer = 200, b'{"access_token": "opaque", "token_type": "Bearer", "expires_in": 60}'
    answer = login(provider, "--issuer", provider.url)
    assert answer.exit_code == 0 and "isn't a JWT" in answer.output and "no refresh token" in answer.output


def test_a_client_finds_the_token_in_its_environment_and_nowhere_else(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(provider, 600.0)
    for name in ("PGSERVICE", "PGHOSTADDR", "PGHOST", "PGSSLROOTCERT", "PGREQUIREAUTH"):
        monkeypatch.setenv(name, "elsewhere")
    command = ["connect", "prod", "--", sys.executable, "-c", SHOW, "-h", "--profile", "x", "a b"]
    answer = subprocess.run(
        [sys.executable, "-m", "taprail.streams.cli", *command], capture_output=True, text=True, check=True
    )
    shown = json.loads(answer.stdout)
    environment = shown["environment"]
    assert shown["arguments"] == ["-h", "--profile", "x", "a b"], "the client's own options are its own"
    kept = read(path_of("default"))
    assert kept is not None
    token = kept.granted.access_token
    assert [name for name, value in environment.items() if token in value] == ["PGPASSWORD"]
    libpq = {name: value for name, value in environment.items() if name.startswith("PG") and value != token}
    assert libpq == {
        "PGHOST": "127.0.0.1",
        "PGPORT": "6432",
        "PGUSER": "ann",
        "PGDATABASE": "prod",
        "PGSSLMODE": "prefer",
    }


def test_a_client_that_isnt_there(provider: FakeProvider) -> None:
    keep(provider, 600.0)
    answer = run("connect", "prod", "--", "no-such-program")
    assert answer.exit_code == 1 and "can't run no-such-program" in answer.output


def test_a_token_that_names_nobody_needs_a_user() -> None:
    kept = Kept(Client("https://idp.example", "cli"), Granted("opaque"), ca_file="/ca.pem")
    with pytest.raises(SettingsError, match="who you are"):
        environment_of(kept, "prod", "", {})
    environment = environment_of(kept, "prod", "ann", {"PGSSLROOTCERT": "other", "HOME": "/home/ann"})
    assert environment["PGSSLROOTCERT"] == "/ca.pem" and environment["PGSSLMODE"] == "verify-full"
    assert environment["HOME"] == "/home/ann"
