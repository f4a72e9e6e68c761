"""Rates of real links: of test payloads sent now, or of the transfers of a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from node.errors import RunFolderError
from node.plan import Link
from orchestrator.plans.link_table import Row, rows_of_transfers
from orchestrator.plans.scenario import Scenario
from orchestrator.record.runs import load_run
from orchestrator.run.checking import Say, check
from orchestrator.run.shaping import plan_for_check


def measured_now(
    scenario: Scenario, method: str | None, links: str, size_bytes: int, say: Say
) -> tuple[list[Row], str]:
    """Rows, and what they are of: the links of a scenario between processes of this machine."""
    plan = plan_for_check(scenario, method, links)
    rows = [
        {**sample.row(plan), "measured_delay_s": sample.small_s, **_powers(sample.link)}
        for sample in asyncio.run(check(plan, size_bytes, say=say))
    ]
    return rows, f"{plan.scenario} {plan.method} between processes of one machine, links {links}"


def _powers(link: Link) -> dict[str, float]:
    return {"power_w": link.power_w, "receive_w": link.receive_w}


def measured_rows(folder: Path) -> tuple[list[Row], str]:
    """Rows, and what they are of: the links between the nodes of a run, which may still go on."""
    run = load_run(folder, allow_incomplete=True)
    return rows_of_transfers(run.plan, run.events.transfers), f"run {run.plan.run_id} in {folder.name}"


def write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunFolderError(
            f"{file}: cannot write the table: {error.strerror}; choose another --out"
        ) from error
