"""Policies of an installation's own folder."""

from __future__ import annotations

from taprail.streams.policy.load import load
from taprail.streams.policy.ruling import PolicySet
from taprail.streams.settings import Loaded


def local_policies(loaded: Loaded) -> PolicySet | None:
    """Those of the folder that the settings name, None where they name none. Raises PolicyError."""
    directory = loaded.settings.policy.directory
    return PolicySet(load(loaded.path(directory))) if directory else None
