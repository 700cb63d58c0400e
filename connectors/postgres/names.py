"""Which statement a name stands for on the server, known exactly although answers come later than requests.

A client that pipelines may reuse a name before the tap knows whether the server took it: a Parse that fails leaves the
old statement under the name. Requests between two Syncs (a group) succeed in order or are skipped together, so within
its group a name is what the group made it; beyond it the name is unknown until the group's ReadyForQuery.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Named = TypeVar("Named")


class Unsettled(Exception):
    """What a name stands for isn't known before the server has answered; ask again after ReadyForQuery."""


class Names(Generic[Named]):
    """Prepared statements of a session, or its portals."""

    def __init__(self) -> None:
        self._settled: dict[bytes, Named] = {}
        self._group: dict[bytes, Named | None] = {}  # changes since the last Sync
        self._cleared = False  # the open group forgets all names before `_group`
        self._flying: dict[bytes, int] = {}  # names that a group has changed which isn't answered yet
        self._last_flying = 0
        self._flying_clear = 0

    def __len__(self) -> int:
        return len(self._settled) + len(self._group)

    def get(self, name: bytes, answered: int) -> Named | None:
        """What `name` stands for to the next message; `answered` is the last group that is. Raises Unsettled."""
        if name in self._group:
            return self._group[name]
        if self._cleared and name:
            return None
        if (self._flying_clear > answered and name) or self._flying.get(name, 0) > answered:
            raise Unsettled
        return self._settled.get(name)

    def change(self, name: bytes, value: Named | None) -> None:
        """The open group asks the server to set or forget `name`."""
        self._group[name] = value

    def clear(self) -> None:
        """The open group asks the server to forget every name; what has none stays (DEALLOCATE ALL, DISCARD ALL)."""
        self._group = {name: value for name, value in self._group.items() if not name}
        self._cleared = True

    def end_group(self, group: int) -> None:
        """Sync, or the end of a simple query."""
        for name in self._group:
            self._flying[name] = self._last_flying = group
        if self._cleared:
            self._flying_clear = group
        self._group.clear()
        self._cleared = False

    def confirm(self, name: bytes, value: Named | None) -> None:
        """The server has set or forgotten `name`."""
        if value is None:
            self._settled.pop(name, None)
        else:
            self._settled[name] = value

    def confirm_clear(self) -> None:
        """The server has forgotten every name."""
        self._settled = {name: value for name, value in self._settled.items() if not name}

    def confirm_end(self) -> None:
        """The server has forgotten everything: portals end with their transaction."""
        self._settled.clear()

    def answered(self, group: int) -> None:
        """The server has answered every group up to this one."""
        if self._last_flying <= group:
            self._flying.clear()
            return
        for name in [name for name, changed in self._flying.items() if changed <= group]:
            del self._flying[name]
