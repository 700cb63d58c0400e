"""C2SP signed notes and tlog-checkpoint: the text of a checkpoint, its signature lines, verifier keys.

A note is its text, an empty line, and one line `— <key name> <base64(key id || signature)>` for each signature. A
verifier key is `<key name>+<key id in hex>+<base64(algorithm || public key)>`. Sources: c2sp.org/signed-note and
c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from taprail.schemas.errors import SettingsError, SignatureError
from taprail.schemas.ledger import Checkpoint, NoteSignature

ED25519 = b"\x01"
SIZE_MAX = 1 << 63
NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100


class Verifier(Struct, frozen=True):
    """A name and the Ed25519 public key that it is trusted with (32 bytes).

    A key that came from a PEM file has no name (''): it is trusted for the one log that it signs, whatever its name.
    """

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public_key).decode()}"


def verifier_of(name: str, key: Ed25519PrivateKey) -> Verifier:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Verifier(check_name(name), raw)


def parse_verifier(text: str) -> Verifier:
    """Read a verifier key. Raises SettingsError where it isn't one, or its key id isn't that of its name and key."""
    try:
        name, key_id, encoded = text.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise SettingsError(
            f"{text.strip()[:80]!r} is no verifier key",
            hint="it looks like name+1a2b3c4d+AbCd…, and `taprail keys new log` writes it beside the key",
        ) from error
    verifier = Verifier(check_name(name), raw[1:])
    if raw[:1] != ED25519 or len(raw) != 33 or verifier.key_id.hex() != key_id:
        raise SettingsError(f"the verifier key of {name!r} is damaged or not Ed25519", hint="copy the whole line again")
    return verifier


def load_verifier(source: str | Path) -> Verifier:
    """A verifier key from its text, or from a file with such a text or a PEM public key. Raises SettingsError."""
    path = Path(source)
    if isinstance(source, str) and "+" in source and not path.exists():
        return parse_verifier(source)
    try:
        data = path.read_bytes()
        if not data.lstrip().startswith(b"-----BEGIN"):
            return parse_verifier(data.decode())
        key = serialization.load_pem_public_key(data)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the public key {path} can't be read: {error}", hint="give the log's public key"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path} holds no Ed25519 key", hint="give the log's public key")
    return Verifier("", key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def check_name(name: str) -> str:
    """A key name has no space and no plus (C2SP). Raises SettingsError."""
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise SettingsError(f"{name!r} can't name a log", hint="take a name such as audit.example.com, no space or +")
    return name


def text_of(checkpoint: Checkpoint) -> str:
    """What a signature covers: origin, size and root, each with its newline."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def sign(checkpoint: Checkpoint, name: str, key: Ed25519PrivateKey) -> NoteSignature:
    return NoteSignature(name, verifier_of(name, key).key_id, key.sign(text_of(checkpoint).encode()))


def render(checkpoint: Checkpoint, signatures: Sequence[NoteSignature]) -> str:
    lines = [f"— {s.name} {base64.b64encode(s.key_id + s.signature).decode()}\n" for s in signatures]
    return text_of(checkpoint) + "\n" + "".join(lines)


def parse(note: str) -> tuple[Checkpoint, tuple[NoteSignature, ...]]:
    """Read a note without trusting it. Raises SignatureError where it isn't a checkpoint in a signed note."""
    if len(note) > NOTE_BYTES_MAX:
        raise SignatureError(f"a note of {len(note)} characters is no checkpoint")
    text, separator, rest = note.rpartition("\n\n")
    if not separator or not rest.endswith("\n"):
        raise SignatureError("the note has no signature lines")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise SignatureError(f"the note has {len(lines)} signature lines")
    return _checkpoint(text), tuple(_signature(line) for line in lines)


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    try:
        text.encode()  # half of a surrogate pair is no text
        origin, size, encoded = lines[:3]
        root = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise SignatureError("the note's text is no checkpoint: origin, size and root are missing") from error
    canonical = size.isascii() and size.isdigit() and str(int(size[:20])) == size and int(size) < SIZE_MAX
    if not canonical or len(root) != 32 or not origin or len(lines) != 3:
        raise SignatureError("the note's text is no checkpoint: its size or root can't be read, or it says more")
    return Checkpoint(origin, int(size), root)


def _signature(line: str) -> NoteSignature:
    try:
        dash, name, encoded = line.split(" ")
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureError(f"signature line {line[:60]!r} can't be read") from error
    if dash != "—" or not name or len(raw) < 5:
        raise SignatureError(f"signature line {line[:60]!r} can't be read")
    return NoteSignature(name, raw[:4], raw[4:])


def open_note(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint that `verifier` has signed. Lines of other keys are passed over, as C2SP asks.

    Raises SignatureError where the verifier hasn't signed it, or one of its lines doesn't hold.
    """
    checkpoint, signatures = parse(note)
    if not verifier.name:
        verifier = Verifier(checkpoint.origin, verifier.public_key)
    mine = [s for s in signatures if s.name == verifier.name and s.key_id == verifier.key_id]
    if not mine:
        signers = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in signatures)
        raise SignatureError(
            f"the checkpoint of size {checkpoint.size} isn't signed by {verifier.name}+{verifier.key_id.hex()}",
            hint=f"it carries the keys {signers}: is this the right public key?",
        )
    public_key = Ed25519PublicKey.from_public_bytes(verifier.public_key)
    for signature in mine:
        try:
            public_key.verify(signature.signature, text_of(checkpoint).encode())
        except InvalidSignature:
            raise SignatureError(
                f"the signature of {verifier.name} over the checkpoint of size {checkpoint.size} doesn't hold",
                hint="the checkpoint was changed after it was signed",
            ) from None
    if checkpoint.origin != verifier.name:
        raise SignatureError(f"the checkpoint belongs to the log {checkpoint.origin!r}, not to {verifier.name!r}")
    return checkpoint
