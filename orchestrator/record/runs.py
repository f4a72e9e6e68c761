"""Reading run folders. Their content is not trusted: it may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from node.errors import PayloadError, PlanError, RunFolderError
from node.payload import Values, decode
from node.plan import Plan, load_plan
from orchestrator.record.events import Events, read_events
from orchestrator.record.manifest import Manifest
from orchestrator.record.summary import COMPLETE, Summary, summarize

PLAN, MANIFEST, EVENTS, METRICS = "plan.json", "manifest.json", "events.jsonl", "metrics.jsonl"
MODULES, TRACE, SUMMARY, REPORT = "modules", "trace.json", "summary.json", "report.html"


@dataclass(frozen=True)
class Run:
    """A run folder that was read."""

    folder: Path
    plan: Plan
    manifest: Manifest
    summary: Summary

    @property
    def complete(self) -> bool:
        return self.summary.state == COMPLETE

    @cached_property
    def raw_events(self) -> list[dict[str, Any]]:
        """In the order in which they came. Raises RunFolderError."""
        return list(read_lines(self.folder / EVENTS, may_be_torn=not self.complete))

    @cached_property
    def events(self) -> Events:
        return read_events(self.raw_events)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl. Raises RunFolderError."""
        return list(read_lines(self.folder / METRICS))


def load_run(folder: Path, *, allow_incomplete: bool = False) -> Run:
    """Raises RunFolderError for anything that is not a whole run.

    `allow_incomplete`: also a run that is still going or did not end well, as far as its events tell.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such run folder: give one that `hffm run` has written")
    try:
        plan = load_plan(folder / PLAN)
        manifest = Manifest.model_validate(_read_json(folder / MANIFEST))
    except PlanError as error:
        raise RunFolderError(f"{folder}: not a run folder: {error}") from error
    except ValidationError as error:
        _refuse(folder / MANIFEST, error)
    if not (folder / SUMMARY).exists():
        if not allow_incomplete:
            why = "not a whole run: it has no summary.json, so it is still going or was broken off"
            raise RunFolderError(f"{folder}: {why}; wait, or run it again")
        events = read_events(read_lines(folder / EVENTS, may_be_torn=True))
        return Run(folder, plan, manifest, summarize(plan, events, state="incomplete"))
    try:
        summary = Summary.model_validate(_read_json(folder / SUMMARY))
    except ValidationError as error:
        _refuse(folder / SUMMARY, error)
    if (summary.run_id, summary.method) != (plan.run_id, plan.method):
        raise RunFolderError(f"{folder}: summary.json is of another run than plan.json; run it again")
    if summary.state != COMPLETE and not allow_incomplete:
        why = f" ({summary.error})" if summary.error else ""
        raise RunFolderError(f"{folder}: not a whole run: it ended '{summary.state}'{why}; run it again")
    return Run(folder, plan, manifest, summary)


def read_lines(path: Path, *, may_be_torn: bool = False) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line. `may_be_torn`: the last line may be cut short."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if may_be_torn and not line.endswith(b"\n"):
                    return
                yield _parse(line, f"{path}: line {number}")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot read it: {error.strerror}; run it again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_bytes(), str(path))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot read it: {error.strerror}; not a run folder") from error


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{where}: not JSON ({str(error)[:80]}); run it again") from error
    if not isinstance(value, dict):
        raise RunFolderError(f"{where}: not a JSON object; run it again")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _refuse(path: Path, error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "(whole file)"
    raise RunFolderError(f"{path}: {key}: {first['msg']}; run it again") from error


def run_folders(given: Path) -> list[Path]:
    """The folder itself, or the run folders inside it when it is one of `hffm compare`."""
    if (given / PLAN).exists() or not given.is_dir():
        return [given]
    return sorted((p.parent for p in given.glob(f"*/{PLAN}")), key=_started) or [given]


def _started(folder: Path) -> float:
    return (folder / PLAN).stat().st_mtime


def read_modules(run: Run, holder: str) -> dict[str, Values]:
    """The last versions of the modules that a node had when the run ended. Raises RunFolderError."""
    folder = run.folder / MODULES / holder
    if holder not in run.plan.by_id or not folder.is_dir():
        why = f"no modules of '{holder}' were collected: name a node that is in {MODULES}/"
        raise RunFolderError(f"{folder}: {why}")
    found: dict[str, Values] = {}
    for module in run.plan.modules:
        path = folder / f"{module.name}.safetensors"
        if path.is_file():
            try:
                found[module.name] = decode(module, path.read_bytes())
            except (OSError, PayloadError) as error:
                raise RunFolderError(f"{path}: cannot be read ({error}); run again") from error
    return found
