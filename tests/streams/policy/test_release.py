"""A release of policies counts as a whole or not at all, and only one that the control key has signed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from taprail.schemas.control import PolicyFile, PolicyRelease, SignedRecord, sign
from taprail.schemas.errors import PolicyError
from taprail.streams.policy.release import KEY, Releases, policies_in, release_of, texts_of, trial_of
from taprail.streams.policy.ruling import PolicySet

PRIVATE, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
POLICY = """id: {id}
title: Nothing is deleted
level: low
verdict: deny
match: "'DELETE' in statement.kinds"
tests: {{match: [DELETE FROM orders], pass: [SELECT 1]}}
"""


class Tap:
    def __init__(self, folder: Path) -> None:
        self.sets: list[PolicySet] = []
        self.releases = Releases({"control-1": PRIVATE.public_key()}, folder / "policies.json", self.sets.append)

    @property
    def ids(self) -> list[list[str]]:
        return [[policy.id for policy in each.policies] for each in self.sets]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "one.yaml").write_text(POLICY.format(id="one"))
    return tmp_path / "policies"


def signed(release: PolicyRelease, at_us: int = 10, key: Ed25519PrivateKey = PRIVATE, name: str = KEY) -> SignedRecord:
    return sign("policy", name, release, private_key=key, key_id="control-1", now_us=at_us)


def test_a_folder_becomes_a_release_and_a_release_policies(folder: Path, tmp_path: Path) -> None:
    release = release_of(folder, "ann", "first")
    assert [file.name for file in release.files] == ["one.yaml"]
    assert policies_in(release).version == release.version
    tap = Tap(tmp_path)
    tap.releases.take(signed(release))
    assert tap.ids == [["one"]]


def test_what_fails_its_tests_is_no_release(folder: Path) -> None:
    (folder / "two.yaml").write_text(POLICY.format(id="two").replace("match: [DELETE", "match: [SELECT 2, DELETE"))
    with pytest.raises(PolicyError, match=r"a test of two fails: SELECT 2: must match, and doesn't"):
        release_of(folder, "ann", "first")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(PolicyError, match="holds no policy"):
        release_of(folder, "ann", "first")


def test_a_dry_run_leaves_what_is_in_force_and_tries_the_rest(folder: Path) -> None:
    before = texts_of(folder)
    with pytest.raises(PolicyError, match="nothing but what is in force"):
        trial_of(folder, before, "ann", "try")
    (folder / "one.yaml").write_text(POLICY.format(id="one").replace("low", "high"))
    (folder / "two.yaml").write_text(POLICY.format(id="two"))
    made = policies_in(trial_of(folder, before, "ann", "try"))
    assert {(p.id, p.status, p.level) for p in made.policies} == {
        ("one", "stable", "low"), ("one-trial", "test", "high"), ("two-trial", "test", "low"),
    }  # fmt: skip


def test_what_is_not_signed_with_the_control_key_is_refused(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tap, release = Tap(tmp_path), release_of(folder, "ann", "first")
    tap.releases.take(signed(release, key=OTHER))
    tap.releases.take(replace(signed(release), payload=signed(release).payload.replace(b"ann", b"eve")))
    tap.releases.take(signed(release, name="another"))
    tap.releases.take(replace(signed(release), kind="identity"))
    assert tap.sets == [] and not (tmp_path / "policies.json").exists()
    assert caplog.text.count("is refused, and the one before stays in force") == 4


@pytest.mark.parametrize(
    "files",
    [
        (PolicyFile("one.yaml", POLICY.format(id="one").replace("DELETE", "UPDATE")),),  # not what was signed for
        (PolicyFile("one.yaml", POLICY.format(id="one") + "new_field: of a later version\n"),),
        (PolicyFile("one.yaml", POLICY.format(id="one")), PolicyFile("two.yaml", "id: [")),
        (),
    ],
)
def test_a_set_is_taken_whole_or_not_at_all(folder: Path, tmp_path: Path, files: tuple[PolicyFile, ...]) -> None:
    tap, release = Tap(tmp_path), release_of(folder, "ann", "first")
    tap.releases.take(signed(release, 10))
    tap.releases.take(signed(replace(release, files=files), 20))
    assert tap.ids == [["one"]]
    tap.releases.take(signed(release, 15))
    assert len(tap.sets) == 2, "what was refused doesn't count as newer"


def test_an_older_release_changes_nothing(folder: Path, tmp_path: Path) -> None:
    tap, first = Tap(tmp_path), release_of(folder, "ann", "first")
    (folder / "one.yaml").write_text(POLICY.format(id="second"))
    second = release_of(folder, "ann", "second")
    tap.releases.take(signed(second, 20))
    tap.releases.take(signed(first, 10))
    tap.releases.take(signed(first, 20))
    assert tap.ids == [["second"]]


def test_a_tap_that_starts_without_kafka_has_the_last_one(folder: Path, tmp_path: Path) -> None:
    Tap(tmp_path).releases.take(signed(release_of(folder, "ann", "first"), 10))
    tap = Tap(tmp_path)
    tap.releases.restore()
    assert tap.ids == [["one"]]
    assert (tmp_path / "policies.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind": 5}', b"\xff"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "policies.json").write_bytes(content)
    tap = Tap(tmp_path)
    with caplog.at_level(logging.ERROR):
        tap.releases.restore()
    assert tap.sets == [] and "can't be read, so the policies come from Kafka alone" in caplog.text
