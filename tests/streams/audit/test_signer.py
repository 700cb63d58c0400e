"""The signer's one promise: no two signatures of it contradict each other, whoever asks."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taprail.schemas.errors import LogError, SettingsError, StackError
from taprail.schemas.ledger import Checkpoint
from taprail.streams.audit import note as notes
from taprail.streams.audit import tree
from taprail.streams.audit.signer import (
    KeySigner,
    SignerClient,
    default_state,
    generate_key,
    initialise_state,
    serve,
)

NAME = "audit.example.com"


class Leaves:
    def __init__(self, count: int, version: bytes = b"") -> None:
        self.leaves = [tree.leaf_hash(version + b"%d" % i) for i in range(count)]

    @property
    def size(self) -> int:
        return len(self.leaves)

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        assert level == 0
        return self.leaves[first : first + count]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(NAME, size, tree.root(self, size))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    generate_key(tmp_path / "log.key", NAME)
    return tmp_path / "log.key"


@pytest.fixture
def client(key: Path) -> Iterator[SignerClient]:
    stop, ready, socket = threading.Event(), threading.Event(), key.parent / "s"
    thread = threading.Thread(target=serve, args=(key, default_state(key), NAME, socket, stop, ready.set))
    thread.start()
    assert ready.wait(10)
    yield SignerClient(socket)
    stop.set()
    thread.join(5)
    assert not thread.is_alive() and not socket.exists()


def test_over_the_socket_it_signs_what_grew(client: SignerClient, key: Path) -> None:
    log, verifier = Leaves(100), notes.load_verifier(key.with_name("log.key.pub"))
    assert client.last() == Checkpoint(NAME, 0, tree.EMPTY_ROOT) and client.name == NAME
    before = 0
    for size in (1, 40, 40, 100):
        checkpoint = log.checkpoint(size)
        signatures = client.sign(checkpoint, tree.consistency_proof(log, before, size))
        assert notes.open_note(notes.render(checkpoint, signatures), verifier) == checkpoint
        before = size
    assert client.last() == log.checkpoint(100)


def test_it_refuses_a_second_version_of_the_past(client: SignerClient) -> None:
    log, other = Leaves(100), Leaves(100, b"other")
    client.sign(log.checkpoint(40), [])
    for refused, proof in [
        (log.checkpoint(39), []),
        (other.checkpoint(40), []),
        (other.checkpoint(100), tree.consistency_proof(other, 40, 100)),
        (log.checkpoint(100), []),
        (log.checkpoint(100), tree.consistency_proof(log, 39, 100)),
    ]:
        with pytest.raises(LogError, match="refuses"):
            client.sign(refused, proof)
    with pytest.raises(LogError, match="doesn't sign for"):
        client.sign(Checkpoint("other.example.com", 41, bytes(32)), [])
    assert client.last() == log.checkpoint(40)


def test_it_remembers_across_restarts(key: Path) -> None:
    log, other = Leaves(50), Leaves(50, b"other")
    KeySigner(key, default_state(key), NAME).sign(log.checkpoint(30), [])
    again = KeySigner(key, default_state(key), NAME)
    assert again.last() == log.checkpoint(30)
    with pytest.raises(LogError, match="refuses"):
        again.sign(other.checkpoint(50), tree.consistency_proof(other, 30, 50))


def test_without_its_memory_it_does_not_start(key: Path) -> None:
    key.with_name("log.key.state").unlink()
    with pytest.raises(SettingsError, match="signed last"):
        KeySigner(key, default_state(key), NAME)


def test_key_files_are_private_and_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(SettingsError, match="exists"):
        generate_key(key, NAME)
    key.chmod(0o640)
    with pytest.raises(SettingsError, match="others may read"):
        KeySigner(key, default_state(key), NAME)


def test_a_state_is_made_once_and_belongs_to_one_log(key: Path) -> None:
    log = Leaves(30)
    KeySigner(key, default_state(key), NAME).sign(log.checkpoint(30), [])
    initialise_state(default_state(key), NAME)
    assert KeySigner(key, default_state(key), NAME).last().size == 30
    with pytest.raises(SettingsError, match="belongs to the log"):
        initialise_state(default_state(key), "other.example.com")
    with pytest.raises(SettingsError, match="belongs to the log"):
        KeySigner(key, default_state(key), "other.example.com")


def test_the_socket_is_its_owners_alone(client: SignerClient, key: Path) -> None:
    assert stat.S_IMODE((key.parent / "s").stat().st_mode) == 0o600


def test_nobody_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="start the signer"):
        SignerClient(tmp_path / "none").last()
