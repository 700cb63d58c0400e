"""A certificate for a tap that has none yet: self-signed, so that clients may demand TLS from the first day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

VALID_DAYS = 365
CLOCK_SKEW = timedelta(minutes=5)


def self_signed(
    names: tuple[str, ...] = ("localhost",), addresses: tuple[str, ...] = ("127.0.0.1",)
) -> tuple[bytes, bytes]:
    """A private key (PKCS #8) and its certificate, both PEM, for these DNS names and IP addresses.

    `sslmode=require` takes it; `sslmode=verify-full` does with `sslrootcert=` this certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    alternatives: list[x509.GeneralName] = [x509.DNSName(n) for n in names]
    alternatives += [x509.IPAddress(ip_address(a)) for a in addresses]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


class Seen(Struct, frozen=True):
    """What a certificate says: the names that it is for, and the days until it ends (negative: since)."""

    names: tuple[str, ...]
    days_left: float

    def covers(self, host: str) -> bool:
        """Whether clients that ask for this name believe it; `*.` stands for one label (RFC 9525)."""
        host = host.lower()
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


def examine(path: Path) -> Seen:
    """The first certificate of a PEM file. Raises OSError, ValueError."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: list[str] = []
    else:
        names = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
        names += [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    left = found.not_valid_after_utc - datetime.now(UTC)
    return Seen(tuple(names), left / timedelta(days=1))
