"""`hffm-node`: starts one node of a plan, or several in one process."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from node.errors import HffmError, Interrupted
from node.log import NodeLog, stderr_sink
from node.plan import Plan, load_plan
from node.security import ENVIRONMENT as CERTS
from node.security import Security

Reshape = Callable[[int], None]  # as in node.roles.traffic
Shaping = Callable[[Plan, str], Reshape | None]


def main(arguments: Sequence[str] | None = None, shaping: Shaping | None = None) -> None:
    """Ends the process with the exit code of what ended the node; 0 for a run that is over or a clean leave.

    shaping: makes what is told of each round, so that the kernel gives this node's packets its rates.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own words on what this system reports as errors
    # Until the node itself listens: what runs first in a container would not end by SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    code = run_node(arguments, shaping)
    sys.stderr.flush()
    os._exit(code)  # a thread that is still computing must not hold the process


def run_node(arguments: Sequence[str] | None, shaping: Shaping | None = None) -> int:
    """Lives of nodes in this process, with the arguments of `hffm-node`; the exit code of the first to fail."""
    options = _options(arguments)
    try:
        plan = load_plan(options.plan)
        for node_id in options.id:
            plan.node(node_id)
        security = Security(options.certs, options.ca, options.cert, options.key, options.insecure)
        if options.check:
            for node_id in options.id:
                asyncio.run(_check(plan, node_id, security))
            return 0
        reshape = shaping(plan, options.id[0]) if shaping else None
        return asyncio.run(_until_signalled(plan, options, reshape, security))
    except HffmError as error:
        return _told(" ".join(options.id), error)


def _told(who: str, error: HffmError) -> int:
    print(f"error: {who}: {error}", file=sys.stderr)
    return error.exit_code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hffm-node", description="Start one node of a plan: a device, an edge server or a cloud."
    )
    parser.add_argument("--plan", required=True, type=Path, help="the plan file, from `hffm plan --out`")
    parser.add_argument(
        "--id", required=True, nargs="+", help="which node of the plan to be; several share this process"
    )
    parser.add_argument(
        "--certs",
        type=Path,
        default=os.environ.get(CERTS),
        help="folder of `hffm certs`, or of this node alone (ca.pem, cert.pem, key.pem), for mutual TLS; "
        f"default: ${CERTS}",
    )
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", type=Path, help=f"PEM file in place of {name}.pem of --certs")
    parser.add_argument("--insecure", action="store_true", help="no TLS, on a network that is yours alone")
    parser.add_argument(
        "--state",
        type=Path,
        help="folder for its journal, from which it goes on when it is started again; of several nodes, that of "
        "their folders",
    )
    parser.add_argument("--quiet", action="store_true", help="no events on standard error, errors only")
    parser.add_argument("--tied", action="store_true", help="leave when standard input closes")
    parser.add_argument(
        "--check", action="store_true", help="start nothing: ask the node that runs here whether it serves"
    )
    return parser.parse_args(arguments)


async def _check(plan: Plan, node_id: str, security: Security) -> None:
    from node.wire.health import check

    await check(plan, node_id, security.files(plan, node_id))


async def _until_signalled(
    plan: Plan, options: argparse.Namespace, reshape: Reshape | None, security: Security
) -> int:
    """SIGTERM is a clean leave; SIGINT ends the nodes as interrupted."""
    loop = asyncio.get_running_loop()
    lives = [
        asyncio.ensure_future(_live(plan, node_id, options, reshape, security)) for node_id in options.id
    ]
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        for life in lives:
            life.cancel()

    def read_or_end() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end(signal.SIGTERM)

    if options.tied:
        loop.add_reader(0, read_or_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    codes = await asyncio.gather(*lives, return_exceptions=True)
    if signal.SIGINT in received:
        raise Interrupted("interrupted")
    for code in codes:
        if isinstance(code, BaseException) and not isinstance(code, asyncio.CancelledError):
            raise code
    return next((code for code in codes if isinstance(code, int) and code != 0), 0)


async def _live(
    plan: Plan, node_id: str, options: argparse.Namespace, reshape: Reshape | None, security: Security
) -> int:
    """The exit code of this node; others of this process go on when it fails."""
    # After the arguments: gRPC takes a while.
    from node.roles.life import live
    from node.roles.traffic import by_nobody
    from node.wire.tls import Tls

    log = NodeLog(node_id, *([] if options.quiet else [stderr_sink]))
    state = options.state
    if state is not None and len(options.id) > 1:
        state /= node_id
    try:
        files = security.files(plan, node_id)
        tls = None if files is None else Tls.of_node(files, plan, node_id)
        await live(plan, node_id, log, reshape or by_nobody, tls, state)
    except HffmError as error:
        return _told(node_id, error)
    return 0


if __name__ == "__main__":
    main()
