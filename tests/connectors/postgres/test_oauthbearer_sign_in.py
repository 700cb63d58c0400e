"""OAUTHBEARER with a tap: by hand at the wire, and with the real libpq 18, which asks its program for the token."""

from __future__ import annotations

import ctypes
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.streams.signin import SignIn
from tests.fakes.certificates import certificate
from tests.fakes.provider import FakeProvider
from tests.fakes.sign_in import settings

RULES = """
[[sign_in]]
users = ["classic"]
method = "password"
[[sign_in]]
databases = ["post*"]
method = "oauth"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def tap(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> Any:
    loaded = settings(
        tmp_path, provider.url, identity='scope = "openid database"\ndevice_claim = "deviceid"', more=RULES
    )
    return beds(authenticator=SignIn(loaded))


class Client:
    """The first messages of a client, by hand."""

    def __init__(self, tap: Any, user: str = "ann", database: str = "postgres") -> None:
        self.socket = socket.create_connection(("127.0.0.1", tap.port), timeout=10)
        self.inbox = wire.Inbox()
        self.waiting: list[tuple[int, bytes]] = []
        self.socket.sendall(startup.startup_packet({"user": user, "database": database}))

    def next(self) -> tuple[str, bytes] | None:
        while not self.waiting:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.waiting = wire.split(self.inbox, data, lambda _: 1 << 20)
        kind, body = self.waiting.pop(0)
        return chr(kind), body

    def answer(self, body: bytes) -> tuple[str, bytes] | None:
        self.socket.sendall(wire.message(wire.PASSWORD, body))
        return self.next()

    def begin(self, response: bytes, mechanism: bytes = b"OAUTHBEARER") -> tuple[str, bytes] | None:
        assert self.next() == ("R", (10).to_bytes(4, "big") + b"OAUTHBEARER\0\0")
        return self.answer(mechanism + b"\0" + len(response).to_bytes(4, "big") + response)


def fields(found: tuple[str, bytes] | None) -> dict[str, str]:
    assert found is not None and found[0] == "E"
    return wire.parse_fields(found[1])


def bearer(token: str) -> bytes:
    return b"n,,\x01auth=Bearer " + token.encode() + b"\x01\x01"


def test_a_good_token_opens_a_session(tap: Any, provider: FakeProvider) -> None:
    client = Client(tap)
    token = provider.token(deviceid="laptop-7")
    assert client.begin(bearer(token)) == ("R", bytes(4)), "AuthenticationOk, with nothing between"
    tap.settle(lambda: tap.recorder.sessions)
    [(event, context, _)] = tap.recorder.sessions
    assert (event, context.method, context.person.subject) == ("opened", "oidc", "ann")
    assert context.device == "laptop-7"


def test_who_has_no_token_learns_where_to_get_one_and_nobody_was_refused(tap: Any, provider: FakeProvider) -> None:
    client = Client(tap)
    found = client.begin(b"n,,\x01auth=\x01\x01")
    assert found is not None and found[0] == "R" and found[1][:4] == (11).to_bytes(4, "big")
    assert json.loads(found[1][4:]) == {
        "status": "invalid_token",
        "openid-configuration": f"{provider.url}/.well-known/openid-configuration",
        "scope": "openid database",
    }
    error = fields(client.answer(b"\x01"))
    assert (error["S"], error["C"]) == ("FATAL", "28000") and client.next() is None
    assert tap.recorder.sessions == [], "no refusal that an alarm would count"


def test_a_token_that_doesnt_hold_is_refused_and_recorded(tap: Any, provider: FakeProvider) -> None:
    client = Client(tap)
    found = client.begin(bearer(provider.token(exp=int(time.time()) - 100)))
    assert found is not None and json.loads(found[1][4:])["status"] == "invalid_token"
    assert "expired" in fields(client.answer(b"\x01"))["M"]
    [(event, context, reason)] = tap.recorder.sessions
    assert (event, context.method, reason) == ("refused", "none", "the token has expired")


def test_somebody_elses_token_is_refused(tap: Any, provider: FakeProvider) -> None:
    client = Client(tap, user="bob")
    client.begin(bearer(provider.token()))
    assert "asks for user 'bob'" in fields(client.answer(b"\x01"))["M"]


@pytest.mark.parametrize("after", [b"", b"\x01\x01", b"n,,\x01auth=Bearer a.good.token\x01\x01"])
def test_nothing_but_the_dummy_follows_a_refusal(tap: Any, after: bytes) -> None:
    client = Client(tap)
    client.begin(bearer("not.a.token"))
    assert fields(client.answer(after))["C"] == "08P01" and client.next() is None


@pytest.mark.parametrize(
    ("response", "mechanism"),
    [
        (b"n,,auth=Bearer x\x01\x01", b"OAUTHBEARER"),
        (b"n,a=root,\x01auth=Bearer x\x01\x01", b"OAUTHBEARER"),
        (b"n,,n=,r=abc", b"SCRAM-SHA-256"),
        (b"n,,\x01auth=Bearer x\x01\x01", b"OAUTHBEARER-PLUS"),
    ],
)
def test_malformed_messages_and_other_mechanisms_end_it(tap: Any, response: bytes, mechanism: bytes) -> None:
    client = Client(tap)
    assert fields(client.begin(response, mechanism))["C"] == "08P01" and client.next() is None


def test_lengths_that_lie_and_messages_that_are_too_large(tap: Any) -> None:
    for said in (-1, 0, 3, 2**31 - 1):
        client = Client(tap)
        client.next()
        found = client.answer(b"OAUTHBEARER\0" + said.to_bytes(4, "big", signed=True) + b"n,,\x01auth=\x01\x01")
        assert fields(found)["C"] == "08P01", said
    client = Client(tap)
    client.next()
    client.socket.sendall(wire.HEAD.pack(wire.PASSWORD, 1 << 20))
    assert fields(client.next())["C"] == "08P01", "refused by its length, before it is there"
    huge = Client(tap)
    found = huge.begin(bearer("x" * 40_000))
    assert found is not None and found[0] == "R"
    assert "refused unread" in fields(huge.answer(b"\x01"))["M"]


def test_a_client_that_closes_in_the_middle_leaves_nothing(tap: Any) -> None:
    client = Client(tap)
    client.begin(b"n,,\x01auth=\x01\x01")
    client.socket.close()
    tap.settle(lambda: not tap.proxy._arriving)
    assert tap.recorder.sessions == []


def test_the_rule_is_by_user_and_by_database(tap: Any, provider: FakeProvider) -> None:
    assert Client(tap, user="classic").next() == ("R", (3).to_bytes(4, "big"))
    assert Client(tap, database="another").next() == ("R", (3).to_bytes(4, "big"))
    assert Client(tap).next() == ("R", (10).to_bytes(4, "big") + b"OAUTHBEARER\0\0")


def test_without_tls_no_token_is_asked_for(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> None:
    tap = beds(
        authenticator=SignIn(settings(tmp_path, provider.url, more=RULES)),
        plaintext_tokens=False,
        tls=certificate(tmp_path, "localhost"),
    )
    assert "needs TLS" in fields(Client(tap).next())["M"]


# libpq 18 -------------------------------------------------------------------------------------------------------------


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest: libpq-fe.h of PostgreSQL 18."""


FETCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(BearerRequest), ctypes.c_void_p)
CLEANUP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(BearerRequest))
HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(BearerRequest))
BearerRequest._fields_ = [
    ("openid_configuration", ctypes.c_char_p),
    ("scope", ctypes.c_char_p),
    ("fetch", FETCH),
    ("cleanup", CLEANUP),
    ("token", ctypes.c_char_p),
    ("user", ctypes.c_void_p),
]
_BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN


class Libpq:
    """psycopg's own libpq 18, through its C interface: it has the hook for tokens, whatever it was built with."""

    def __init__(self) -> None:
        [path] = Path(psycopg.__file__).parent.parent.glob("psycopg_binary.libs/libpq-*.so.5.18")
        self.library = ctypes.CDLL(str(path))
        self.library.PQconnectdb.restype = self.library.PQexec.restype = ctypes.c_void_p
        self.library.PQgetAuthDataHook.restype = ctypes.c_void_p
        for name in ("PQerrorMessage", "PQgetvalue"):
            getattr(self.library, name).restype = ctypes.c_char_p
        self.asked: list[tuple[str, str]] = []
        self.token = b""
        self._hook = HOOK(self._answer)

    def _answer(self, kind: int, _: int, request: Any) -> int:
        if kind != _BEARER_TOKEN:
            return 0
        wanted = request.contents
        self.asked.append((wanted.openid_configuration.decode(), (wanted.scope or b"").decode()))
        wanted.token = self.token
        return 1

    def ask(self, conninfo: str, query: str) -> tuple[str, str]:
        """(value, error) of a query on a new connection."""
        library = self.library
        before = ctypes.c_void_p(library.PQgetAuthDataHook())
        library.PQsetAuthDataHook(self._hook)
        connection = ctypes.c_void_p(library.PQconnectdb(conninfo.encode()))
        try:
            if library.PQstatus(connection) != 0:
                return "", library.PQerrorMessage(connection).decode()
            result = ctypes.c_void_p(library.PQexec(connection, query.encode()))
            value = library.PQgetvalue(result, 0, 0).decode()
            library.PQclear(result)
            return value, ""
        finally:
            library.PQfinish(connection)
            library.PQsetAuthDataHook(before)


@pytest.fixture
def secure(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> Any:
    """A tap whose tokens want TLS, and whose provider has the https address that libpq insists on."""
    sign_in = SignIn(settings(tmp_path, provider.url, identity='scope = "openid database"', more=RULES))
    sign_in._provider = settings(
        tmp_path, "https://idp.example", identity='scope = "openid database"', more=RULES
    ).settings.identity
    context = certificate(tmp_path, "localhost")
    assert isinstance(context, ssl.SSLContext)
    return beds(authenticator=sign_in, plaintext_tokens=False, tls=context)


def conninfo(tap: Any, tmp_path: Path) -> str:
    return psycopg.conninfo.make_conninfo(
        host="localhost", hostaddr="127.0.0.1", port=tap.port, user="ann", dbname="postgres",
        sslmode="verify-full", sslrootcert=str(tmp_path / "localhost.pem"), require_auth="oauth",
        oauth_issuer="https://idp.example", oauth_client_id="psql",
    )  # fmt: skip


def test_libpq_18_discovers_fetches_and_signs_in_by_itself(secure: Any, provider: FakeProvider, tmp_path: Path) -> None:
    libpq = Libpq()
    libpq.token = provider.token().encode()
    assert libpq.ask(conninfo(secure, tmp_path), "SELECT 6 * 7") == ("42", "")
    assert libpq.asked == [("https://idp.example/.well-known/openid-configuration", "openid database")]
    assert next((event, context.method) for event, context, _ in secure.recorder.sessions) == ("opened", "oidc")


def test_libpq_18_says_why_a_token_was_refused(secure: Any, provider: FakeProvider, tmp_path: Path) -> None:
    libpq = Libpq()
    libpq.token = provider.token(aud="another").encode()
    value, error = libpq.ask(conninfo(secure, tmp_path), "SELECT 1")
    assert value == "" and "the token isn't for 'taprail' (aud)" in error
    assert libpq.token.decode() not in error
