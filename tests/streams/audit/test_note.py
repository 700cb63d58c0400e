"""Signed notes against C2SP's own example, and against everybody who would like to forge one."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import SettingsError, SignatureError
from taprail.schemas.ledger import Checkpoint, NoteSignature
from taprail.streams.audit import note as notes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "audit.example.com"
VERIFIER = notes.verifier_of(NAME, KEY)
CHECKPOINT = Checkpoint(NAME, 42, bytes(range(32)))
NOTE = notes.render(CHECKPOINT, [notes.sign(CHECKPOINT, NAME, KEY)])


def test_a_verifier_key_of_another_implementation() -> None:
    """The key of Go's sum.golang.org, whose id is in its text."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(notes.parse_verifier(text)) == text
    assert notes.parse_verifier(text).key_id.hex() == "033de0ae"


def test_the_text_is_c2sp_checkpoint_text() -> None:
    root = base64.b64encode(bytes(range(32))).decode()
    text, _, signature = NOTE.partition("\n\n")
    assert text == f"{NAME}\n42\n{root}"
    assert signature.startswith(f"— {NAME} ") and signature.endswith("\n")
    raw = base64.b64decode(signature.split(" ")[2])
    assert raw[:4] == VERIFIER.key_id
    KEY.public_key().verify(raw[4:], (text + "\n").encode())


def test_lines_of_other_keys_are_passed_over() -> None:
    """A witness, or a second algorithm, adds its line and breaks nothing."""
    other = NoteSignature("witness.example.com", b"1234", b"a signature of some algorithm")
    both = notes.render(CHECKPOINT, [other, notes.sign(CHECKPOINT, NAME, KEY)])
    assert notes.open_note(both, VERIFIER) == CHECKPOINT
    with pytest.raises(SignatureError, match="isn't signed by"):
        notes.open_note(notes.render(CHECKPOINT, [other]), VERIFIER)


def test_another_key_and_another_log_are_refused() -> None:
    stranger = Ed25519PrivateKey.generate()
    forged = notes.render(CHECKPOINT, [notes.sign(CHECKPOINT, NAME, stranger)])
    with pytest.raises(SignatureError, match="isn't signed by"):
        notes.open_note(forged, VERIFIER)
    same_id = NoteSignature(NAME, VERIFIER.key_id, stranger.sign(notes.text_of(CHECKPOINT).encode()))
    with pytest.raises(SignatureError, match="doesn't hold"):
        notes.open_note(notes.render(CHECKPOINT, [same_id]), VERIFIER)
    elsewhere = Checkpoint("other.example.com", 42, bytes(32))
    with pytest.raises(SignatureError, match="belongs to the log"):
        notes.open_note(notes.render(elsewhere, [notes.sign(elsewhere, NAME, KEY)]), VERIFIER)


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_a_changed_character_never_gives_another_checkpoint(at: int, character: str) -> None:
    with contextlib.suppress(SignatureError):
        assert notes.open_note(NOTE[:at] + character + NOTE[at + 1 :], VERIFIER) == CHECKPOINT


@given(st.text(max_size=200))
def test_any_text_is_a_note_or_the_one_error(text: str) -> None:
    with contextlib.suppress(SignatureError):
        notes.parse(text)


@pytest.mark.parametrize("size", ["042", "-1", "+1", "1_0", "٤", "", "9" * 25])
def test_sizes_that_could_be_read_two_ways_are_refused(size: str) -> None:
    with pytest.raises(SignatureError):
        notes.parse(NOTE.replace("\n42\n", f"\n{size}\n"))


@pytest.mark.parametrize(
    "text", ["", "a+b", "name+00000000+AA==", str(VERIFIER)[:-4], str(VERIFIER).replace("a", "b", 1)]
)
def test_damaged_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        notes.parse_verifier(text)
