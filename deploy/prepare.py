"""What must be there before anything but Kafka can start: keys, then Kafka's users, access rules and topics.

Run by the `prepare` service of docker-compose.yml: `python prepare.py --config /etc/taprail/taprail.toml`. Doing it
twice is safe: a key that is there is never replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from taprail.connectors.kafka.admin import provision
from taprail.schemas.endpoints import ROLES
from taprail.schemas.errors import SettingsError, TaprailError
from taprail.streams import keys, settings
from taprail.streams.audit.signer import initialise_state
from taprail.streams.certificate import self_signed
from taprail.streams.settings import Loaded


def make_keys(loaded: Loaded, progress: Callable[[str], None]) -> None:
    """The control key, the log's key with the signer's memory, and a certificate for the tap: each once."""
    configured = loaded.settings
    control = (configured.keys.control_private or "").removeprefix("file:")
    control_public = configured.keys.control_public[configured.keys.control_id]
    if _pair(loaded.path(control), loaded.path(control_public)):
        progress(f"made the control key {control}")
    ledger = configured.ledger
    if not loaded.path(ledger.signer_key).exists():
        # An empty memory would sign anything, so it comes before its key, and never after.
        memory = loaded.path(ledger.signer_state)
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        initialise_state(memory, ledger.origin)
    if _pair(loaded.path(ledger.signer_key), loaded.path(ledger.public_key)):
        progress(f"made the log's key {ledger.signer_key}")
    private, certificate = loaded.path(configured.tap.private_key), loaded.path(configured.tap.certificate)
    if not private.exists():
        key_pem, certificate_pem = self_signed(("localhost", "tap"))
        certificate.unlink(missing_ok=True)  # of a run that ended here
        keys.write_new(certificate, certificate_pem, 0o644)
        keys.write_new(private, key_pem, 0o600)
        progress(f"made a self-signed certificate {certificate}: replace it with one that your clients know")


def _pair(private: Path, public: Path) -> bool:
    """Make a pair unless it is there; True where it is new. The public half is made again from the private one."""
    if private.exists():
        if not public.exists():
            pem = keys.private_key(private.read_text(), str(private)).public_key()
            encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            keys.write_new(public, pem.public_bytes(encoding, form), 0o644)
        return False
    if public.exists():
        raise SettingsError(
            f"{public} is there, but its private key {private} is not",
            hint="restore the private key; what was signed with it can't be signed again with another",
        )
    keys.new_pair(private, public)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    try:
        loaded = settings.load(parser.parse_args().config)
        make_keys(loaded, print)
        provision(loaded.kafka(*(role for role in ROLES if role in loaded.settings.kafka.passwords)))
    except TaprailError as error:
        print(error, file=sys.stderr)
        return 1
    print("keys, Kafka's users, access rules and topics are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
