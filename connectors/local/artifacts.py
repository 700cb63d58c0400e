"""The jars of the stack: fetched by jgo from Maven's repository, pinned by SHA-256 in `jars.lock`, and cached.

A set of jars that is complete and verified stands in a folder named by the digest of its lock lines. When that folder
is there, nothing is asked and nothing is resolved: a second start is offline.

`python -m taprail.connectors.local.artifacts` fetches everything ahead of the first start.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from taprail.schemas.errors import StackError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).with_name("jars.lock")
JAR_SETS = ("kafka", "debezium", "converter", "registry")
_TIMEOUT_S = 60
_DOWNLOADS_AT_ONCE = 6


class Pin(msgspec.Struct, frozen=True):
    """One artifact of a set: Maven coordinates `group:artifact:version[:classifier]:packaging`, size and SHA-256."""

    set_name: str
    sha256: str
    size_bytes: int
    coordinates: str

    @property
    def line(self) -> str:
        return f"{self.set_name} {self.sha256} {self.size_bytes} {self.coordinates}"


def read_lock(path: Path = LOCK_FILE) -> list[Pin]:
    """The pins of a lock file: one a line, `#` starts a comment."""
    pins = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            set_name, sha256, size_bytes, coordinates = line.split(" ")
            pins.append(Pin(set_name, sha256, int(size_bytes), coordinates))
    return pins


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/taprail`, or `~/.cache/taprail` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "taprail"


def ensure_sets(names: list[str], *, cache: Path | None = None, lock: Path = LOCK_FILE) -> dict[str, Path]:
    """Folders with the verified jars of each named set (an archive is unpacked). Downloads what the cache lacks.

    StackError where a downloaded file isn't the pinned one: it is removed, and nothing of its set is used.
    """
    cache = cache or cache_directory()
    pins = {name: [pin for pin in read_lock(lock) if pin.set_name == name] for name in names}
    folders = {name: cache / "jars" / f"{name}-{_digest(pins[name])}" for name in names}
    missing = [name for name in names if not folders[name].is_dir()]
    if missing:
        wanted = [pin for name in missing for pin in pins[name]]
        with _alone(cache), _progress(sum(pin.size_bytes for pin in wanted)) as advance:
            paths = _fetch(wanted, cache / "maven", advance)
            for name in missing:
                _assemble(folders[name], [paths[pin.coordinates] for pin in pins[name]])
    return folders


def artifact_path(context: MavenContext, coordinates: str) -> Path:
    """Where jgo keeps this artifact; it is downloaded when it isn't there."""
    group, name, version, *classifier, packaging = coordinates.split(":")
    component = context.project(group, name).at_version(version)
    return Path(component.artifact(classifier=classifier[0] if classifier else "", packaging=packaging).resolve())


def file_sha256(path: Path) -> str:
    """Lower-case hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(pins: list[Pin]) -> str:
    if not pins:
        raise StackError("a set of jars isn't in the lock file", hint=f"see {LOCK_FILE}")
    return hashlib.sha256("\n".join(pin.line for pin in pins).encode()).hexdigest()[:16]


def _fetch(pins: list[Pin], repository: Path, advance: Callable[[int], None]) -> dict[str, Path]:
    """Verified files by coordinates."""
    from jgo.maven import MavenContext, PythonResolver  # only a first start pays for it

    @contextlib.contextmanager
    def on_download(_filename: str, _total: int) -> Iterator[Callable[[int], None]]:
        yield advance

    resolver = PythonResolver(progress_callback=on_download)
    context = MavenContext(resolver=resolver, repo_cache=repository, timeout=_TIMEOUT_S)

    def fetch(pin: Pin) -> tuple[str, Path]:
        try:
            path = artifact_path(context, pin.coordinates)
        except Exception as error:  # jgo and requests raise many kinds
            raise StackError(
                f"could not download {pin.coordinates}: {error}", hint="the first start needs Maven's repository"
            ) from error
        found = file_sha256(path)
        if found != pin.sha256:
            path.unlink()
            raise StackError(
                f"{pin.coordinates} has SHA-256 {found}, pinned is {pin.sha256}; the file was removed",
                hint="a broken download is fetched again at the next start; otherwise do not use that source",
            )
        return pin.coordinates, path

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return dict(pool.map(fetch, {pin.coordinates: pin for pin in pins}.values()))


def _assemble(folder: Path, files: list[Path]) -> None:
    """Put verified files into `folder` in one step: a crash leaves no half-made folder under the final name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        part.chmod(0o755)
        for file in files:
            if file.name.endswith(".tar.gz"):
                _unpack(file, part)
            else:
                (part / file.name).hardlink_to(file)
        if not folder.exists():  # another process may have been faster
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unpack(file: Path, folder: Path) -> None:
    """Regular files and folders only, and only inside `folder`. (tarfile's own filter came with Python 3.11.4.)"""
    with tarfile.open(file) as archive:
        for member in archive:
            target = (folder / member.name).resolve()
            if not target.is_relative_to(folder.resolve()) or not (member.isreg() or member.isdir()):
                raise StackError(f"{file.name} holds {member.name}, which isn't a file inside it", hint="don't use it")
            archive.extract(member, folder, set_attrs=False)


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One process at a time downloads: another one's half-written file would look like a forged one."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; one line otherwise."""
    if not sys.stderr.isatty():
        print(f"fetching {total_bytes / 1e6:.0f} MB of jars (once)", file=sys.stderr, flush=True)
        yield lambda _bytes: None
        return
    columns = (TextColumn("jars"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("jars", total=total_bytes)
        yield lambda count: bar.advance(task, count)


if __name__ == "__main__":
    ensure_sets(list(JAR_SETS))
