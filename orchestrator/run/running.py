"""Runs of a scenario on this machine: plans, folders, nodes, records."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.launch import LAUNCHERS, NAMESPACED, Launcher
from deploy.links.addressing import place_in_block
from deploy.links.leftovers import taken_blocks
from node.errors import HffmError, Interrupted
from node.plan import Plan
from orchestrator.cost.pricing import price
from orchestrator.plans.resolve import resolve
from orchestrator.plans.scenario import Scenario
from orchestrator.record.folder import RunRecord
from orchestrator.record.summary import Published, Summary
from orchestrator.run.addresses import check_ports, with_free_ports
from orchestrator.run.backends import AUTO, Choice, choose
from orchestrator.run.conduct import conduct
from orchestrator.run.progress import progress_for

RUNS = Path("runs")


@dataclass(frozen=True)
class Settings:
    """What the command line may say in place of the scenario."""

    rounds: int | None = None
    links: str | None = None
    launcher: str | None = None  # None: what the links need


def run_methods(
    scenario: Scenario, methods: Sequence[str], settings: Settings, out: Path | None, single: bool
) -> tuple[Path, list[Summary]]:
    """Runs one method after the other; the folder and the summaries.

    A single run's folder is the given one; several get a folder each inside it. Raises what made a run fail;
    no node is left behind, and the folder of that run says how it ended.
    """
    choice = choice_of(scenario, settings)
    plans = [plan_run(scenario, method, settings, choice) for method in methods]
    folder = out or default_folder(scenario.name + (f"-{methods[0]}" if single else ""))
    launcher = LAUNCHERS[choice.launcher]()
    try:
        summaries = [
            _run_one(scenario, plan, folder if single else folder / plan.method, choice, launcher)
            for plan in plans
        ]
    finally:
        launcher.close()
    return folder, summaries


def default_folder(label: str) -> Path:
    return RUNS / f"{label}-{time.strftime('%Y%m%d-%H%M%S')}"


def choice_of(scenario: Scenario, settings: Settings) -> Choice:
    """Links and launcher, from what was asked for and what this machine can do; said where it was not asked."""
    links = settings.links or scenario.links
    choice = choose(links, settings.launcher)
    if links == AUTO:
        print(f"links {choice.links}: {choice.why}", file=sys.stderr)
    return choice


def plan_run(scenario: Scenario, method: str, settings: Settings, choice: Choice) -> Plan:
    """The plan of one run, at addresses that are free unless the scenario names ports on this host."""
    # Computing takes no virtual time.
    computing = "modelled" if choice.links == "lab" else "measured"
    plan = resolve(scenario, method, rounds=settings.rounds)
    plan = plan.replace(links_backend=choice.links, computing=computing)
    if choice.launcher in NAMESPACED:
        return place_in_block(plan, taken_blocks())
    if "base_port" in scenario.network.model_fields_set:
        check_ports(plan)
        return plan
    return with_free_ports(plan)


def open_record(scenario: Scenario, plan: Plan, folder: Path, choice: Choice) -> RunRecord:
    about = {"scenario": scenario.text, "launcher": choice.launcher, "links_why": choice.why}
    return RunRecord.create(folder, plan, about)


def finish(plan: Plan, record: RunRecord, figures: Published | None, error: BaseException | None) -> Summary:
    """Writes the summary of a run that is over, however it ended."""
    state = "complete" if error is None else "failed"
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError | Interrupted):
        state = "interrupted"
    said = None if error is None else f"{type(error).__name__}: {error}"
    return record.finish(state, price(plan), error=said, published=figures)


def published_figures(scenario: Scenario, method: str) -> Published | None:
    """Of the publication that the scenario reproduces, accuracy as a share."""
    found = scenario.published.get(method)
    if found is None:
        return None
    share = None if found.accuracy is None else found.accuracy / 100
    return Published(latency_s=found.latency_s, energy_j=found.energy_j, accuracy=share)


def _run_one(scenario: Scenario, plan: Plan, folder: Path, choice: Choice, launcher: Launcher) -> Summary:
    figures = published_figures(scenario, plan.method)
    with open_record(scenario, plan, folder, choice) as record:
        progress = progress_for(plan.method, plan, 0, plan.rounds)
        try:
            work = conduct(plan, folder, launcher, record, progress, plan.rounds)
            asyncio.run(_ended_by_sigterm(work))
        except (HffmError, KeyboardInterrupt) as error:
            with contextlib.suppress(HffmError):  # the first error is the one to tell
                finish(plan, record, figures, error)
            raise
        finally:
            progress.close()
        return finish(plan, record, figures, None)


async def _ended_by_sigterm(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM ends the work as Ctrl-C does: what it has started is stopped first."""
    task = asyncio.ensure_future(work)
    told: list[bool] = []

    def end() -> None:
        told.append(True)
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise
        raise Interrupted("ended by SIGTERM; all nodes are stopped") from None
