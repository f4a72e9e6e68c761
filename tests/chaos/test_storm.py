"""Nodes of every tier killed at random moments: nothing is lost, nothing counts twice, nobody is left."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

from tests.chaos.storm import check, disturbed, storm_plan, undisturbed

# Rounds, kills and seeds: a breeze with every `make test`, the storm in the second stage (HFFM_STORM=1).
STORM = os.environ.get("HFFM_STORM") == "1"
ROUNDS, KILLS, SEEDS = (6, 8, range(1, 7)) if STORM else (4, 3, range(1, 2))


@pytest.mark.timeout(900)
def test_killed_nodes_leave_the_modules_of_an_undisturbed_run(tmp_path):
    plan = storm_plan()
    calm = asyncio.run(undisturbed(plan, tmp_path / "calm", ROUNDS))
    check(plan, tmp_path / "calm", calm, calm)
    killed: Counter[str] = Counter()
    for seed in SEEDS:
        storm = asyncio.run(disturbed(plan, tmp_path / str(seed), ROUNDS, KILLS, seed))
        check(plan, tmp_path / str(seed), storm, calm)
        killed += storm.kills
    assert sum(killed.values()) > 0
    tiers = ", ".join(f"{count} {tier}" for tier, count in sorted(killed.items()))
    print(f"{sum(killed.values())} nodes killed ({tiers}) in {ROUNDS * len(SEEDS)} rounds; 0 rounds lost")
