"""The run folder while the run goes on: everything that happened, and the summary last.

plan.json  manifest.json    from the start
events.jsonl                every event of every node, line by line as it comes
modules/HOLDER/NAME.safetensors
metrics.jsonl  trace.json   at the end
summary.json                last of all, and whole or not at all: a folder without it, or whose summary
                            does not say `complete`, is not a whole run
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from node.errors import RunFolderError
from node.log import encode
from node.plan import Plan, dump_plan
from node.wire.book import Dedupe, trim_torn_line
from orchestrator.cost.pricing import Cost
from orchestrator.record.events import Events, read_events
from orchestrator.record.manifest import manifest_of
from orchestrator.record.metrics import metric_lines
from orchestrator.record.runs import EVENTS, MANIFEST, METRICS, MODULES, PLAN, SUMMARY, TRACE, read_lines
from orchestrator.record.summary import COMPLETE, Published, Summary, summarize
from orchestrator.record.trace import trace


class RunRecord:
    """Writes one run folder. Every failure to write is a RunFolderError."""

    def __init__(self, folder: Path, plan: Plan, mode: str = "w") -> None:
        self.folder = folder
        self._plan = plan
        self._digests: dict[str, dict[str, str]] = {}
        self._told = Dedupe()
        with _writing(folder):
            self._events = (folder / EVENTS).open(mode, encoding="utf-8", buffering=1)

    @classmethod
    def create(cls, folder: Path, plan: Plan, manifest: Mapping[str, Any] | None = None) -> RunRecord:
        """Makes the folder. `manifest` adds to what is known without asking, such as the scenario's text."""
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise RunFolderError(f"{folder}: not empty: choose another folder, or remove this one")
            _write(folder / PLAN, dump_plan(plan).encode())
            _write(folder / MANIFEST, _json({**manifest_of(plan), **(manifest or {})}))
        return cls(folder, plan)

    @classmethod
    def resume(cls, folder: Path, plan: Plan) -> RunRecord:
        """Goes on in the folder of a run that was broken off. `plan`: the same, at other addresses perhaps."""
        with _writing(folder):
            trim_torn_line(folder / EVENTS)
            (folder / SUMMARY).unlink(missing_ok=True)
            _write(folder / PLAN, dump_plan(plan).encode())
        record = cls(folder, plan, mode="a")
        for event in read_lines(folder / EVENTS):
            record._told.is_new(event)
        return record

    def event(self, event: Mapping[str, Any]) -> None:
        """One event of one node, as it comes; nothing when it has come before."""
        if not self._told.is_new(event):
            return
        with _writing(self.folder / EVENTS):
            self._events.write(encode(dict(event)) + "\n")

    def add_module(self, holder: str, module: str, data: bytes) -> None:
        """The final version of a module, as the node `holder` has it: the bytes of a safetensors file."""
        name = _inside(holder, f"{module}.safetensors")
        with _writing(self.folder / MODULES / name):
            path = self.folder / MODULES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data)
        self._digests.setdefault(holder, {})[module] = hashlib.sha256(data).hexdigest()

    def finish(
        self,
        state: str = COMPLETE,
        modelled: Cost | None = None,
        *,
        error: str | None = None,
        published: Published | None = None,
    ) -> Summary:
        """Writes what follows from the events, and summary.json last."""
        self.close()
        raw = list(read_lines(self.folder / EVENTS))
        events = read_events(raw)
        summary = summarize(
            self._plan,
            events,
            modelled,
            state=state,
            error=error,
            modules=self._digests,
            published=published,
        )
        with _writing(self.folder):
            self._write_metrics(events)
            _write(self.folder / TRACE, _json(trace(self._plan, events), indent=None))
            _write(self.folder / SUMMARY, _json(summary.model_dump(mode="json")))
        return summary

    def _write_metrics(self, events: Events) -> None:
        lines = (json.dumps(line, allow_nan=False) + "\n" for line in metric_lines(self._plan, events))
        _write(self.folder / METRICS, "".join(lines).encode())

    def close(self) -> None:
        """Without `finish`, the folder stays what it is: the trace of a run that did not end well."""
        with _writing(self.folder / EVENTS):
            self._events.close()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _inside(holder: str, name: str) -> PurePosixPath:
    """Module names have folders of their own; nothing may lead out of the run folder."""
    parts = [holder, *name.split("/")]
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts) or "/" in holder:
        raise RunFolderError(
            f"module '{name}' of '{holder}': not a name for a file: rename it in the scenario"
        )
    return PurePosixPath(*parts)


def _json(value: Any, indent: int | None = 1) -> bytes:
    separators = None if indent else (",", ":")
    return (json.dumps(value, indent=indent, separators=separators, allow_nan=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when it is there: a crash leaves the old name or the new content."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "choose another folder, or make room on the disk"
        raise RunFolderError(f"{path}: cannot write the run: {error.strerror}; {remedy}") from error
