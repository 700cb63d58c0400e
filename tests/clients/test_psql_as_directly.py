"""psql through the tap, compared as `make clients` compares it: the client that needs nothing but the stack."""

from __future__ import annotations

import sys
from pathlib import Path

from taprail.schemas.endpoints import Endpoints
from tests.clients.__main__ import attempt
from tests.clients.catalogue import CLIENTS
from tests.clients.ground import ground


def test_psql_shows_what_it_shows_directly(stack: Endpoints, tmp_path: Path) -> None:
    with ground(stack, tmp_path) as place:
        steps, wrong = attempt(CLIENTS["psql"], Path(sys.executable), place, tmp_path)
    assert wrong == [] and steps > 80
