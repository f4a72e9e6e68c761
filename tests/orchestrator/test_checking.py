"""What a check makes of pauses that are not the link's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from deploy.links.probing import Probing
from node.plan import Plan
from node.wire.overhead import carried
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from orchestrator.report.check_table import summary_lines
from orchestrator.run import checking

QUICKSTART = Path("deploy/scenarios/quickstart.yaml")
SIZE_BYTES = 6_000_000


class Stalling:
    """Nodes whose first transfer over each link pauses as gRPC does, for `pauses` times."""

    def __init__(self, plan: Plan, pauses: int) -> None:
        self._plan = plan
        self._left = {(link.src, link.dst): pauses for link in plan.links}
        self.whole: list[tuple[str, str]] = []
        self._under_way = 0
        self.beside = 0  # the most transfers that one which is sent again had beside it

    async def send(self, src: str, dst: str, size_bytes: int) -> float:
        link = self._plan.link(src, dst)
        assert link is not None
        back = self._plan.link(dst, src)
        seconds = carried(link, self._plan.links_backend, back).seconds(size_bytes)
        if size_bytes < SIZE_BYTES:
            return seconds
        self._under_way += 1
        await asyncio.sleep(0)
        if (src, dst) in self.whole:
            self.beside = max(self.beside, self._under_way - 1)
        self._under_way -= 1
        self.whole.append((src, dst))
        self._left[src, dst] -= 1
        return seconds + (0.25 if self._left[src, dst] >= 0 else 0.0)


@pytest.mark.parametrize(
    ("pauses", "tries", "sent", "fine"),
    [(0, 3, 1, True), (2, 3, 3, True), (3, 3, 3, False), (1, 1, 1, False)],
)
def test_a_pause_is_not_taken_for_the_link(pauses: int, tries: int, sent: int, fine: bool) -> None:
    plan = resolve(load_scenario(QUICKSTART), "hf-fm+d2d-2")
    nodes = Stalling(plan, pauses)
    samples = asyncio.run(checking._measure(plan, cast(Probing, nodes), SIZE_BYTES, True, tries, None))
    rows = [sample.row(plan) for sample in samples]
    assert {row["tries"] for row in rows} == {sent}
    assert len(nodes.whole) == sent * len(plan.links)
    assert all((abs(row["error"]) < 1e-6) is fine for row in rows)
    assert any("sent again" in line for line in summary_lines(rows)) is (sent > 1)


@pytest.mark.parametrize("concurrent", [False, True])
def test_what_is_sent_again_has_the_machine_to_itself(concurrent: bool) -> None:
    """Unless all are to be under way at once."""
    plan = resolve(load_scenario(QUICKSTART), "hf-fm+d2d-2")
    nodes = Stalling(plan, 1)
    asyncio.run(checking._measure(plan, cast(Probing, nodes), SIZE_BYTES, concurrent, 2, None))
    assert (nodes.beside > 0) is concurrent
