"""One typed TOML file configures every role; secrets are references to environment, files or Vault, never values.

`load(path)` gives frozen settings or a SettingsError that names the setting. `docs/settings.md` is made from the types
here by `taprail config document`.
"""

from __future__ import annotations

import os
import tomllib
import typing
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct, field, structs

from taprail.connectors.vault import Login, Vault
from taprail.schemas.endpoints import KafkaEndpoint, Role
from taprail.schemas.errors import SettingsError, TaprailError
from taprail.schemas.guard import Durability
from taprail.streams.settings_access import AccessRule, check_access
from taprail.streams.settings_alerts import Alerts, check_alerts
from taprail.streams.settings_base import Name, Port, SecretRef, Section
from taprail.streams.settings_scim import Scim, check_scim
from taprail.streams.settings_signin import Certificate, GroupsFrom, SignInRule, check_certificates
from taprail.streams.settings_tap import Tap, certificates, check_tap
from taprail.streams.settings_vault import SERVICE_ACCOUNT, VaultSettings, check_vault


class Kafka(Section, frozen=True, kw_only=True):
    bootstrap: Annotated[str, Meta(description="Brokers, `host:port` separated by commas.")]
    security: Annotated[
        Literal["SASL_PLAINTEXT", "SASL_SSL"],
        Meta(description="librdkafka's `security.protocol`. Each role signs in as its own user over SCRAM-SHA-256."),
    ] = "SASL_SSL"
    passwords: Annotated[
        dict[str, SecretRef],
        Meta(description="Secret of each role's user: admin, tap, stream, agents, ledger, viewer."),
    ] = field(default_factory=dict)


