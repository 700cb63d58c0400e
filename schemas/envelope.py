"""Values leave a tap encrypted or hashed, never in the clear: AES-256-GCM envelopes and keyed hashes.

A `Sealer` holds one 256-bit data key. The purpose is associated data, so an envelope can't be moved to another record.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taprail.schemas.errors import SettingsError, SignatureError
from taprail.schemas.records import Envelope

ALGORITHM = "A256GCM"
NONCE_BYTES = 12


class Sealer:
    """Raises SettingsError unless the key has 32 bytes."""

    def __init__(self, key_id: str, key: bytes) -> None:
        if len(key) != 32:
            raise SettingsError(
                f"data key {key_id!r} has {len(key)} bytes instead of 32",
                hint="make one with `taprail keys new data`",
            )
        self.key_id = key_id
        self._cipher = AESGCM(key)
        self._hash_key = hashlib.sha256(b"taprail/hash/v1\0" + key).digest()

    def mask_key(self, environment: str) -> bytes:
        """What masked values of an environment are hashed with, 32 bytes: nothing can be joined across environments."""
        return hmac.digest(self._hash_key, b"mask/" + environment.encode(), "sha256")

    def seal(self, plaintext: bytes, purpose: str) -> Envelope:
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._cipher.encrypt(nonce, plaintext, purpose.encode())
        return Envelope(ALGORITHM, self.key_id, "record", purpose, nonce, ciphertext)

    def open(self, envelope: Envelope) -> bytes:
        """Raises SignatureError where the envelope was made with another key or has been changed."""
        if envelope.algorithm != ALGORITHM or envelope.key_id != self.key_id:
            raise SignatureError(
                f"an envelope under key {envelope.key_id!r} can't be opened with key {self.key_id!r}",
                hint="name the key that sealed it",
            )
        try:
            return self._cipher.decrypt(envelope.nonce, envelope.ciphertext, envelope.purpose.encode())
        except InvalidTag:
            raise SignatureError("an envelope doesn't open: it was changed, or moved to another record") from None

    def hash(self, value: bytes) -> str:
        """A keyed hash (HMAC-SHA256, 96 bits in hex): equal values stay equal, and nobody without the key can guess."""
        return hmac.new(self._hash_key, value, hashlib.sha256).hexdigest()[:24]
