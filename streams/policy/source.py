"""Where the policies of an installation come from."""

from __future__ import annotations

from taprail.streams.policy.load import load
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.ruling import PolicySet
from taprail.streams.settings import Loaded


def policies_of(loaded: Loaded) -> PolicySet:
    """Those of the folder that the settings name, otherwise the shipped ones. Raises PolicyError."""
    directory = loaded.settings.policy.directory
    return PolicySet(load(loaded.path(directory))) if directory else shipped()
