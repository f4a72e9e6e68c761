"""Small federations for tests: plans written by hand, and all their nodes in one event loop.

The nodes are the real ones and talk gRPC on loopback; only the learner is replaced by arithmetic.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hffm.v1 import control_pb2 as pb
from hffm.v1 import control_pb2_grpc as rpc

from node.learning.learner import Score, Trained
from node.log import NodeLog
from node.payload import Payload, Values, decode
from node.plan import (
    Cluster,
    Limits,
    Link,
    ModelSpec,
    Module,
    Node,
    PartitionSpec,
    Plan,
    Role,
    TaskSpec,
    Tensor,
    TrainingSpec,
)
from node.randomness import generator
from node.roles.life import live
from node.security import Files
from node.wire.channels import Channels
from node.wire.tls import Tls

TASK = TaskSpec(name="t", source="builtin:gqa")
FAST = Limits(heartbeat_s=0.2, lease_s=5.0, connect_s=5.0, join_s=20.0, round_s=20.0, stall_s=5.0)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def module(name: str = "adapter", size: int = 1000, task: str | None = None, **periods: int) -> Module:
    tensors = (
        Tensor(name="a", shape=(size // 2,), init_std=0.1),
        Tensor(name="b", shape=(size - size // 2,)),
    )
    return Module(name=name, tensors=tensors, task=task, periods=periods)


def make_plan(
    parents: Mapping[str, str | None],
    tiers: Mapping[str, str],
    modules: tuple[Module, ...],
    links: tuple[Link, ...] = (),
    clusters: tuple[Cluster, ...] = (),
    **fields: Any,
) -> Plan:
    """`parents`: node -> parent. `tiers`: node -> tier; what is not named is a device."""
    ports = free_ports(len(parents))
    nodes = tuple(
        Node(
            id=name,
            role=_role(parent, tiers.get(name, "device")),
            tier=tiers.get(name, "device"),
            parent=parent,
            address=f"127.0.0.1:{port}",
        )
        for (name, parent), port in zip(parents.items(), ports, strict=True)
    )
    return Plan(
        run_id="test",
        scenario=fields.pop("scenario", "test"),
        method="test",
        channel="table",
        seed=fields.pop("seed", 1),
        rounds=fields.pop("rounds", 1),
        nodes=nodes,
        links=links,
        clusters=clusters,
        modules=modules,
        model=ModelSpec(),
        tasks=(TASK,),
        partition=PartitionSpec(),
        training=TrainingSpec(),
        limits=fields.pop("limits", FAST),
        **fields,
    )


def _role(parent: str | None, tier: str) -> Role:
    return Role.CLOUD if parent is None else Role.DEVICE if tier == "device" else Role.EDGE


def samples_of(device: str, module_name: str) -> int:
    """Training samples of the arithmetic learner: 5 ... 54, some of them 0 for modules of a single task."""
    drawn = int(generator(0, device, module_name, "samples").integers(5, 55))
    return 0 if module_name.startswith("head/") and drawn % 3 == 0 else drawn


def step(device: str, module_name: str, round_index: int, values: Values) -> Values:
    """One local epoch of the arithmetic learner."""
    noise = generator(0, device, module_name, round_index).normal(0, 0.05, len(values))
    return (0.9 * values + noise).astype(np.float32)


class ArithmeticLearner:
    def __init__(self, plan: Plan, device_id: str) -> None:
        self._plan, self._device = plan, device_id
        self.samples = {m.name: samples_of(device_id, m.name) for m in plan.modules}
        self.train_samples = {"t": 1}
        self.test_samples = {"t": 2}

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        new = {n: step(self._device, n, round_index, v) for n, v in modules.items() if self.samples[n]}
        return Trained(new, {n: self.samples[n] for n in new}, {"t": 0.5})

    def evaluate(self, modules: Mapping[str, Values]) -> list[Score]:
        return [Score("t", 1, 2, 0.25)]


@dataclass
class Federation:
    """A running federation."""

    plan: Plan
    tasks: dict[str, asyncio.Task[None]]
    control: rpc.ControlStub
    events: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, state: str, timeout_s: float = 30.0) -> pb.StatusReply:
        async with asyncio.timeout(timeout_s):
            while True:
                status = await self.control.Status(pb.StatusRequest(), wait_for_ready=True)
                if status.state == state:
                    return status
                assert status.state != "failed", status.message
                await asyncio.sleep(0.02)

    async def rounds(self, count: int, timeout_s: float = 30.0) -> None:
        await self.until("ready", timeout_s)
        await self.control.StartRounds(pb.StartRoundsRequest(count=count))
        await self.until("ready", timeout_s)

    async def modules(self) -> dict[tuple[str, str], Values]:
        """(holder, module) -> final values."""
        found: dict[tuple[str, str], bytearray] = {}
        async for reply in self.control.Snapshot(pb.SnapshotRequest()):
            if reply.WhichOneof("part") == "manifest":
                file = found.setdefault((reply.manifest.sender, reply.manifest.module), bytearray())
            else:
                file += reply.chunk
        return {key: decode(self._module(key[1]), bytes(file)) for key, file in found.items()}

    def _module(self, name: str) -> Module:
        found = self.plan.module(name)
        assert found is not None
        return found

    def kind(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["kind"] == kind]


@asynccontextmanager
async def federation(
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    certs: Path | None = None,
    learner: type = ArithmeticLearner,
    root: str | None = None,
) -> AsyncIterator[Federation]:
    """`certs`: a folder of certificates for mutual TLS. `root`: where the operator calls, if not as in the plan."""
    monkeypatch.setattr("node.roles.device.Learner", learner)
    channels = Channels(None if certs is None else Tls.of_operator(certs, plan))
    control = rpc.ControlStub(channels.to(root or plan.root.address or ""))
    tls = {
        n.id: None if certs is None else Tls.of_node(Files.of(certs, n.id), plan, n.id) for n in plan.nodes
    }
    tasks = {n.id: asyncio.create_task(live(plan, n.id, NodeLog(n.id), tls=tls[n.id])) for n in plan.nodes}
    running = Federation(plan, tasks, control)
    watcher = asyncio.create_task(_watch(running))
    try:
        yield running
        await control.Stop(pb.StopRequest(reason="test over"))
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks.values())
    finally:
        for task in [watcher, *tasks.values()]:
            task.cancel()
        await asyncio.wait([watcher, *tasks.values()])
        await channels.close()


async def _watch(running: Federation) -> None:
    async for reply in running.control.Watch(pb.WatchRequest(), wait_for_ready=True):
        running.events.append(json.loads(reply.event))


def payload_of(module: Module, values: Values) -> Payload:
    return Payload(module, values)
