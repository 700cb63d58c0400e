"""The settings of a tap: where it listens, which part of the databases is reached there, and its limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, field

from taprail.connectors.postgres.startup import never_allowed
from taprail.schemas.errors import SettingsError
from taprail.schemas.guard import Durability
from taprail.streams.settings_base import Name, Port, Section

UnixDirectory = Annotated[
    str, Meta(description="Directory of a Unix socket `.s.PGSQL.<port>`; empty: none. Tokens may come over it.")
]
UnixMode = Annotated[
    str, Meta(pattern=r"^0[0-7]{3}$", description="Its mode, octal: who may connect. The directory's counts, too.")
]


class Listener(Section, frozen=True, kw_only=True):
    name: Annotated[Name, Meta(description="Its name in logs.")]
    host: Annotated[str, Meta(description="Where it listens; empty: on a Unix socket only.")] = ""
    port: Annotated[Port, Meta(description="Its port, and the number in the Unix socket's name.")] = 6432
    unix_directory: UnixDirectory = ""
    unix_mode: UnixMode = "0770"
    environments: Annotated[
        tuple[Name, ...], Meta(description="Environments that are reached here; empty: all of them.")
    ] = ()
    databases: Annotated[
        tuple[Name, ...], Meta(description="Databases that are reached here; empty: all of them.")
    ] = ()
    certificate: Annotated[str, Meta(description="PEM file of the certificate chain; empty: the tap's.")] = ""
    private_key: Annotated[str, Meta(description="PEM file of its key.")] = ""
    require_tls: Annotated[bool, Meta(description="Refuse who doesn't ask for TLS.")] = False


class Host(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="Host name that clients connect to (SNI); `*.` stands for one label.")]
    environment: Annotated[Name, Meta(description="The only environment that is reached by this name.")]
    certificate: Annotated[str, Meta(description="PEM file of its certificate chain; empty: the listener's.")] = ""
    private_key: Annotated[str, Meta(description="PEM file of its key.")] = ""


class TapLimits(Section, frozen=True, kw_only=True):
    first_packet_seconds: Annotated[
        float,
        Meta(
            gt=0, description="Until a client has said who it is, TLS included. Who only holds connections loses them."
        ),
    ] = 15.0
    startup_seconds: Annotated[
        float, Meta(gt=0, description="Until a session is open, as PostgreSQL's `authentication_timeout`.")
    ] = 60.0
    idle_seconds: Annotated[
        float, Meta(ge=0, description="Ends a session that does nothing (57P05); 0: never. A token's person has left.")
    ] = 0.0
    idle_in_transaction_seconds: Annotated[
        float,
        Meta(ge=0, description="Ends a session whose open transaction nobody goes on with (25P03): it holds locks."),
    ] = 0.0
    statement_seconds: Annotated[
        float,
        Meta(
            ge=0, description="Cancels a statement (57014); 0: never. Unlike `statement_timeout` nobody can change it."
        ),
    ] = 0.0
    statements_in_flight: Annotated[
        int,
        Meta(ge=2000, description="Messages that may wait for the server's answer; then the client isn't read."),
    ] = 20_000
    query_bytes: Annotated[int, Meta(ge=1024, description="Largest statement: it is parsed before it is sent on.")] = (
        16 << 20
    )
    bind_bytes: Annotated[
        int, Meta(ge=1024, description="Largest set of Bind values: they are recorded, so held in memory.")
    ] = 256 << 20
    masked_row_bytes: Annotated[
        int, Meta(ge=1024, description="Largest row that is masked: it is rewritten in memory.")
    ] = 64 << 20
    arrivals: Annotated[
        int, Meta(ge=1, description="Connections that haven't signed in, in each process; the oldest silent one goes.")
    ] = 2_000
    sessions: Annotated[int, Meta(ge=1, description="Open sessions of each process; 20 KB each, 60 with TLS.")] = 5_000
    sessions_per_person: Annotated[
        int, Meta(ge=0, description="Open sessions of one person or service in each process; 0: any number.")
    ] = 0
    sign_ins_per_minute: Annotated[
        int,
        Meta(ge=0, description="Sign-ins of one person or service: each costs the server a process. 0: any number."),
    ] = 0
    failed_sign_ins_per_minute: Annotated[
        int,
        Meta(
            ge=0, description="Failed sign-ins of one address and user; then nobody is asked any more. 0: any number."
        ),
    ] = 30
    expiry_grace_seconds: Annotated[
        float,
        Meta(ge=0, description="What runs when the token expires may go on for so long; then it is cancelled."),
    ] = 0.0
    cancels_per_second: Annotated[
        float,
        Meta(gt=0, description="Cancel requests that are looked at: anybody may send one, so keys can't be guessed."),
    ] = 50.0
    keepalive_seconds: Annotated[
        int, Meta(ge=0, description="Silence after which TCP asks whether the peer is there; gone after twice as long.")
    ] = 60


class Tap(Section, frozen=True, kw_only=True):
    id: Annotated[Name, Meta(description="This tap's name: one for each running tap.")] = "tap-1"
    host: Annotated[str, Meta(description="Where clients connect.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="0 takes a free one.")] = 6432
    unix_directory: UnixDirectory = ""
    unix_mode: UnixMode = "0770"
    processes: Annotated[
        int,
        Meta(ge=1, le=64, description="Processes that share the addresses, one a core; each has a spool of its own."),
    ] = 1
    listeners: Annotated[tuple[Listener, ...], Meta(description="Further addresses.")] = ()
    hosts: Annotated[tuple[Host, ...], Meta(description="What the host name says that a client connects to.")] = ()
    limits: TapLimits = field(default_factory=TapLimits)
    certificate: Annotated[str, Meta(description="PEM file of the certificate chain.")] = ""
    private_key: Annotated[str, Meta(description="PEM file of its key.")] = ""
    client_ca_file: Annotated[
        str, Meta(description="CA certificates that clients' certificates are verified with; empty: none is asked for.")
    ] = ""
    client_crl_file: Annotated[
        str, Meta(description="Revocation lists of these CAs (PEM); a CA without a current one signs for nobody.")
    ] = ""
    allowed_settings: Annotated[
        tuple[str, ...], Meta(description="What clients may choose at start-up besides the usual: `options`, JDBC's.")
    ] = ()
    plaintext_tokens: Annotated[
        bool, Meta(description="Accept a token over a connection without TLS. Only where nobody else can listen.")
    ] = False
    spool: Annotated[str, Meta(description="Directory of the spool; one for each tap.")] = "spool"
    spool_bytes_max: Annotated[
        int,
        Meta(
            ge=1 << 20,
            description="When the spool holds this much, statements are refused until Kafka drains it. "
            "A sixteenth is kept for outcomes.",
        ),
    ] = 1 << 30
    durability: Annotated[
        Durability,
        Meta(
            description="What a statement's record survives before the statement runs: `process` the tap's death, "
            "`machine` a power cut, too (one flush for all who wait), and with `kafka` every replica has it (acks=all)."
        ),
    ] = "process"


def certificates(tap: Tap) -> list[tuple[str, str, str]]:
    """(setting, certificate, private key) of everything that may have one."""
    found = [("tap", tap.certificate, tap.private_key)]
    found += [(f"tap.listeners.{each.name}", each.certificate, each.private_key) for each in tap.listeners]
    return found + [(f"tap.hosts.{each.name}", each.certificate, each.private_key) for each in tap.hosts]


def check_tap(tap: Tap, environments: Iterable[str], databases: Iterable[str]) -> None:
    """What types can't say. Raises SettingsError."""
    for name, certificate, private_key in certificates(tap):
        if bool(certificate) != bool(private_key):
            raise SettingsError(f"{name}: a certificate needs its private_key, and the reverse", hint="set both")
    for listener in tap.listeners:
        where = f"tap.listeners.{listener.name}"
        if not listener.host and not listener.unix_directory:
            raise SettingsError(f"{where} listens nowhere", hint="set its host, or its unix_directory")
        _known(where, "environment", listener.environments, environments)
        _known(where, "database", listener.databases, databases)
    for host in tap.hosts:
        _known(f"tap.hosts.{host.name}", "environment", [host.environment], environments)
        if not (tap.certificate or any(each.certificate for each in tap.listeners)):
            raise SettingsError("tap.hosts need TLS: clients name the host in it", hint="set tap.certificate")
    if wrong := sorted(name for name in tap.allowed_settings if never_allowed(name.lower())):
        raise SettingsError(
            f"tap.allowed_settings: {wrong[0]} says who acts, or what a text means", hint="leave it out"
        )
    _places(tap)


def _places(tap: Tap) -> None:
    """No two addresses may be one place."""
    addresses: list[Tap | Listener] = [tap, *tap.listeners]
    found = [(each.host, each.port) for each in addresses if each.host]
    found += [(each.unix_directory, each.port) for each in addresses if each.unix_directory]
    for host, port in found:
        if port and found.count((host, port)) > 1:
            raise SettingsError(f"tap.listeners: two listen on {host}:{port}", hint="give one another port")
    if tap.processes > 1 and any(port == 0 for _, port in found):
        raise SettingsError("tap: several processes can't share port 0", hint="name a port")


def _known(where: str, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    if wrong := sorted(set(found) - set(known)):
        there = ", ".join(sorted(set(known)))
        raise SettingsError(f"{where}: there is no {what} {wrong[0]!r}", hint=f"there are: {there}")
