"""The first packets of a connection: what the client wants, and which settings it may ask for.

Source: PostgreSQL documentation, chapters 54.2.1 "Start-up", 54.2.10 "SSL", 54.2.8 "Canceling Requests", 54.7.
Settings that the client asks for go upstream as start-up parameters of their own, never as an `options` string.
"""

from __future__ import annotations

import re
from struct import Struct as Layout

from msgspec import Struct

from taprail.connectors.postgres.messages import NEGOTIATE, Reader, message
from taprail.schemas.errors import ProtocolError, RefusedError

VERSION_3 = 3 << 16
NEWEST_MINOR = 2  # 3.2 brought cancel keys of 4 to 256 bytes
_SSL, _GSSENC, _CANCEL = 80877103, 80877104, 80877102
_U32 = Layout(">I")

# Settings that a client may choose. None changes who acts, how text is read, or what is written down.
ALLOWED_SETTINGS = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "plan_cache_mode",
        "search_path",
        "statement_timeout",
        "timezone",
        "transaction_timeout",
        "work_mem",
        "xmlbinary",
        "xmloption",
    }
)
# The parser that judges a text must read it exactly as the server does.
PINNED_SETTINGS = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
# The server looks whether its client is still there while a statement runs, so that none outlives its session.
LOOKS_FOR_CLIENT = {"client_connection_check_interval": "1s"}
# Whatever an administrator allows besides: these say who acts, what is loaded, or how text is read.
NEVER_ALLOWED = frozenset(
    {
        "allow_system_table_mods",
        "backslash_quote",
        "dynamic_library_path",
        "local_preload_libraries",
        "replication",
        "role",
        "row_security",
        "session_authorization",
        "session_preload_libraries",
        "session_replication_role",
        "transform_null_equals",
        *LOOKS_FOR_CLIENT,
        *PINNED_SETTINGS,
    }
)
_SAME_AS_PINNED = {
    "client_encoding": frozenset({"utf8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1", "t", "y", "tru", "tr", "ye"}),
}
_FALSE = frozenset({"false", "off", "no", "0", "f", "n"})
_BLANKS = " \t\n\v\f\r"  # isspace(3) of the C locale, as the server splits options (pg_split_opts)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class SslRequest(Struct, frozen=True):
    """The client asks for TLS."""


class GssRequest(Struct, frozen=True):
    """The client asks for GSSAPI encryption; the tap answers N."""


class CancelRequest(Struct, frozen=True):
    pid: int
    key: bytes


class StartupMessage(Struct, frozen=True):
    """`minor` is what the client asked for; `parameters` as sent, in order, names as sent."""

    minor: int
    parameters: dict[str, str]


Packet = SslRequest | GssRequest | CancelRequest | StartupMessage


class Wanted(Struct, frozen=True):
    """A start-up that may go on: `settings` by lower-case names, only allowed ones; `unknown` the `_pq_.` options."""

    user: str
    database: str
    minor: int
    settings: dict[str, str]
    unknown: tuple[str, ...] = ()


def packet_length(head: bytes, largest: int) -> int:
    """Length of the first packet, itself included, from its first four bytes. Raises ProtocolError out of bounds."""
    length = int(_U32.unpack(head)[0])
    if not 8 <= length <= largest:
        raise ProtocolError(
            f"the first packet says its length is {length}, which must be from 8 to {largest}",
            hint="this port speaks the PostgreSQL protocol; TLS begins with an SSLRequest",
        )
    return length


def parse_packet(body: bytes) -> Packet:
    """What follows the length of a first packet. Raises ProtocolError."""
    reader = Reader(body, "startup")
    code = int(_U32.unpack(reader.take(4))[0])
    if code in (_SSL, _GSSENC):
        reader.end()
        return SslRequest() if code == _SSL else GssRequest()
    if code == _CANCEL:
        pid, key = int(_U32.unpack(reader.take(4))[0]), reader.rest()
        if not 4 <= len(key) <= 256:
            raise ProtocolError(f"a cancel key of {len(key)} bytes, which must be from 4 to 256")
        return CancelRequest(pid, key)
    if code >> 16 != 3:
        raise ProtocolError(
            f"protocol {code >> 16}.{code & 0xFFFF} isn't spoken here", hint="use protocol 3.0 or newer"
        )
    parameters: dict[str, str] = {}
    while name := reader.string():
        try:
            parameters[name.decode()] = reader.string().decode()
        except UnicodeDecodeError as error:
            raise ProtocolError("a start-up parameter isn't UTF-8") from error
    reader.end()
    return StartupMessage(code & 0xFFFF, parameters)


