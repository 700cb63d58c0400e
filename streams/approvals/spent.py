"""Approvals for one run that were used, in files: so all processes of a tap know it, and so does its next start."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

from taprail.schemas.errors import RefusedError, SpoolError

KEPT_SECONDS = 2 * 86_400  # twice as long as such an approval may last
_log = logging.getLogger("taprail.approvals")


class Spent:
    """A folder with an empty file for each. Creating it is what uses an approval up: only one can (open(2), O_EXCL)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, grant_id: str) -> bool:
        return self._file(grant_id).exists()

    def spend(self, grant_id: str) -> None:
        """Raises RefusedError where it was used before, SpoolError where it can't be remembered."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not self._create(grant_id):
                hint = "it was for one run: ask again by running it once more"
                raise RefusedError(f"approval {grant_id} was used already", hint=hint)
        except OSError as error:
            raise SpoolError(
                f"that approval {grant_id} is used can't be remembered: {error.strerror}", hint="check the spool's disk"
            ) from error
        self._forget_old()

    def _create(self, grant_id: str) -> bool:
        """Whether it wasn't there; once this returns, it is on the disk."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.close(os.open(self._file(grant_id), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.fsync(folder)
        except FileExistsError:
            return False
        finally:
            os.close(folder)
        return True

    def _forget_old(self) -> None:
        oldest = time.time() - KEPT_SECONDS
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s: %s", path, error.strerror)

    def _file(self, grant_id: str) -> Path:
        return self._folder / hashlib.sha256(grant_id.encode()).hexdigest()
