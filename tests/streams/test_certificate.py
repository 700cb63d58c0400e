"""The tap's first certificate: a client that was given it can verify the name, and nobody else's will do."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from taprail.streams.certificate import self_signed


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Both sides in memory, until they agree; the protocol's version. Raises SSLError where they don't."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            break
    return theirs.version()


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    key, certificate = self_signed(("localhost", "tap"))
    (tmp_path / "tap.key").write_bytes(key)
    (tmp_path / "tap.crt").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tap.crt", tmp_path / "tap.key")
    return context


@pytest.mark.parametrize("name", ["localhost", "tap", "127.0.0.1"])
def test_a_client_that_has_it_verifies_the_name(server: ssl.SSLContext, tmp_path: Path, name: str) -> None:
    client = ssl.create_default_context(cafile=str(tmp_path / "tap.crt"))
    assert handshake(server, client, name) == "TLSv1.3"


def test_another_name_is_refused(server: ssl.SSLContext, tmp_path: Path) -> None:
    client = ssl.create_default_context(cafile=str(tmp_path / "tap.crt"))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "prod.example.com")


def test_another_certificate_is_refused(server: ssl.SSLContext, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_bytes(self_signed()[1])
    client = ssl.create_default_context(cafile=str(tmp_path / "other.crt"))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "localhost")
