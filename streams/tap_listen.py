"""What a tap's settings say to its proxy: addresses, certificates, limits."""

from __future__ import annotations

import ssl

import msgspec

from taprail.connectors.postgres.certificates import ask_for_certificates
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.listener import Address
from taprail.connectors.postgres.tls import ServerTls
from taprail.schemas.errors import SettingsError
from taprail.streams.settings import Loaded
from taprail.streams.settings_tap import Listener, Tap, TapLimits


def limits_of(settings: TapLimits) -> Limits:
    """The settings have the limits' own names."""
    return Limits(**msgspec.structs.asdict(settings))


def addresses_of(loaded: Loaded, process: int = 0) -> list[Address]:
    """Where this process of the tap listens. Unix sockets are the first one's alone: only TCP ports can be shared.

    Raises SettingsError where a certificate can't be loaded.
    """
    tap = loaded.settings.tap
    found: list[Address] = []
    every: list[Tap | Listener] = [tap, *tap.listeners]
    for each in every:
        name = each.name if isinstance(each, Listener) else ""
        require = each.require_tls if isinstance(each, Listener) else False
        if each.host:
            found.append(
                Address(
                    host=each.host,
                    port=each.port,
                    name=name,
                    tls=_tls(loaded, each),
                    require_tls=require,
                    reuse_port=tap.processes > 1,
                )
            )
        if each.unix_directory and process == 0:
            directory = str(loaded.path(each.unix_directory))
            found.append(Address(directory=directory, port=each.port, mode=int(each.unix_mode, 8), name=name))
    return found


def server_context(loaded: Loaded, certificate: str, private_key: str, setting: str) -> ssl.SSLContext:
    """A context that speaks TLS 1.2 and newer with this certificate. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(loaded.path(certificate), loaded.path(private_key), password=lambda: b"")  # asks nobody
    except (OSError, ssl.SSLError) as error:
        reason = "the key isn't the certificate's" if "MISMATCH" in str(error) else str(error)
        raise SettingsError(
            f"{setting}.certificate: {certificate} with {private_key}: {reason}",
            hint="both are PEM files; the chain begins with the server's own certificate",
        ) from error
    tap = loaded.settings.tap
    if tap.client_ca_file:  # in every context: with SNI it is the chosen one's CAs that count
        lists = str(loaded.path(tap.client_crl_file)) if tap.client_crl_file else ""
        try:
            ask_for_certificates(context, str(loaded.path(tap.client_ca_file)), lists)
        except (OSError, ssl.SSLError) as error:
            text = f"tap.client_ca_file: {tap.client_ca_file} {tap.client_crl_file}: {error}"
            raise SettingsError(text, hint="PEM files of CA certificates, and of their revocation lists") from error
    return context


def _tls(loaded: Loaded, each: Tap | Listener) -> ServerTls | None:
    """Each address has contexts of its own: a context's callback for SNI belongs to one address."""
    tap = loaded.settings.tap
    setting = f"tap.listeners.{each.name}" if isinstance(each, Listener) and each.certificate else "tap"
    certificate, private_key = each.certificate or tap.certificate, each.private_key or tap.private_key
    if not certificate:
        return None
    by_name = {
        host.name: server_context(loaded, host.certificate, host.private_key, f"tap.hosts.{host.name}")
        for host in tap.hosts
        if host.certificate
    }
    return ServerTls(server_context(loaded, certificate, private_key, setting), by_name)
