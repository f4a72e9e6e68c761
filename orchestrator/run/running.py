"""Runs of a scenario on this machine: plans, folders, nodes, records."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.launch import BOARDS, LAUNCHERS, NAMESPACED, PACKING, Launcher
from deploy.launch.inventory import write_boards
from deploy.links.addressing import place_in_block
from deploy.links.leftovers import taken_blocks
from node.errors import HffmError, Interrupted
from node.plan import Plan
from orchestrator.cost.pricing import price
from orchestrator.plans.boards import boards_of, place_on_boards
from orchestrator.plans.resolve import resolve
from orchestrator.plans.scenario import Scenario
from orchestrator.record.folder import RunRecord
from orchestrator.record.summary import Published, Summary
from orchestrator.run.addresses import check_ports, with_free_ports
from orchestrator.run.backends import AUTO, Choice, choose
from orchestrator.run.conduct import conduct
from orchestrator.run.progress import progress_for
from orchestrator.run.securing import Asked, check, forget, secure

RUNS = Path("runs")


@dataclass(frozen=True)
class Settings:
    """What the command line may say in place of the scenario."""

    rounds: int | None = None
    links: str | None = None
    launcher: str | None = None  # None: what the links need
    asked: Asked = field(default_factory=Asked)
    restarts: int = 0  # of each node that ends before its time
    without_training: bool = False  # `training.left_out`


def run_methods(
    scenario: Scenario,
    methods: Sequence[str],
    settings: Settings,
    out: Path | None,
    single: bool,
    seeds: Sequence[int] = (),
) -> tuple[Path, list[Summary]]:
    """Runs one method after the other, with each of the seeds; the folder and the summaries.

    A single run's folder is the given one; several get a folder each inside it. Raises what made a run fail;
    no node is left behind, and the folder of that run says how it ended. No `seeds`: the scenario's.
    """
    choice = choice_of(scenario, settings)
    variants = [scenario.model_copy(update={"seed": seed}) for seed in seeds] or [scenario]
    plans = [plan_run(one, method, settings, choice) for one in variants for method in methods]
    for plan in plans:
        check(plan, settings.asked, choice)
    folder = out or default_folder(scenario.name + (f"-{methods[0]}" if single else ""))
    launcher = LAUNCHERS[choice.launcher]()

    def name(plan: Plan) -> str:
        return f"{plan.method}-seed-{plan.seed}" if len(variants) > 1 else plan.method

    try:
        summaries = [
            _run_one(scenario, plan, folder if single else folder / name(plan), choice, settings, launcher)
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
    plan = resolve(scenario, method, rounds=settings.rounds)
    left_out = plan.training.left_out or settings.without_training
    # Computing takes no virtual time, and what is left out takes none at all.
    computing = "modelled" if choice.links == "lab" or left_out else "measured"
    training = plan.training.model_copy(update={"left_out": left_out})
    plan = plan.replace(links_backend=choice.links, computing=computing, training=training)
    if plan.nodes_per_process > 1 and choice.launcher not in PACKING:
        raise scenario.error(
            "nodes_per_process",
            f"--launcher {choice.launcher} gives every node a process of its own; use one of "
            f"{', '.join(sorted(PACKING))}, or leave it out",
        )
    if choice.launcher in NAMESPACED:
        return place_in_block(plan, taken_blocks())
    if choice.launcher == BOARDS:
        return place_on_boards(plan, boards_of(scenario, plan))
    if "base_port" in scenario.network.model_fields_set:
        check_ports(plan)
        return plan
    return with_free_ports(plan)


def open_record(
    scenario: Scenario, plan: Plan, folder: Path, choice: Choice, settings: Settings
) -> RunRecord:
    about: dict[str, Any] = {"scenario": scenario.text, "launcher": choice.launcher, "links_why": choice.why}
    about["security"] = settings.asked.words
    figures = published_figures(scenario, plan.method)
    # What `hffm run --resume` goes on with.
    about["resume"] = {
        "restarts": settings.restarts,
        "tls": settings.asked.tls,
        "certs": str(settings.asked.certs.resolve()) if settings.asked.certs else None,
        "insecure": settings.asked.insecure,
        "published": figures.model_dump() if figures else None,
    }
    record = RunRecord.create(folder, plan, about)
    if choice.launcher == BOARDS:
        write_boards(folder, boards_of(scenario, plan))
    return record


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


def _run_one(
    scenario: Scenario, plan: Plan, folder: Path, choice: Choice, settings: Settings, launcher: Launcher
) -> Summary:
    record = open_record(scenario, plan, folder, choice, settings)
    return carry_out(plan, record, launcher, choice, settings, published_figures(scenario, plan.method))


def carry_out(
    plan: Plan,
    record: RunRecord,
    launcher: Launcher,
    choice: Choice,
    settings: Settings,
    figures: Published | None,
) -> Summary:
    """All rounds of the plan that are not done yet, and the summary. Raises what made the run fail."""
    folder, rounds = record.folder, plan.rounds
    with record:
        progress = progress_for(plan.method, plan, 0, rounds)
        try:
            security = secure(plan, folder, settings.asked, choice)
            work = conduct(plan, folder, launcher, security, record, progress, rounds, settings.restarts)
            asyncio.run(_ended_by_sigterm(work))
        except (HffmError, KeyboardInterrupt) as error:
            with contextlib.suppress(HffmError):  # the first error is the one to tell
                finish(plan, record, figures, error)
            raise
        finally:
            progress.close()
            forget(folder)
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
