"""Under what a run was made: versions, machine, seeds, command, scenario."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict

from node.plan import Plan

_PACKAGES = (
    "hffm", "grpcio", "protobuf", "numpy", "pydantic", "torch", "transformers", "safetensors",
    "pillow", "scikit-learn", "networkx", "matplotlib",
)  # fmt: skip


class Manifest(BaseModel):
    """manifest.json; whoever starts the run may add keys."""

    model_config = ConfigDict(frozen=True, extra="allow")
    started: str = ""  # ISO 8601, UTC
    command: tuple[str, ...] = ()
    scenario: str = ""  # the text of the scenario file
    python: str = ""
    platform: str = ""
    cpus: int = 0  # that this process may use
    packages: dict[str, str] = {}  # name -> version, of those that are installed
    seed: int = 0  # of every named generator
    links_backend: str = ""
    plan_sha256: str = ""


def manifest_of(plan: Plan) -> dict[str, Any]:
    """What can be told without asking; importing none of the packages."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv),
        "scenario": "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "packages": _versions(),
        "seed": plan.seed,
        "links_backend": plan.links_backend,
        "plan_sha256": plan.sha256.hex(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
