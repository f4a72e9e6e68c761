"""Federations of real processes: every node is forked from a conductor that has imported everything and has not
started gRPC. Training is the arithmetic of `tests.federation`, so that transfers are what takes time."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hffm.v1 import control_pb2 as pb
from hffm.v1 import control_pb2_grpc as rpc

import node.roles.device
from node.log import NodeLog
from node.plan import Plan
from node.roles.life import live
from node.security import Files
from node.wire.channels import Channels
from node.wire.tls import Tls
from tests.federation import ArithmeticLearner, Federation, _watch

_FORK = multiprocessing.get_context("fork")
# Imports once for all tests and starts nothing, so that conductors can be forked from it.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.processes"])
# What is done with a running federation and the process ids of its nodes; its result goes back to the test.
Script = Callable[[Federation, dict[str, int]], Awaitable[Any]]


def in_processes(
    plan: Plan, script: Script, learner: type = ArithmeticLearner, certs: Path | None = None
) -> Any:
    """Starts all nodes, runs `script`, a function of a module, and ends whatever it left running.

    `certs`: a folder of certificates for mutual TLS.
    """
    here, there = _SERVER.Pipe()
    conductor = _SERVER.Process(target=_conductor, args=(plan, script, learner, certs, there))
    conductor.start()
    there.close()
    try:
        worked, result = here.recv()
    finally:
        conductor.join(20)
        here.close()
    assert worked, result
    return result


def _conductor(plan: Plan, script: Script, learner: type, certs: Path | None, answer: Connection) -> None:
    node.roles.device.Learner = learner  # type: ignore[misc,assignment]
    nodes = {n.id: _FORK.Process(target=_live, args=(plan, n.id, certs)) for n in plan.nodes}
    for one in nodes.values():
        one.start()
    try:
        pids = {name: one.pid or 0 for name, one in nodes.items()}
        answer.send((True, asyncio.run(_conducted(plan, script, certs, pids))))
    except BaseException:  # noqa: BLE001 - told to the test, which fails
        answer.send((False, traceback.format_exc()))
    finally:
        for one in nodes.values():
            one.join(5)
            one.kill()
            one.join()


def _live(plan: Plan, node_id: str, certs: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        tls = None if certs is None else Tls.of_node(Files.of(certs, node_id), plan, node_id)
        asyncio.run(live(plan, node_id, NodeLog(node_id), tls=tls))
    finally:
        os._exit(0)  # nothing of the conductor's is to be tidied up here


async def _conducted(plan: Plan, script: Script, certs: Path | None, pids: dict[str, int]) -> Any:
    channels = Channels(None if certs is None else Tls.of_operator(certs, plan))
    running = Federation(plan, {}, rpc.ControlStub(channels.to(plan.root.address or "")))
    watcher = asyncio.create_task(_watch(running))
    try:
        result = await script(running, pids)
        await running.control.Stop(pb.StopRequest(reason="test over"))
        return result
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])
        await channels.close()
