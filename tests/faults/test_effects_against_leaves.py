"""Effects in PostgreSQL against leaves in the log, while every process of the whole is killed under load."""

from __future__ import annotations

import time

import pytest

from tests.faults.effects import Load, account_for
from tests.system.installation import installed, new_home

STEADY_SECONDS = 1.0
# Connect comes back before the registry does: its tasks fail for good, unless somebody starts them again.
VICTIMS = ("connect", "registry", "tap", "stream", "postgresql", "ledger", "agents", "signer", "tap")


@pytest.mark.timeout(240)
def test_every_effect_has_its_leaf_while_everything_is_killed() -> None:
    with new_home() as home, installed(home) as installation:
        with Load(installation) as load:
            load.goes_on()
            for victim in VICTIMS:
                installation.kill(victim)
                time.sleep(STEADY_SECONDS)
                load.goes_on()
        assert load.errors, "nobody noticed that the tap was killed"
        assert len(load.acknowledged) > 100 * len(VICTIMS)
        account_for(installation, load, lives=1 + VICTIMS.count("tap"))
