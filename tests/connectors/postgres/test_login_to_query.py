"""The whole way of a person: `taprail login` with a browser, `taprail connect` with the real psql, through a tap."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taprail.connectors.oidc.kept import path_of, read
from taprail.streams.signin import SignIn
from tests.fakes.certificates import certificate
from tests.fakes.provider import FakeProvider
from tests.fakes.sign_in import settings

CLI = [sys.executable, "-m", "taprail.streams.cli"]


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with FakeProvider() as server:
        server.device_answer = {"interval": 1}
        yield server


def test_from_the_browser_to_a_row(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> None:
    context = certificate(tmp_path, "localhost")
    tap = beds(authenticator=SignIn(settings(tmp_path, provider.url)), plaintext_tokens=False, tls=context)
    where = ["--host", "localhost", "--port", str(tap.port), "--ca-file", str(tmp_path / "localhost.pem")]
    login = subprocess.Popen(
        [*CLI, "login", "--issuer", provider.url, *where, "--sslmode", "verify-full"], stderr=subprocess.PIPE, text=True
    )
    tap.settle(lambda: provider.devices)
    [device] = provider.devices.values()
    device.interval, device.claims = 1.0, {"sub": "00u1", "email": "ann@example.com"}
    _, said = login.communicate(timeout=30)
    assert login.returncode == 0 and "signed in as ann@example.com" in said
    asked = [*CLI, "connect", "postgres", "--", "psql", "-XAtw", "-c", "SELECT 6 * 7"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, "42\n"), answer.stderr
    (event, session, _), *_ = tap.recorder.sessions
    assert (event, session.method, session.person.subject) == ("opened", "oidc", "00u1")
    kept = read(path_of("default"))
    assert kept is not None and kept.granted.access_token not in said + answer.stderr


def test_the_token_goes_to_nobody_but_the_tap(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> None:
    """Another server answers under the tap's name: its certificate isn't the tap's, so it gets nothing."""
    (tmp_path / "other").mkdir()
    certificate(tmp_path, "localhost")
    impostor = beds(
        authenticator=SignIn(settings(tmp_path, provider.url)), tls=certificate(tmp_path / "other", "localhost")
    )
    login = subprocess.Popen(
        [*CLI, "login", "--issuer", provider.url, "--host", "localhost", "--port", str(impostor.port),
         "--ca-file", str(tmp_path / "localhost.pem"), "--sslmode", "verify-full"], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    impostor.settle(lambda: provider.devices)
    [device] = provider.devices.values()
    device.interval, device.claims = 1.0, {"sub": "ann"}
    assert login.wait(30) == 0
    answer = subprocess.run(
        [*CLI, "connect", "postgres", "--", "psql", "-c", "SELECT 1"], capture_output=True, timeout=60
    )
    assert answer.returncode == 2 and b"certificate verify failed" in answer.stderr
    time.sleep(0.1)
    assert impostor.recorder.sessions == []
