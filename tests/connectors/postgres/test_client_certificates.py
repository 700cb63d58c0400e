"""Client certificates: whom one proves, whom it doesn't, and what no CA of ours has signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from taprail.connectors.postgres.certificates import expires_us, fingerprint, name_of, names_in
from taprail.schemas.errors import SettingsError
from taprail.streams.signin import SignIn
from taprail.streams.tap_listen import server_context
from tests.fakes.certificates import certificate
from tests.fakes.client_certificates import Authority
from tests.fakes.provider import FakeProvider
from tests.fakes.sign_in import settings

LISTED = """
[[certificates]]
name = "cn:reports"
user = "reports"
groups = ["analysts"]
[[certificates]]
name = "dns:Etl.Example.com"
user = "etl"
[[certificates]]
name = "uri:spiffe://example.com/agent"
user = "robot"
kind = "agent"
[[certificates]]
name = "email:Ann@example.com"
user = "ann"
kind = "person"
subject = "00u-ann"
groups = ["engineers"]
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def make(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> Callable[..., Any]:
    """A tap with these settings, and TLS."""

    def made(tap: str = 'client_ca_file = "authority.pem"', identity: str = "") -> Any:
        certificate(tmp_path, "localhost")
        loaded = settings(tmp_path, provider.url, tap=tap, more=LISTED, identity=identity)
        context = server_context(loaded, "localhost.pem", "localhost.key", "tap")
        return beds(authenticator=SignIn(loaded), plaintext_tokens=False, tls=context)

    return made


def connect(tap: Any, user: str, password: str = "", **files: str) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = tap.connect(user, password, sslmode="require", **files)
    return connection


def email(address: str) -> list[x509.GeneralName]:
    return [x509.RFC822Name(address)]


def test_each_kind_of_name_proves_its_user(
    make: Callable[..., Any], authority: Authority, provider: FakeProvider
) -> None:
    tap = make()
    shown = {
        "reports": authority.client("reports")[1],
        "etl": authority.client("anything", [x509.DNSName("ETL.example.COM")])[1],
        "robot": authority.client("x", [x509.UniformResourceIdentifier("spiffe://example.com/agent")])[1],
        "ann": authority.client("x", email("Ann@EXAMPLE.com"))[1],
    }
    for user, files in shown.items():
        with connect(tap, user, **files) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    opened = [context for event, context, _ in tap.recorder.sessions if event == "opened"]
    assert {context.method for context in opened} == {"certificate"}
    certificates = {user: x509.load_pem_x509_certificate(Path(shown[user]["sslcert"]).read_bytes()) for user in shown}
    assert {c.person.name: c.device for c in opened} == {
        user: f"sha256:{each.fingerprint(hashes.SHA256()).hex()}" for user, each in certificates.items()
    }
    found = {c.person.name: (c.person.subject, c.person.kind, c.person.groups, c.person.issuer) for c in opened}
    assert found == {
        "reports": ("reports", "service", ("analysts",), "taprail"),
        "etl": ("etl", "service", (), "taprail"),
        "robot": ("robot", "agent", (), "taprail"),
        "ann": ("00u-ann", "person", ("engineers",), provider.url),
    }


def test_a_name_that_isnt_the_user_is_refused(make: Callable[..., Any], authority: Authority) -> None:
    tap = make()
    _, files = authority.client("reports")
    for user in ("etl", "ann", "Reports", "reports ", "trusted"):
        with pytest.raises(psycopg.OperationalError, match="the certificate is for user 'reports', but"):
            connect(tap, user, "a password", **files)
    assert [event for event, _, _ in tap.recorder.sessions] == ["refused"] * 5


def test_a_name_counts_only_where_it_stands(make: Callable[..., Any], authority: Authority) -> None:
    """A host called like a service, or a common name like a person's address, proves nobody: a token is asked for."""
    tap = make()
    for user, files in {
        "reports": authority.client("x", [x509.DNSName("reports")])[1],
        "ann": authority.client("Ann@example.com")[1],
        "etl": authority.client("Etl.Example.com")[1],
        "robot": authority.client("uri:spiffe://example.com/agent")[1],
    }.items():
        with pytest.raises(psycopg.OperationalError, match="not an access token"):
            connect(tap, user, "a password", **files)


def test_who_shows_an_unlisted_certificate_or_none_is_asked_like_anybody(
    make: Callable[..., Any], authority: Authority, provider: FakeProvider
) -> None:
    tap = make()
    for files in ({}, authority.client("laptop-17")[1]):
        with connect(tap, "ann", provider.token(), **files) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert {context.method for _, context, _ in tap.recorder.sessions} == {"oidc"}
    with pytest.raises(psycopg.OperationalError, match="not an access token"):
        connect(tap, "reports", "a password")


def test_what_our_ca_hasnt_signed_for_clients_ends_tls(
    make: Callable[..., Any], authority: Authority, tmp_path: Path
) -> None:
    tap = make()
    for files in (
        Authority(tmp_path, "stranger").client("reports")[1],
        authority.client("reports", days=-1.0)[1],
        authority.client("reports", usage=ExtendedKeyUsageOID.SERVER_AUTH)[1],
    ):
        with pytest.raises(psycopg.OperationalError):
            connect(tap, "reports", **files)
    assert tap.recorder.sessions == []


def test_without_a_ca_no_certificate_is_believed(
    beds: Callable[..., Any], authority: Authority, provider: FakeProvider, tmp_path: Path
) -> None:
    sign_in = SignIn(settings(tmp_path, provider.url, tap='client_ca_file = "authority.pem"', more=LISTED))
    tap = beds(authenticator=sign_in, plaintext_tokens=False, tls=certificate(tmp_path, "localhost"))
    with pytest.raises(psycopg.OperationalError, match="not an access token"):
        connect(tap, "reports", "a password", **authority.client("reports")[1])


def test_what_is_revoked_ends_tls(make: Callable[..., Any], authority: Authority) -> None:
    (gone, files), (_, good) = authority.client("reports"), authority.client("reports")
    authority.revocations(gone)
    tap = make('client_ca_file = "authority.pem"\nclient_crl_file = "revoked.pem"')
    with pytest.raises(psycopg.OperationalError):
        connect(tap, "reports", **files)
    with connect(tap, "reports", **good) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_session_ends_with_its_certificate(make: Callable[..., Any], authority: Authority) -> None:
    tap = make(identity="leeway_seconds = 0")
    _, files = authority.client("reports", days=2.5 / 86_400)
    with connect(tap, "reports", **files) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        time.sleep(3)
        with pytest.raises(psycopg.errors.AdminShutdown, match="has expired"):
            connection.execute("SELECT 1")


def test_names_as_openssl_gives_them() -> None:
    verified = {
        "subject": ((("organizationName", "X"),), (("commonName", "a"), ("commonName", "b"))),
        "subjectAltName": (("DNS", "H.example"), ("email", "A@H.example"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://A")),
        "notAfter": "Jan  1 00:00:00 2030 GMT",
    }  # fmt: skip
    assert names_in(verified) == ("cn:a", "cn:b", "dns:h.example", "email:A@h.example", "uri:spiffe://A")
    assert expires_us(verified) == 1_893_456_000_000_000
    assert names_in(None) == names_in({}) == () and expires_us({}) == expires_us(None) == 0
    assert fingerprint(None) == fingerprint(b"") == "" and fingerprint(b"der").startswith("sha256:50")
    assert name_of("cn", "a\0b") == name_of("cn", "a\nb") == name_of("cn", "") == ""


@pytest.mark.parametrize(
    ("tap", "more", "said"),
    [
        ("", LISTED, "nobody's certificate can be verified"),
        ('client_ca_file = "ca.pem"', LISTED + '[[certificates]]\nname = "cn:reports"\nuser = "x"\n', "twice"),
        ('client_ca_file = "ca.pem"', '[[certificates]]\nname = "reports"\nuser = "x"\n', "certificates"),
    ],
)
def test_settings_that_cant_be_meant(tmp_path: Path, tap: str, more: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(tmp_path, "https://idp.example", tap=tap, more=more)


def test_a_ca_file_that_isnt_one(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="client_ca_file"):
        make()
