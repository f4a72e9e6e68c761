"""Rates of links from the transfers that a run has logged, and their way back into a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import RunFolderError
from node.plan import Link, Plan
from orchestrator.plans.link_table import Row, rows_of_transfers, table_text
from orchestrator.plans.resolve import resolve
from orchestrator.record.events import Transfer, read_events
from tests.orchestrator.scenarios import scenario, table
from tests.orchestrator.streams import Stream

TREE = {"kind": "tree", "fanout": [1, 3], "d2d": {"graph": "line", "heads": [1]}}


def plan(folder: Path, channel: dict[str, Any]) -> Plan:
    keys = {"topology": TREE, "methods": ["hf-fm+d2d-2"], "payload_bytes": 10**6}
    return resolve(scenario(folder, channel=channel, **keys), "hf-fm+d2d-2")


def test_a_replay_has_the_rates_that_a_run_measured(tmp_path: Path):
    run = plan(tmp_path, table(device_edge=8e6, edge_cloud=3e6, device_device=20e6))
    played = read_events(Stream(run, stretch=_quarter_longer).play(4))
    rows = rows_of_transfers(run, played.transfers)
    (tmp_path / "measured.yaml").write_text(table_text(rows, "a test"))
    used = {(row["src"], row["dst"]) for row in rows}
    idle = [_rule(link) for link in run.links if (link.src, link.dst) not in used]
    replay = plan(tmp_path, {"model": "table", "table": "measured.yaml", "links": idle})
    assert len(used) >= 8
    for link in run.links:
        found = replay.link(link.src, link.dst)
        assert found is not None
        share = 0.8 if (link.src, link.dst) in used else 1
        assert found.rate_bps == pytest.approx(share * link.rate_bps, rel=1e-6)
        assert found.power_w == link.power_w


def _quarter_longer(link: Link) -> float:
    return 1.25


def _rule(link: Link) -> dict[str, Any]:
    return {"from": link.src, "to": link.dst, "rate_bps": link.rate_bps, "power_w": link.power_w}


def row(folder: Path, *transfers: tuple[float, float, float, float]) -> Row:
    """Of one link; transfers: begin, seconds, bytes, seconds waited."""
    found = [
        Transfer(
            t=t,
            node="device-00",
            src="device-00",
            dst="device-01",
            link="d2d",
            seconds=s,
            bytes=b,
            waited_s=w,
        )
        for t, s, b, w in transfers
    ]
    (only,) = rows_of_transfers(
        plan(folder, table(device_edge=8e6, edge_cloud=3e6, device_device=2e7)), found
    )
    return only


def test_payloads_of_several_sizes_tell_rate_and_delay_apart(tmp_path: Path):
    found = row(tmp_path, (0, 0.1 + 1.0, 1e6, 0), (5, 0.1 + 2.0, 2e6, 0), (9, 0.1 + 4.0, 4e6, 0))
    assert found["measured_rate_bps"] == pytest.approx(8e6)
    assert found["measured_delay_s"] == pytest.approx(0.1)


def test_transfers_that_share_a_link_count_as_one(tmp_path: Path):
    """Two of 1 MB at once at 8 Mbit/s: each takes 2 s, and so do both."""
    found = row(tmp_path, (0, 2.0, 1e6, 0), (0, 2.0, 1e6, 0))
    assert (found["measured_rate_bps"], found["transfers"]) == (pytest.approx(8e6), 2)


def test_waiting_for_what_is_sent_on_is_not_the_links(tmp_path: Path):
    found = row(tmp_path, (0, 5.0, 1e6, 4.0))
    assert found["measured_rate_bps"] == pytest.approx(8e6)


def test_a_run_without_transfers_is_one_line(tmp_path: Path):
    with pytest.raises(RunFolderError, match="has logged no transfers; let it run a round"):
        rows_of_transfers(plan(tmp_path, table(device_edge=8e6, edge_cloud=3e6, device_device=2e7)), [])
