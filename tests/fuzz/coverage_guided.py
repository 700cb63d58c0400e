"""The same oracle, guided by coverage (atheris, libFuzzer): `make fuzz`. Its input is moves: side, length, bytes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["taprail.connectors.postgres"]):
    from tests.fuzz.conversation import play
    from tests.fuzz.test_oracle import COPYING, SEEDS

MOVE_BYTES_MAX = 256


def moves(data: bytes) -> list[tuple[bool, bytes]]:
    """One byte of side (its lowest bit), one of length, and as many bytes."""
    found, at = [], 0
    while at + 2 <= len(data):
        end = at + 2 + data[at + 1]
        found.append((data[at] % 2 == 0, data[at + 2 : end]))
        at = end
    return found


def packed(conversation: list[tuple[bool, bytes]]) -> bytes:
    return b"".join(bytes([not side, len(data)]) + data for side, data in conversation if len(data) < MOVE_BYTES_MAX)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="taprail-fuzz-") as corpus:
        for number, conversation in enumerate((*SEEDS.values(), [(True, COPYING)])):
            Path(corpus, str(number)).write_bytes(packed(conversation))
        atheris.Setup([*sys.argv, corpus], try_out)
        atheris.Fuzz()


def try_out(data: bytes) -> None:
    play(moves(data))


if __name__ == "__main__":
    main()
