"""A process that imports torch once and forks every node from it, before gRPC or a thread exists in it.

It reads one JSON object per line from standard input: {"start": {"id": NODE, "arguments": [of `hffm-node`],
"log": FILE, "namespace": NAME or null}}, {"signal": NUMBER}; and writes one per line to standard output:
{"ready": true}, {"started": NODE, "pid": N}, {"ended": NODE, "code": N}. When standard input closes, because the
orchestrator is gone for whatever reason, it ends its nodes and itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from deploy.links.entering import enter
from deploy.links.interface import Interface
from node.errors import HffmError
from node.plan import Plan

_PATIENCE_S = 10.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Nursery:
    def __init__(self) -> None:
        self._children: dict[int, str] = {}  # pid -> node
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the orchestrator to act on
        say({"ready": True})
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(self._wake_read, selectors.EVENT_READ)
        buffer = b""
        while True:
            for key, _ in selector.select():
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._reap()
                    continue
                data = os.read(0, 65536)
                if not data:
                    self._end_all()
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        if "signal" in order:
            self._signal(order["signal"])
            return
        start = order["start"]
        pid = os.fork()
        if pid == 0:
            _become(start)
        self._children[pid] = start["id"]
        say({"started": start["id"], "pid": pid})

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            node = self._children.pop(pid, None)
            if node is not None:
                say({"ended": node, "code": os.waitstatus_to_exitcode(status)})

    def _signal(self, number: int) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end_all(self) -> None:
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        self._signal(signal.SIGKILL)


def _become(start: dict[str, Any]) -> None:
    """The forked child: never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # nobody outlives a nursery that is killed
        output = os.open(start["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if start["namespace"] is not None:
            enter(start["namespace"])
        import torch

        from node.__main__ import run_node

        torch.set_num_threads(1)  # the parent's thread pool did not survive the fork
        # Its links have been shaped from outside; what they are in later rounds, the node knows first.
        shaping = None if start["namespace"] is None else _following
        code = run_node(start["arguments"], shaping)
    except HffmError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:  # noqa: BLE001 (a bug: its traceback belongs into the log before the process is gone)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _following(plan: Plan, node: str) -> Callable[[int], None]:
    return Interface(plan, node).follow


def say(message: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        return  # the orchestrator is gone: standard input says so too


def main() -> None:
    import node.roles.device
    import node.roles.life  # noqa: F401

    gc.collect()
    gc.freeze()  # keeps the garbage collector of the children from touching, and so copying, shared pages
    Nursery().run()


if __name__ == "__main__":
    main()