class Registry(Section, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Apicurio Registry, without a path: taprail adds `/apis/ccompat/v7`.")]


class Connect(Section, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Kafka Connect's REST address. Empty: no change feed is registered.")] = ""
    user: Annotated[str, Meta(description="User of its REST API, where it asks for one.")] = ""
    password: Annotated[SecretRef | None, Meta(description="Its password.")] = None


class IdentityProvider(Section, frozen=True, kw_only=True):
    issuer: Annotated[
        str, Meta(description="The issuer, exactly as in the token's `iss`; its discovery names the keys.")
    ]
    audience: Annotated[str, Meta(description="What the token's `aud` must hold.")] = "taprail"
    subject_claim: Annotated[
        str,
        Meta(
            description="Claim that says who it is. Another than `sub` only where the provider's `sub` isn't what it "
            "provisions (Entra ID: `oid`); never one that people can change."
        ),
    ] = "sub"
    groups_claim: Annotated[str, Meta(description="Claim that lists the groups.")] = "groups"
    groups_from: Annotated[
        GroupsFrom,
        Meta(
            description="Whose word counts on groups: the `token`'s; those of `identities` (SCIM, a file) alone, and "
            "whoever isn't there is refused; `both` together. A group that is lost there ends the session."
        ),
    ] = "token"
    kind_claim: Annotated[str, Meta(description="Claim that says `person`, `service` or `agent`.")] = "actor_type"
    device_claim: Annotated[
        str,
        Meta(
            description="Claim that names the device that the person signed in from (Entra ID: `deviceid`), for the "
            "fact `session.device`; empty: none does."
        ),
    ] = ""
    agent_clients: Annotated[tuple[str, ...], Meta(description="Client ids whose tokens are agents' tokens.")] = ()
    require_at_jwt: Annotated[bool, Meta(description="Demand `typ: at+jwt` (RFC 9068) in the token's header.")] = True
    leeway_seconds: Annotated[int, Meta(ge=0, le=300, description="How much clocks may differ.")] = 30
    session_end: Annotated[
        Literal["token", "never"],
        Meta(description="`token`: a session ends when its token expires (and the leeway). `never`: it may go on."),
    ] = "token"
    scope: Annotated[str, Meta(description="Scopes that clients are told to ask for (OAUTHBEARER).")] = "openid"
    client_id: Annotated[str, Meta(description="Our client for the approvals page's sign-in.")] = "taprail"
    client_secret: Annotated[SecretRef | None, Meta(description="Its secret, where the provider wants one.")] = None


class RoleMapping(Section, frozen=True, kw_only=True):
    group: Annotated[
        str,
        Meta(description="A group, `*` for everyone; empty: whoever is given the role for a time. First match wins."),
    ]
    role: Annotated[str, Meta(description="The database role that the tap signs in as.")]
    password: Annotated[SecretRef, Meta(description="Its password.")]
    member_of: Annotated[
        tuple[str, ...], Meta(description="Existing roles whose rights `taprail init` gives it; empty: you grant.")
    ] = ()


class Database(Section, frozen=True, kw_only=True):
    name: Annotated[Name, Meta(description="What clients ask for as the database's name.")]
    environment: Annotated[Name, Meta(description="dev, staging, prod: what policies speak of.")]
    server: Annotated[Name, Meta(description="A name for the server; topics and marks carry it.")]
    host: Annotated[str, Meta(description="Where the server listens.")]
    port: Annotated[Port, Meta(description="Its port.")] = 5432
    database: Annotated[str, Meta(description="The database's name on the server; empty: the same.")] = ""
    aliases: Annotated[
        tuple[str, ...], Meta(description="Other names that clients may ask for; `staging/shop` always works.")
    ] = ()
    tls: Annotated[
        Literal["disable", "require", "verify-full"], Meta(description="TLS to the server. `require` checks no name.")
    ] = "verify-full"
    ca_file: Annotated[str, Meta(description="CA certificates for `verify-full`; empty for the system's.")] = ""
    direct_tls: Annotated[
        bool, Meta(description="Begin with TLS, without asking for it first: servers from PostgreSQL 17 on.")
    ] = False
    protocol: Annotated[
        Literal["3.0", "3.2"],
        Meta(description="Newest protocol to ask for. `3.0` for poolers that refuse 3.2; PostgreSQL never does."),
    ] = "3.2"
    roles: Annotated[tuple[RoleMapping, ...], Meta(description="Which group signs in as which role.")]
    catalog_role: Annotated[str, Meta(description="Role that reads the catalog and listens for DDL.")]
    catalog_password: Annotated[SecretRef, Meta(description="Its password.")]
    feed_role: Annotated[str, Meta(description="Role with REPLICATION for the change feed; empty: no feed.")] = ""
    feed_password: Annotated[SecretRef | None, Meta(description="Its password.")] = None
    admin_role: Annotated[
        str, Meta(description="Superuser that `taprail init` prepares the database as; empty: it is prepared by hand.")
    ] = ""
    admin_password: Annotated[SecretRef | None, Meta(description="Its password; no other role reads it.")] = None
    person_binding: Annotated[
        Literal["connection", "time"],
        Meta(
            description="What `taprail.person` is good for: the tap's own connection, or, where something between the "
            "tap and the server changes its port, a connection of that minute."
        ),
    ] = "connection"
    durability: Annotated[Durability | None, Meta(description="What `tap.durability` is here; empty: the same.")] = None
    known_writers: Annotated[
        tuple[str, ...], Meta(description="Who may write round the tap: replication origins and declared writers.")
    ] = ()

    @property
    def upstream(self) -> str:
        return self.database or self.name


class Service(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="User name that the service connects with.")]
    password: Annotated[SecretRef, Meta(description="Its password, for SCRAM-SHA-256.")]
    kind: Annotated[Literal["service", "agent"], Meta(description="What it is.")] = "service"
    groups: Annotated[tuple[str, ...], Meta(description="Its groups.")] = ()
    speaks_for: Annotated[
        tuple[str, ...],
        Meta(description="Groups of people whom it may name by a signed statement; `*`: everybody; empty: nobody."),
    ] = ()
    statement_key: Annotated[
        SecretRef | None, Meta(description="Key that it signs such statements with (HS256), at least 32 bytes.")
    ] = None


class Policy(Section, frozen=True, kw_only=True):
    protected: Annotated[tuple[str, ...], Meta(description="Environments where destructive commands are denied.")] = (
        "prod",
    )
    clear_groups: Annotated[tuple[str, ...], Meta(description="Groups that see personal data unmasked.")] = ()
    masked: Annotated[
        Literal["redacted", "hashed"],
        Meta(
            description="What becomes of personal data in results for everybody else: `***`, or a keyed hash of each "
            "text, with which equal ones can be joined and counted; other types become NULL either way."
        ),
    ] = "redacted"
    directory: Annotated[
        str,
        Meta(
            description="A folder of policies that are in force instead of the shipped ones and of those that "
            "`taprail policy apply` sends; read at the start and at each reload. Empty: there is none."
        ),
    ] = ""
    zone: Annotated[
        str, Meta(description="Time zone of the fact `now` for whose own isn't known, as `Europe/Helsinki`.")
    ] = "UTC"
    networks: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Names for ranges of addresses, as `office = ['10.1.0.0/16']`: what `session.networks` holds."
        ),
    ] = field(default_factory=dict)
    learning_days: Annotated[
        int,
        Meta(ge=0, le=365, description="How long a new tap learns who uses what before `history.new_relations` tells."),
    ] = 14
    values: Annotated[
        Literal["encrypted", "hashed"],
        Meta(
            description="What becomes of literals and Bind values in records: encrypted with the data key, or a keyed "
            "hash of each, with which equal ones are found and none is read. A held statement's are encrypted."
        ),
    ] = "encrypted"
    approver_groups: Annotated[tuple[str, ...], Meta(description="Groups that may decide on held statements.")] = (
        "data-owners",
    )
    hold_seconds: Annotated[int, Meta(ge=1, description="How long a held statement waits for a decision.")] = 300
    large_read_rows: Annotated[int, Meta(ge=1, description="Reads of at least this many rows raise an alert.")] = 50_000


