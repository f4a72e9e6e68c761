"""`hffm-node`: starts one node of a plan."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from node.errors import HffmError, Interrupted
from node.log import NodeLog, stderr_sink
from node.plan import Plan, load_plan


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process with the exit code of what ended the node; 0 for a run that is over or a clean leave."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own words on what this system reports as errors
    parser = argparse.ArgumentParser(
        prog="hffm-node", description="Start one node of a plan: a device, an edge server or a cloud."
    )
    parser.add_argument("--plan", required=True, type=Path, help="the plan file, from `hffm plan --out`")
    parser.add_argument("--id", required=True, help="which node of the plan to be")
    parser.add_argument("--quiet", action="store_true", help="no events on standard error, errors only")
    parser.add_argument("--tied", action="store_true", help="leave when standard input closes")
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.plan)
        plan.node(options.id)
    except HffmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    code = run_node(plan, options.id, quiet=options.quiet, tied=options.tied)
    sys.stderr.flush()
    os._exit(code)  # a thread that is still computing must not hold the process


def run_node(plan: Plan, node_id: str, quiet: bool = False, tied: bool = False) -> int:
    """One node's life in this process; its exit code."""
    try:
        log = NodeLog(node_id, *([] if quiet else [stderr_sink]))
        asyncio.run(_until_signalled(plan, node_id, log, tied))
    except HffmError as error:
        print(f"error: {node_id}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


async def _until_signalled(plan: Plan, node_id: str, log: NodeLog, tied: bool) -> None:
    """SIGTERM is a clean leave; SIGINT ends the node as interrupted."""
    from node.roles.life import live  # after the arguments: gRPC takes a while

    loop = asyncio.get_running_loop()
    life = asyncio.ensure_future(live(plan, node_id, log))
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        life.cancel()

    def read_or_end() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end(signal.SIGTERM)

    if tied:
        loop.add_reader(0, read_or_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    try:
        await life
    except asyncio.CancelledError:
        if signal.SIGINT in received:
            raise Interrupted("interrupted") from None


if __name__ == "__main__":
    main()
