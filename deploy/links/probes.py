"""Processes that stand in for the nodes of a plan and send test payloads over its links when told to.

`python -m deploy.links.probes` reads one JSON object per line from standard input. The first is
{"plan": FILE, "groups": [{"nodes": [NODE, ...], "namespace": NAME or null}, ...]}: one process per group is forked
and enters its namespace, and says {"up": [NODE, ...]}. Then {"id": N, "src": NODE, "dst": NODE, "bytes": B} are
answered by {"id": N, "seconds": S} or {"id": N, "error": CLASS, "message": TEXT}, in the order in which they end.
All end when standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from deploy.links.entering import enter
from node.errors import HffmError
from node.plan import Plan, load_plan
from node.wire.probe import Probe


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who gives the orders
    lines = os.fdopen(0, "rb", buffering=0)
    what = json.loads(lines.readline() or sys.exit(0))
    plan = load_plan(Path(what["plan"]))
    pipes: dict[str, int] = {}  # node -> where its process reads orders
    for group in what["groups"]:
        pipes |= _fork(plan, group["nodes"], group["namespace"], list(pipes.values()))
    while line := lines.readline():
        order = json.loads(line)
        os.write(pipes[actor(plan, order["src"], order["dst"])], line)
    for pipe in set(pipes.values()):
        os.close(pipe)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def actor(plan: Plan, src: str, dst: str) -> str:
    """Who starts the transfer, as in a run: children fetch from their parent, everything else is sent."""
    return dst if plan.node(dst).parent == src else src


def _fork(plan: Plan, nodes: list[str], namespace: str | None, others: list[int]) -> dict[str, int]:
    read, write = os.pipe()
    if os.fork() == 0:
        code = 70
        try:
            for pipe in (0, write, *set(others)):
                os.close(pipe)
            if namespace is not None:
                enter(namespace)
            asyncio.run(_obey(plan, nodes, read))
            code = 0
        except HffmError as error:
            _say({"error": type(error).__name__, "message": str(error)})
            code = error.exit_code
        finally:
            os._exit(code)
    os.close(read)
    return dict.fromkeys(nodes, write)


async def _obey(plan: Plan, nodes: list[str], orders: int) -> None:
    reader = asyncio.StreamReader()
    with os.fdopen(orders, "rb") as file:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        async with AsyncExitStack() as stack:
            probes = {node: Probe(plan, node) for node in nodes}
            for probe in probes.values():
                await probe.listen(stack)
            _say({"up": nodes})
            working = set()
            while line := await reader.readline():
                task = asyncio.ensure_future(_carry(plan, probes, json.loads(line)))
                working.add(task)
                task.add_done_callback(working.discard)
            for task in working:
                task.cancel()


async def _carry(plan: Plan, probes: dict[str, Probe], order: dict[str, Any]) -> None:
    src, dst, size = order["src"], order["dst"], order["bytes"]
    by = actor(plan, src, dst)
    try:
        seconds = await (probes[src].push(dst, size) if by == src else probes[dst].pull(src, size))
    except HffmError as error:
        _say({"id": order["id"], "error": type(error).__name__, "message": str(error)})
    else:
        _say({"id": order["id"], "seconds": seconds})


def _say(message: dict[str, Any]) -> None:
    """In one write: many processes share standard output."""
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        return


if __name__ == "__main__":
    main()
