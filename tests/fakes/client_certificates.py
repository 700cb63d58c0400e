"""A CA of a test's own, and clients' certificates that it signs; written as PEM files into a folder."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


class Authority:
    """`<name>.pem` is its certificate. `client(...)` gives the two files that libpq takes."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._certificate(self.name, self._key, 1.0)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(PEM))

    def client(
        self,
        common_name: str,
        alternative: Sequence[x509.GeneralName] = (),
        *,
        days: float = 1.0,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> tuple[x509.Certificate, dict[str, str]]:
        """The certificate, and libpq's parameters for it; `days` below 0 makes an expired one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        made = self._certificate(subject, key, days).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternative:
            made = made.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        certificate = made.sign(self._key, hashes.SHA256())
        file = self._folder / f"client-{certificate.serial_number}.pem"
        file.write_bytes(certificate.public_bytes(PEM))
        private = file.with_suffix(".key")
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return certificate, {"sslcert": str(file), "sslkey": str(private)}

    def revocations(self, *revoked: x509.Certificate) -> Path:
        """A list of what it has revoked, as a PEM file."""
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now - datetime.timedelta(1))
        made = made.next_update(now + datetime.timedelta(days=1))
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number).revocation_date(now)
            made = made.add_revoked_certificate(entry.build())
        file = self._folder / "revoked.pem"
        file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(PEM))
        return file

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
