"""A run that was broken off goes on: from the journals of its nodes, in its own folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.launch import BOARDS, LAUNCHERS, NAMESPACED
from deploy.links.addressing import place_in_block
from deploy.links.leftovers import taken_blocks
from node.errors import AddressError, RunFolderError
from node.plan import Plan
from orchestrator.record.folder import RunRecord
from orchestrator.record.runs import Run, load_run
from orchestrator.record.summary import Published, Summary
from orchestrator.run.addresses import check_ports, with_free_ports
from orchestrator.run.backends import Choice
from orchestrator.run.guests import KERNELS
from orchestrator.run.running import Settings, carry_out
from orchestrator.run.securing import Asked


class _Begun(BaseModel):
    """How the run was begun: manifest.json, `resume`."""

    model_config = ConfigDict(frozen=True)
    restarts: int = 0
    tls: bool = False
    certs: Path | None = None
    insecure: bool = False
    published: Published | None = None


def resume(folder: Path, restarts: int | None = None) -> Summary:
    """The rest of the rounds, on nodes that are started anew. Raises RunFolderError, and what made the run fail.

    `restarts`: of each node; None: as the run was begun.
    """
    run = load_run(folder, allow_incomplete=True)
    if run.complete:
        raise RunFolderError(f"{folder}: a whole run: all its rounds are done, nothing is left to resume")
    name = str((run.manifest.model_extra or {}).get("launcher", ""))
    if name not in LAUNCHERS or run.plan.links_backend in KERNELS:
        raise RunFolderError(
            f"{folder}: its nodes ran in a guest, or by hand: resume it where it was started"
        )
    if name == BOARDS:
        raise RunFolderError(
            f"{folder}: its nodes ran on boards, and their journals left with the connection: run it again"
        )
    begun = _begun(run)
    most = begun.restarts if restarts is None else restarts
    settings = Settings(asked=Asked(begun.tls, begun.certs, begun.insecure), restarts=most)
    plan = _at_free_addresses(run.plan, name)
    launcher = LAUNCHERS[name]()
    try:
        choice = Choice(plan.links_backend, name, "as the run was begun")
        return carry_out(plan, RunRecord.resume(folder, plan), launcher, choice, settings, begun.published)
    finally:
        launcher.close()


def _at_free_addresses(plan: Plan, launcher: str) -> Plan:
    """The run's own, unless somebody else has taken them since."""
    if launcher in NAMESPACED:
        return place_in_block(plan, taken_blocks())
    try:
        check_ports(plan)
    except AddressError:
        return with_free_ports(plan)
    return plan


def _begun(run: Run) -> _Begun:
    try:
        return _Begun.model_validate((run.manifest.model_extra or {}).get("resume", {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("resume", *first["loc"])))
        raise RunFolderError(f"{run.folder / 'manifest.json'}: {key}: {first['msg']}") from error
