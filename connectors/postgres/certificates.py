"""Who a client's certificate says it is: names, once TLS has verified the certificate against a CA of ours.

A name says where in the certificate it stands: `cn:` (the subject's common name), and of the subject alternative names
`dns:`, `email:`, `uri:` (RFC 5280, section 4.2.1.6). So a host's name is never taken for a person's. Hosts in `dns:`
and `email:` compare without case; whatever can't be printed is no name.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

_ALTERNATIVE = {"DNS": "dns", "email": "email", "URI": "uri"}


def ask_for_certificates(context: ssl.SSLContext, ca_file: str, crl_file: str = "") -> None:
    """Let clients show a certificate, and end TLS with those whose certificate isn't by a CA in `ca_file`.

    With a file of revocation lists a CA without a current list in it signs for nobody. Raises OSError, ssl.SSLError.
    """
    context.load_verify_locations(ca_file)
    if crl_file:
        context.load_verify_locations(crl_file)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = ssl.CERT_OPTIONAL
    context.options |= ssl.OP_NO_TICKET  # a session that is resumed doesn't have its certificate verified again
    context.num_tickets = 0


def names_in(verified: dict[str, Any] | None) -> tuple[str, ...]:
    """The names in what `ssl.SSLSocket.getpeercert()` gives, which is empty unless the certificate was verified."""
    if not verified:
        return ()
    found = [name_of("cn", value) for part in verified.get("subject", ()) for key, value in part if key == "commonName"]
    found += [
        name_of(_ALTERNATIVE[kind], value) for kind, value in verified.get("subjectAltName", ()) if kind in _ALTERNATIVE
    ]
    return tuple(name for name in found if name)


def fingerprint(verified: bytes | None) -> str:
    """`sha256:` and the SHA-256 of a certificate's DER in hex, which names this certificate; '' where there is none."""
    return f"sha256:{hashlib.sha256(verified).hexdigest()}" if verified else ""


def name_of(kind: str, value: str) -> str:
    """`kind:value` in the form that names are compared in, '' where it can't be one."""
    if not value or not value.isprintable():
        return ""
    if kind == "dns":
        value = value.lower()
    elif kind == "email":
        local, _, host = value.rpartition("@")
        value = f"{local}@{host.lower()}"
    return f"{kind}:{value}"


def expires_us(verified: dict[str, Any] | None) -> int:
    """When the certificate ends, microseconds since 1970 UTC; 0 where there is none."""
    said = (verified or {}).get("notAfter")
    return ssl.cert_time_to_seconds(str(said)) * 1_000_000 if said else 0
