"""Jars: pinned, verified, and fetched once."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from taprail.connectors.local import artifacts, lock
from taprail.schemas.errors import StackError


def cached(cache: Path, content: bytes, packaging: str = "jar") -> str:
    """Put an artifact where jgo keeps its downloads; its coordinates."""
    folder = cache / "maven" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"thing-1.0.{packaging}").unlink(missing_ok=True)
    (folder / f"thing-1.0.{packaging}").write_bytes(content)
    return f"org.example:thing:1.0:{packaging}"


def lock_file(path: Path, coordinates: str, content: bytes) -> Path:
    pin = artifacts.Pin("things", hashlib.sha256(content).hexdigest(), len(content), coordinates)
    path.write_text(f"# comment\n{pin.line}\n")
    return path


def test_pinned_file_becomes_a_folder_that_needs_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = lock_file(tmp_path / "lock", cached(tmp_path, b"jar"), b"jar")
    folder = artifacts.ensure_sets(["things"], cache=tmp_path, lock=pins)["things"]
    assert (folder / "thing-1.0.jar").read_bytes() == b"jar"
    monkeypatch.setitem(sys.modules, "jgo.maven", None)  # a second start may not even import jgo
    assert artifacts.ensure_sets(["things"], cache=tmp_path, lock=pins)["things"] == folder


def test_another_file_than_the_pinned_is_refused_and_removed(tmp_path: Path) -> None:
    coordinates = cached(tmp_path, b"evil jar")
    pins = lock_file(tmp_path / "lock", coordinates, b"jar")
    with pytest.raises(StackError, match="SHA-256"):
        artifacts.ensure_sets(["things"], cache=tmp_path, lock=pins)
    assert not list(tmp_path.rglob("*.jar"))


def test_a_changed_pin_is_another_folder(tmp_path: Path) -> None:
    folders = set()
    for content in (b"one", b"two"):
        pins = lock_file(tmp_path / "lock", cached(tmp_path, content), content)
        folders.add(artifacts.ensure_sets(["things"], cache=tmp_path, lock=pins)["things"])
    assert len(folders) == 2


def link_outside() -> tarfile.TarInfo:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    return member


@pytest.mark.parametrize("member", [tarfile.TarInfo("../outside"), tarfile.TarInfo("/tmp/outside"), link_outside()])
def test_archive_that_reaches_outside_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO())
    pins = lock_file(tmp_path / "lock", cached(tmp_path, buffer.getvalue(), "tar.gz"), buffer.getvalue())
    with pytest.raises(StackError, match="isn't a file inside"):
        artifacts.ensure_sets(["things"], cache=tmp_path, lock=pins)
    assert not list((tmp_path / "jars").iterdir())


def test_shipped_lock_has_what_the_stack_runs() -> None:
    pins = artifacts.read_lock()
    assert {pin.set_name for pin in pins} == set(lock.SETS)
    assert all(len(pin.sha256) == 64 and pin.size_bytes > 0 for pin in pins)
    names = {pin.coordinates for pin in pins}
    for jars in lock.SETS.values():
        assert names.issuperset(jars.roots + jars.alone)


def test_plugins_bring_nothing_that_the_worker_gives_them() -> None:
    for pin in artifacts.read_lock():
        if pin.set_name in ("debezium", "converter"):
            assert pin.coordinates.split(":")[1] not in {"kafka-clients", "connect-api", "connect-json"}


def test_cache_directory_honours_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert artifacts.cache_directory() == tmp_path / "taprail"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert artifacts.cache_directory() == Path.home() / ".cache" / "taprail"