class Approvals(Section, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Where the approvals page listens.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Its port.")] = 6480
    url: Annotated[str, Meta(description="How people reach it; goes into notices.")] = "http://127.0.0.1:6480"


class Keys(Section, frozen=True, kw_only=True):
    mark: Annotated[SecretRef, Meta(description="HMAC key of marks, hex, 32 bytes; taps and streams share it.")]
    person: Annotated[
        SecretRef | None,
        Meta(description="Key, hex, 32 bytes, that signs who acts for databases (`taprail.person()`); none: not told."),
    ] = None
    data: Annotated[SecretRef, Meta(description="Data key of envelopes, hex, 32 bytes.")]
    data_id: Annotated[str, Meta(description="Name of the data key; envelopes carry it.")] = "data-1"
    control_public: Annotated[
        dict[str, str], Meta(description="Key id -> PEM file: whose control records a tap believes.")
    ]
    control_private: Annotated[SecretRef | None, Meta(description="PEM of the control key; agents only.")] = None
    control_id: Annotated[str, Meta(description="Key id that the agents sign with.")] = "control-1"


class Ledger(Section, frozen=True, kw_only=True):
    directory: Annotated[str, Meta(description="Directory of the audit log.")] = "log"
    origin: Annotated[str, Meta(description="The log's name in its checkpoints (C2SP tlog-checkpoint).")] = "taprail"
    signer_socket: Annotated[str, Meta(description="Unix socket of the signer.")] = "signer.sock"
    signer_key: Annotated[str, Meta(description="PEM file of the signer's Ed25519 key; only the signer reads it.")] = (
        "secrets/log.pem"
    )
    signer_state: Annotated[str, Meta(description="Where the signer remembers what it signed last.")] = "signer.json"
    public_key: Annotated[str, Meta(description="PEM file of the log's public key.")] = "log.pub.pem"


class Settings(Section, frozen=True, kw_only=True):
    """The whole file. Relative paths stand against the file's own directory."""

    kafka: Kafka
    registry: Registry
    connect: Connect = field(default_factory=Connect)
    identity: IdentityProvider
    databases: Annotated[tuple[Database, ...], Meta(description="The databases behind the tap.")]
    services: Annotated[tuple[Service, ...], Meta(description="Service accounts that sign in by SCRAM.")] = ()
    sign_in: Annotated[
        tuple[SignInRule, ...], Meta(description="How a token comes, by user and database; the first that fits.")
    ] = ()
    certificates: Annotated[tuple[Certificate, ...], Meta(description="Whom a client's certificate proves.")] = ()
    tap: Tap = field(default_factory=Tap)
    policy: Policy = field(default_factory=Policy)
    approvals: Approvals = field(default_factory=Approvals)
    access: Annotated[
        tuple[AccessRule, ...], Meta(description="Who may ask for access for a time, or take it in an emergency.")
    ] = ()
    scim: Scim = field(default_factory=Scim)
    vault: VaultSettings = field(default_factory=VaultSettings)
    alerts: Alerts = field(default_factory=Alerts)
    keys: Keys
    ledger: Ledger = field(default_factory=Ledger)


class Loaded(Struct, frozen=True):
    """Settings with the directory that their relative paths stand against, and the file that they were read from."""

    settings: Settings
    directory: Path
    file: Path = Path("taprail.toml")
    vault: Vault | None = None

    def path(self, text: str) -> Path:
        return (self.directory / text).absolute()

    def secret(self, reference: str, setting: str = "secret") -> str:
        """The secret's text. Raises SettingsError where it is not there, StackError where Vault doesn't answer."""
        kind, _, name = reference.partition(":")
        if kind == "vault":
            if self.vault is None:
                raise SettingsError(f"{setting} is in Vault, and vault.address is not set", hint="set it in [vault]")
            return self.vault.read(name, setting)
        if kind == "env":
            value = os.environ.get(name)
            if value is None:
                raise SettingsError(f"{setting}: the environment variable {name} is not set", hint=f"export {name}=…")
            return value
        path = self.path(name)
        try:
            return path.read_text().strip()
        except OSError as error:
            raise SettingsError(
                f"{setting}: can't read {path}: {error.strerror}", hint="make the file, or correct the setting"
            ) from error

    def kafka(self, *roles: Role) -> KafkaEndpoint:
        """The cluster with the secrets of these roles only: a process holds no other's."""
        kafka = self.settings.kafka
        users: dict[str, str] = {role: self.secret(kafka.passwords[role], f"kafka.passwords.{role}") for role in roles}
        return KafkaEndpoint(kafka.bootstrap, users, kafka.security)

    def database(self, name: str) -> Database | None:
        return next((d for d in self.settings.databases if d.name == name), None)


def load(path: Path) -> Loaded:
    """Read and check the file. Raises SettingsError with the setting's path."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"can't read {path}: {error.strerror}", hint="`taprail up` makes one") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}", hint="correct the line that it names") from error
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}", hint="docs/settings.md describes every setting") from error
    _check(settings, path)
    loaded = Loaded(settings, path.parent.absolute(), path.absolute())
    return structs.replace(loaded, vault=_vault(loaded)) if settings.vault.address else loaded


def _vault(loaded: Loaded) -> Vault:
    vault = loaded.settings.vault
    secret = vault.secret or SERVICE_ACCOUNT
    login = Login(vault.method, lambda: loaded.secret(secret, "vault.secret"), vault.mount, vault.role)
    ca_file = str(loaded.path(vault.ca_file)) if vault.ca_file else ""
    return Vault(vault.address, login, namespace=vault.namespace, ca_file=ca_file)


def _check(settings: Settings, path: Path) -> None:
    """What types can't say."""
    names = [d.name for d in settings.databases]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise SettingsError(f"{path}: databases: {twice[0]!r} stands there twice", hint="names must differ")
    for number, database in enumerate(settings.databases):
        if not database.roles:
            raise SettingsError(
                f"{path}: databases[{number}].roles: nobody may use {database.name!r}", hint="map a group to a role"
            )
    try:
        check_tap(settings.tap, {d.environment for d in settings.databases}, set(names))
        check_alerts(settings.alerts)
        _check_networks(settings.policy)
        check_access(settings.access, _roles(settings))
        check_certificates(settings.certificates, settings.tap.client_ca_file)
        check_scim(settings.scim)
        check_vault(settings.vault)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error


def _check_networks(policy: Policy) -> None:
    for name, ranges in policy.networks.items():
        for each in ranges:
            try:
                ip_network(each)
            except ValueError as error:
                raise SettingsError(
                    f"policy.networks.{name}: {error}", hint="as 10.1.0.0/16 or 2001:db8::/32"
                ) from None


def _roles(settings: Settings) -> dict[str, set[str]]:
    """The roles that a tap can sign in as, by environment."""
    found: dict[str, set[str]] = {}
    for database in settings.databases:
        found.setdefault(database.environment, set()).update(mapping.role for mapping in database.roles)
    return found


def problems(loaded: Loaded) -> list[str]:
    """What would stop a role at its start: secrets that can't be read, files that aren't there. One line each."""
    found = []
    for name, reference in _secrets(loaded.settings, ""):
        try:
            loaded.secret(reference, name)
        except TaprailError as error:
            found.append(str(error))
    return found + missing_files(loaded)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def missing_files(loaded: Loaded) -> list[str]:
    """The same but for secrets, of which a role can read its own alone."""
    found = []
    tap = loaded.settings.tap
    files = [(f"{name}.certificate", certificate) for name, certificate, _ in certificates(tap)]
    files += [(f"{name}.private_key", private_key) for name, _, private_key in certificates(tap)]
    files += [(f"keys.control_public.{k}", v) for k, v in loaded.settings.keys.control_public.items()]
    files += [("tap.client_ca_file", tap.client_ca_file), ("tap.client_crl_file", tap.client_crl_file)]
    found += [f"{name}: {loaded.path(v)} isn't there" for name, v in files if v and not loaded.path(v).exists()]
    if loaded.settings.identity.groups_from != "token" and not loaded.settings.keys.control_public:
        found.append("identity.groups_from: without keys.control_public no identity is believed, so nobody comes in")
    if not _is_zone(loaded.settings.policy.zone):
        found.append(f"policy.zone: there is no time zone {loaded.settings.policy.zone!r}; one is `Europe/Helsinki`")
    if not tap.certificate and not tap.plaintext_tokens:
        found.append("tap: without tap.certificate nobody can sign in with a token; set it, or tap.plaintext_tokens")
    return found


def _secrets(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, Struct):
        pairs = [(f"{path}.{n}".lstrip("."), getattr(value, n)) for n in value.__struct_fields__]
    elif isinstance(value, dict):
        pairs = [(f"{path}.{k}", v) for k, v in value.items()]
    elif isinstance(value, tuple):
        pairs = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    else:
        return [(path, value)] if isinstance(value, str) and value.startswith(("env:", "file:", "vault:")) else []
    return [found for name, inner in pairs for found in _secrets(inner, name)]


def document() -> str:
    """docs/settings.md, from the types."""
    lines = [
        "# Settings",
        "",
        "Made from the types by `taprail config document`. Secrets are `env:NAME` or `file:PATH`; relative paths stand",
        "against the file's own directory.",
    ]
    _document(Settings, "", lines)
    return "\n".join(lines) + "\n"


def _document(section: type[Struct], path: str, lines: list[str]) -> None:
    hints = typing.get_type_hints(section, include_extras=True)
    plain = typing.get_type_hints(section)
    nested: list[tuple[type[Struct], str]] = []
    rows = []
    for info in msgspec.structs.fields(section):
        inner, many = _section_of(plain[info.name])
        name = f"{path}.{info.name}".lstrip(".")
        if inner is not None:
            nested.append((inner, name + ("[]" if many else "")))
            continue
        meta = next(m for m in hints[info.name].__metadata__ if isinstance(m, Meta) and m.description)
        rows.append(f"| `{info.name}` | {_default(info)} | {meta.description} |")
    if rows:
        title = f"[[{path[:-2]}]]" if path.endswith("[]") else f"[{path}]"
        lines += [
            "",
            f"## {title.replace('[].', '.')}",
            "",
            "| setting | default | what it is |",
            "|---|---|---|",
            *rows,
        ]
    for inner, name in nested:
        _document(inner, name, lines)


def _section_of(hint: Any) -> tuple[type[Struct] | None, bool]:
    arguments = [a for a in typing.get_args(hint) if a is not type(None) and a is not ...]
    for candidate in [hint, *arguments]:
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate, typing.get_origin(hint) is tuple
    return None, False


def _default(info: msgspec.structs.FieldInfo) -> str:
    if info.default is msgspec.NODEFAULT:
        return "none" if info.default_factory is not msgspec.NODEFAULT else "required"
    return f"`{msgspec.json.encode(info.default).decode()}`"
