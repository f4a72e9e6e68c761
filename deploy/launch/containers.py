"""Nodes in containers of this host's Docker engine, from a compose file beside the plan."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.launch.compose import ADDRESSES, FILE, addresses_text, compose_text
from deploy.launch.engine import Project, ending
from deploy.links.tc import SHAPERS
from node.errors import LaunchError
from node.plan import Plan

IMAGE = os.environ.get("HFFM_IMAGE", "hffm")
_POLL_S = 0.05


def write_compose(plan: Plan, folder: Path, certs: Path | None = None) -> Path:
    """The compose file, beside plan.json, with what else it needs. Raises LaunchError."""
    text = compose_text(plan, IMAGE, len(os.sched_getaffinity(0)), certs)
    try:
        if plan.links_backend in SHAPERS:
            (folder / ADDRESSES).write_text(addresses_text(plan))
        for node in plan.by_id:
            (folder / "state" / node).mkdir(parents=True, exist_ok=True)
            (folder / "state" / node).chmod(0o777)  # for whatever user the node is in its container
        (folder / FILE).write_text(text)
    except OSError as error:
        raise LaunchError(
            f"{folder}: cannot write {FILE}: {error.strerror}; choose another folder"
        ) from error
    return folder / FILE


class ContainerLauncher:
    """One container per node, on a network that reaches nothing but this host.

    The plan is one that `deploy.links.addressing.place_in_block` was applied to. A process of its own removes
    everything when this one is gone, for whatever reason.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[str, int] = {}
        self._nodes: tuple[str, ...] = ()
        self._project: Project | None = None
        self._logs = Path()
        self._events: subprocess.Popen[bytes] | None = None
        self._tether: subprocess.Popen[bytes] | None = None

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        self._remove()
        file = write_compose(plan, plan_file.resolve().parent, _certs(options))
        self._project = Project(f"hffm-{secrets.token_hex(4)}", file)
        self._nodes, self._logs = tuple(plan.by_id), logs
        self._codes.clear()
        self._events = self._project.watch()
        threading.Thread(target=self._listen, args=(self._events,), daemon=True, name="containers").start()
        self._tether = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deploy.launch.tether",
                self._project.name,
                str(file),
                str(logs.resolve()),
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._project.up()

    def restart(self, node: str) -> None:
        assert self._project is not None
        with self._lock:
            self._codes.pop(node, None)
        self._project.start(node)

    def ended(self) -> dict[str, int]:
        with self._lock:
            return dict(self._codes)

    def stop(self, patience_s: float) -> None:
        if self._project is None:
            return
        if not self._alone(patience_s):
            self._project.stop(patience_s)
            self._alone(patience_s)
        self._remove()

    def close(self) -> None:
        self._remove()

    def _alone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while (some_run := len(self.ended()) < len(self._nodes)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return not some_run

    def _listen(self, events: subprocess.Popen[bytes]) -> None:
        assert events.stdout is not None
        for line in events.stdout:
            node, code = ending(line)
            if code and self._project is not None:  # who looks for the reason finds it in the log
                self._project.collect(self._logs, [node])
            with self._lock:
                self._codes[node] = code

    def _remove(self) -> None:
        """The tether does it, once and whoever asks."""
        self._project = None
        if self._tether is not None:
            assert self._tether.stdin is not None
            self._tether.stdin.close()
            code = self._tether.wait()
            self._tether = None
            if code:
                raise LaunchError("containers are left; see the messages above")
        if self._events is not None:
            self._events.terminate()
            self._events.wait()
            assert self._events.stdout is not None
            self._events.stdout.close()
            self._events = None


def _certs(options: Sequence[str]) -> Path | None:
    """Of the options of `hffm-node`: with none, there is no TLS, since nobody outside of this host can connect."""
    return Path(options[options.index("--certs") + 1]) if "--certs" in options else None
