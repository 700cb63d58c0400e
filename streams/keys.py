"""The keys of an installation: made once, 0600, never overwritten."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from taprail.schemas.control import Body, ControlKind, SignedRecord, sign
from taprail.schemas.errors import SettingsError

SYMMETRIC_BYTES = 32


class ControlKey(Struct, frozen=True):
    """What control records are signed with, and its name."""

    name: str
    private: Ed25519PrivateKey

    def sign(self, kind: ControlKind, key: str, body: Body, now_us: int) -> SignedRecord:
        return sign(kind, key, body, private_key=self.private, key_id=self.name, now_us=now_us)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that isn't there yet. Raises SettingsError where it is: a key that is in use is not replaced."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise SettingsError(f"{path} is there already", hint="keep it, or move it away first") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def new_symmetric(path: Path) -> None:
    """A random key of 32 bytes in hex: for marks and envelopes."""
    write_new(path, secrets.token_hex(SYMMETRIC_BYTES).encode() + b"\n", 0o600)


def new_pair(private_path: Path, public_path: Path) -> None:
    """An Ed25519 key pair as PEM (PKCS #8, SubjectPublicKeyInfo): for control records and checkpoints."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_new(private_path, private, 0o600)
    write_new(public_path, public, 0o644)


def symmetric(text: str, setting: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != SYMMETRIC_BYTES:
        raise SettingsError(f"{setting} is not 32 bytes in hex", hint="make one with `taprail keys new`")
    return key


def private_key(pem: str, setting: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError as error:
        raise SettingsError(f"{setting} is not a PEM key: {error}", hint="make one with `taprail keys new`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{setting} is not an Ed25519 key", hint="make one with `taprail keys new`")
    return key


def public_key(path: Path, setting: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting}: {path} is not a PEM public key: {error}", hint="correct the path") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{setting}: {path} is not an Ed25519 key", hint="make one with `taprail keys new`")
    return key
