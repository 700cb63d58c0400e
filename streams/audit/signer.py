"""The signer: a process of its own that holds the Ed25519 key and signs no checkpoint that rewrites the past.

    request   = length u32 | JSON {"checkpoint": … | null, "proof": […]}      null asks for the last one signed
    answer    = length u32 | JSON {"last": …, "signatures": […], "error": "…"}

over a unix socket that only its owner may open. What was signed last is stored, durably, before the signature leaves: a
writer whose store was rolled back, or who shows two versions of the log, gets no signature. The state file is made
together with the key; a signer without it refuses to start, because an empty memory would sign anything.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct as Layout

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from taprail.schemas.errors import LogError, SettingsError, StackError, TaprailError
from taprail.schemas.ledger import Checkpoint, NoteSignature
from taprail.streams.audit import note as notes
from taprail.streams.audit import tree
from taprail.streams.audit.segment import write_durably

LENGTH = Layout(">I")
MESSAGE_BYTES_MAX = 64 << 10
TIMEOUT_S = 10.0


class Ask(Struct, frozen=True):
    checkpoint: Checkpoint | None = None
    proof: tuple[bytes, ...] = ()


class Answer(Struct, frozen=True):
    last: Checkpoint
    signatures: tuple[NoteSignature, ...] = ()
    error: str = ""


def generate_key(key_path: Path, origin: str) -> notes.Verifier:
    """Make a log's key: `key_path` (PEM, 0600), `key_path`.pub (verifier key), `key_path`.state (nothing signed yet).

    Raises SettingsError where one of them exists: a key is never overwritten.
    """
    public_path, state_path = key_path.with_name(key_path.name + ".pub"), default_state(key_path)
    for path in (key_path, public_path, state_path):
        if path.exists():
            raise SettingsError(f"{path} exists already", hint="a log's key is never overwritten; choose another path")
    key = Ed25519PrivateKey.generate()
    verifier = notes.verifier_of(origin, key)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(key_path, pem, 0o600)
    write_durably(public_path, f"{verifier}\n".encode(), 0o644)
    initialise_state(state_path, origin)
    return verifier


def initialise_state(state_path: Path, origin: str) -> None:
    """Write down that nothing was signed yet. It belongs to the making of a key, once; an existing state is kept.

    Raises SettingsError where a state exists that isn't this log's.
    """
    notes.check_name(origin)
    if not state_path.exists():
        write_durably(state_path, msgspec.json.encode(Checkpoint(origin, 0, tree.EMPTY_ROOT)), 0o600)
    _load_state(state_path, origin)


def default_state(key_path: Path) -> Path:
    return key_path.with_name(key_path.name + ".state")


class KeySigner:
    """A `Signer` over a key file. It belongs into a process of its own (`serve`); in one process it serves tests."""

    def __init__(self, key_path: Path, state_path: Path, origin: str) -> None:
        self._state_path = state_path
        self._key = _load_key(key_path)
        self._last = _load_state(state_path, origin)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._last.origin

    def last(self) -> Checkpoint:
        return self._last

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes]) -> tuple[NoteSignature, ...]:
        with self._lock:
            last = self._last
            if checkpoint.origin != last.origin:
                raise LogError(f"the signer of {last.origin} doesn't sign for {checkpoint.origin!r}")
            if not tree.verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, proof):
                raise LogError(
                    f"the signer refuses size {checkpoint.size}: it isn't proven consistent with size {last.size}, "
                    "which it signed before",
                    hint="the log was changed or rolled back: run `taprail audit verify` and restore it, "
                    "but never reset the signer",
                )
            if checkpoint != last:
                write_durably(self._state_path, msgspec.json.encode(checkpoint), 0o600)
                self._last = checkpoint
            return (notes.sign(checkpoint, last.origin, self._key),)


class SignerClient:
    """A `Signer` over a signer's socket. Raises StackError where nobody answers there."""

    def __init__(self, socket_path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        return self.last().origin

    def last(self) -> Checkpoint:
        return self._ask(Ask()).last

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes]) -> tuple[NoteSignature, ...]:
        return self._ask(Ask(checkpoint, tuple(proof))).signatures

    def _ask(self, ask: Ask) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(str(self._path))
                _send(connection.sendall, ask)
                answer = msgspec.json.decode(_receive(connection.recv), type=Answer)
        except (OSError, msgspec.DecodeError) as error:
            raise StackError(
                f"the signer at {self._path} doesn't answer: {error}",
                hint="start the signer; what was appended meanwhile is kept and signed then",
            ) from error
        if answer.error:
            raise LogError(answer.error)
        return answer


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    signer: KeySigner


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(TIMEOUT_S)
        signer = self.server.signer
        try:
            ask = msgspec.json.decode(_receive(connection.recv), type=Ask)
            signatures = signer.sign(ask.checkpoint, ask.proof) if ask.checkpoint else ()
            answer = Answer(signer.last(), signatures)
        except (TaprailError, OSError, msgspec.DecodeError) as error:
            answer = Answer(signer.last(), error=str(error))
        with contextlib.suppress(OSError):
            _send(connection.sendall, answer)


def serve(
    key_path: Path,
    state_path: Path,
    origin: str,
    socket_path: Path,
    stop: threading.Event | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer on `socket_path` until `stop` is set (or for ever); `ready` is called once it listens.

    The socket is its owner's alone (0600). Raises SettingsError for the key's files, StackError for the socket.
    """
    signer = KeySigner(key_path, state_path, origin)
    with contextlib.suppress(FileNotFoundError):
        socket_path.unlink()
    before = os.umask(0o177)
    try:
        server = _Server(str(socket_path), _Handler)
    except OSError as error:
        raise StackError(f"the signer can't listen at {socket_path}: {error}") from error
    finally:
        os.umask(before)
    server.signer = signer
    with server:
        if stop is not None:
            threading.Thread(target=_shut_down_after, args=(stop, server), daemon=True).start()
        ready()
        server.serve_forever(poll_interval=0.1)
    with contextlib.suppress(FileNotFoundError):
        socket_path.unlink()


def _shut_down_after(stop: threading.Event, server: _Server) -> None:
    stop.wait()
    server.shutdown()


def _send(write: Callable[[bytes], object], message: Struct) -> None:
    data = msgspec.json.encode(message)
    write(LENGTH.pack(len(data)) + data)


def _receive(read: Callable[[int], bytes]) -> bytes:
    (length,) = LENGTH.unpack(_exactly(read, LENGTH.size))
    if length > MESSAGE_BYTES_MAX:
        raise ConnectionError(f"a message of {length} bytes")
    return _exactly(read, length)


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = read(count - len(data))
        if not part:
            raise ConnectionError("the connection ended early")
        data += part
    return data


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"others may read the log's key {path}", hint=f"chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"the log's key {path} can't be read: {error}", hint="make one with `taprail keys new log`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path} holds no Ed25519 key")
    return key


def _load_state(path: Path, origin: str) -> Checkpoint:
    try:
        state = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            f"the signer doesn't know what it signed last: {path}: {error}",
            hint="restore the file; without it the signer could be made to sign a second version of the log",
        ) from error
    if state.origin != origin:
        raise SettingsError(f"{path} belongs to the log {state.origin!r}, not to {origin!r}", hint="correct the origin")
    return state