def wanted(startup: StartupMessage, also_allowed: frozenset[str] = frozenset()) -> Wanted:
    """Sort the parameters. Raises RefusedError on one that may not be chosen here."""
    settings: dict[str, str] = {}
    unknown: list[str] = []
    user = database = ""
    for name, value in startup.parameters.items():
        if name == "user":
            user = value
        elif name == "database":
            database = value
        elif name == "replication":
            if value.lower() not in _FALSE:
                raise RefusedError("replication connections don't pass the tap", hint="connect a replica to the server")
        elif name.startswith("_pq_."):
            unknown.append(name)
        elif name == "options":
            for option, choice in parse_options(value):
                _choose(settings, option, choice, also_allowed)
        else:
            _choose(settings, name, value, also_allowed)
    if not user:
        raise RefusedError("the start-up packet names no user", hint="set the user in the connection string")
    return Wanted(user, database or user, startup.minor, settings, tuple(unknown))


def _choose(settings: dict[str, str], name: str, value: str, also_allowed: frozenset[str]) -> None:
    name = name.lower().replace("-", "_")
    if name in PINNED_SETTINGS:
        if not same_as_pinned(name, value):
            raise RefusedError(
                f"{name} is {PINNED_SETTINGS[name]} for every session of the tap, not {value!r}",
                hint=f"connect with {name}={PINNED_SETTINGS[name]}",
            )
    elif LOOKS_FOR_CLIENT.get(name) == value:
        return  # what the tap asks of the server anyway: another tap before this one
    elif name in ALLOWED_SETTINGS or (name in also_allowed and name not in NEVER_ALLOWED):
        settings[name] = value
    else:
        raise RefusedError(
            f"the setting {name!r} can't be chosen at start-up through the tap",
            hint="leave it out of the connection string; an administrator can allow it (tap.allowed_settings)",
        )


def never_allowed(name: str) -> bool:
    """Whether no administrator may allow a setting: it says who acts, what is loaded, or how text is read.

    The tap's own settings are of the first; the proxy itself takes them, and none goes to the server as the client's.
    """
    return name in NEVER_ALLOWED or name.startswith("taprail.")


def same_as_pinned(name: str, value: str) -> bool:
    """Whether `value` for a pinned setting says what it is pinned to, in another spelling perhaps."""
    said = value.strip().strip("'\"").lower()
    return (said.replace("-", "").replace("_", "") if name == "client_encoding" else said) in _SAME_AS_PINNED[name]


def parse_options(options: str) -> list[tuple[str, str]]:
    """`-c name=value` and `--name=value` of an options string, where a backslash keeps the next character.

    Raises RefusedError on any other switch: it would be one of the server's command line.
    """
    words, word, escaped, inside = [], "", False, False
    for character in options:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\":
            escaped = inside = True
        elif character in _BLANKS:
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + character, True
    if inside:
        words.append(word)
    found = []
    rest = iter(words)
    for word in rest:
        setting = next(rest, "") if word == "-c" else word[2:] if word.startswith(("-c", "--")) else ""
        name, equals, value = setting.partition("=")
        if not equals or not _SETTING.match(name):
            raise RefusedError(
                f"the start-up option {word!r} isn't passed on", hint="only -c name=value and --name=value are"
            )
        found.append((name, value))
    return found


def negotiate(startup: Wanted) -> bytes:
    """NegotiateProtocolVersion where the client wants more than we speak, else b""."""
    if startup.minor <= NEWEST_MINOR and not startup.unknown:
        return b""
    body = _U32.pack(VERSION_3 | min(startup.minor, NEWEST_MINOR)) + _U32.pack(len(startup.unknown))
    return message(NEGOTIATE, body + b"".join(name.encode() + b"\0" for name in startup.unknown))


def packet(code: int, body: bytes = b"") -> bytes:
    return _U32.pack(len(body) + 8) + _U32.pack(code) + body


def startup_packet(parameters: dict[str, str], minor: int = 0) -> bytes:
    pairs = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items())
    return packet(VERSION_3 | minor, pairs + b"\0")


def cancel_packet(pid: int, key: bytes) -> bytes:
    return packet(_CANCEL, _U32.pack(pid) + key)


SSL_REQUEST_PACKET, GSS_REQUEST_PACKET = packet(_SSL), packet(_GSSENC)
