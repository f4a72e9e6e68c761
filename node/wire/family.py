"""The parent's side of membership: its children, what they were told, and what they have done."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node import __version__
from node.errors import HffmError, ProtocolError, QuorumError
from node.log import NodeLog
from node.plan import Plan
from node.waiting import Change
from node.wire.status import Context, answering, cut_off, error_named

Command = pb.Run | pb.Install | pb.Collect


@dataclass
class Child:
    """One child as its parent knows it."""

    id: str
    samples: dict[str, int] = field(default_factory=dict)  # module -> training samples below it
    statuses: Sequence[pb.NodeStatus] = ()
    heard_at: float = 0.0  # monotonic
    ready: bool = False
    connection: int = 0  # counts the sessions that it opened
    connected: bool = False
    gone: str = ""  # why it takes no part any more
    error: HffmError | None = None  # its own, when it failed
    pending: list[pb.ParentMessage] = field(default_factory=list)  # commands that it has not done yet
    done: int = 0  # number of the last command done
    outbox: asyncio.Queue[pb.ParentMessage | None] = field(default_factory=asyncio.Queue)


class Family(rpc.MembershipServicer):
    """The service Membership of one parent."""

    def __init__(self, plan: Plan, node: str, log: NodeLog, relay_event: Callable[[str], None]) -> None:
        self._plan = plan
        self._node = node
        self._log = log
        self._relay_event = relay_event
        self.children = {c: Child(c) for c in plan.children(node)}
        self._number = 0
        self._changed = Change()
        self._standing: pb.ParentMessage | None = None  # said again on each new session
        # Set by the role: what it does about a session that ended, and about a child's trouble with its peers.
        self.on_session_ended: Callable[[str], None] = lambda child: None
        self.on_trouble: Callable[[str, pb.Trouble], None] = lambda child, trouble: None

    # -- what the role asks for ---------------------------------------------------------------------------

    async def all_ready(self) -> None:
        """Waits until the children, and all below them, can start; QuorumError at the deadline."""
        await self._until(lambda c: c.ready, self._plan.limits.join_s, "not ready")

    async def command(self, command: Command, what: str, deadline_s: float) -> dict[str, str]:
        """Tells all children and waits until they have done it: {child that has not: why}.

        Ends at the deadline when the quorum is there. Raises QuorumError when it is not, or cannot come.
        """
        self._number += 1
        number = self._number
        message = _message(command, number)
        for child in self.children.values():
            if not child.gone:
                child.pending.append(message)
                child.outbox.put_nowait(message)
        return await self._until(lambda c: c.done >= number, deadline_s, f"{what} not done")

    def tell_all(self, message: pb.ParentMessage) -> None:
        """Says this to all children, now and on each new session, in the place of what was told before."""
        self._standing = message
        for child in self.children.values():
            if not child.gone:
                child.outbox.put_nowait(message)

    def samples(self) -> dict[str, int]:
        """Training samples behind each module in the whole subtree."""
        total: dict[str, int] = {}
        for child in self.children.values():
            for module, count in child.samples.items():
                total[module] = total.get(module, 0) + count
        return total

    def statuses(self) -> list[pb.NodeStatus]:
        """Everything below this node, as last heard."""
        found: list[pb.NodeStatus] = []
        for child in self.children.values():
            if child.gone or not child.statuses:
                role = self._plan.node(child.id).role
                phase = "lost" if child.gone else "joining"
                found.append(
                    pb.NodeStatus(node=child.id, role=role, parent=self._node, round=-1, phase=phase)
                )
            else:
                found.extend(child.statuses)
        return found

    async def stop(self, reason: str) -> None:
        """Tells all children to end and waits, for a lease at most, until their sessions are closed."""
        for child in self.children.values():
            child.outbox.put_nowait(pb.ParentMessage(stop=pb.Stop(reason=reason)))
        deadline = time.monotonic() + self._plan.limits.lease_s
        while any(c.connected for c in self.children.values()) and time.monotonic() < deadline:
            await self._changed.wait(deadline - time.monotonic())

    async def watch(self) -> None:
        """Drops children whose lease has run out; runs as long as the node does."""
        limits = self._plan.limits
        while True:
            await asyncio.sleep(limits.heartbeat_s)
            now = time.monotonic()
            beat = pb.ParentMessage(heartbeat=pb.Heartbeat(sent_unix_s=time.time()))
            for child in self.children.values():
                if child.connection and not child.gone and now - child.heard_at > limits.lease_s:
                    self._drop(child, f"not heard of for {limits.lease_s:g} s")
                elif child.connected:
                    child.outbox.put_nowait(beat)

    # -- one session --------------------------------------------------------------------------------------

    async def Session(self, request_iterator: AsyncIterator[pb.ChildMessage], context: Context) -> None:
        child: Child | None = None
        connection = 0
        try:
            async with answering(context):
                child = self._admit(await anext(aiter(request_iterator), None))
                connection = child.connection
                await self._converse(child, request_iterator, context)
        finally:
            if child is not None and child.connection == connection:
                child.connected = False
                self._changed.happened()
                self.on_session_ended(child.id)

    def _admit(self, first: pb.ChildMessage | None) -> Child:
        if first is None or first.WhichOneof("body") != "hello":
            raise ProtocolError("a session starts with Hello")
        hello = first.hello
        child = self.children.get(hello.node)
        if hello.run_id != self._plan.run_id:
            raise ProtocolError(f"this is run '{self._plan.run_id}', not '{hello.run_id}': use its plan file")
        if child is None:
            raise ProtocolError(f"'{hello.node}' is no child of '{self._node}' in the plan")
        if hello.role != self._plan.node(child.id).role:
            raise ProtocolError(f"'{hello.node}' has another role than '{hello.role}' in the plan")
        if hello.plan_sha256 != self._plan.sha256:
            raise ProtocolError(f"'{hello.node}' reads another plan than '{self._node}': copy the file anew")
        if child.gone:
            raise ProtocolError(f"'{hello.node}' was dropped: {child.gone}; it joins again in the next run")
        child.connection += 1
        child.connected = True
        child.heard_at = time.monotonic()
        child.outbox = asyncio.Queue()
        return child

    async def _converse(
        self, child: Child, messages: AsyncIterator[pb.ChildMessage], context: Context
    ) -> None:
        await context.write(pb.ParentMessage(welcome=pb.Welcome(lease_s=self._plan.limits.lease_s)))
        if self._standing is not None:
            child.outbox.put_nowait(self._standing)
        for pending in child.pending:  # lost with the connection, perhaps
            child.outbox.put_nowait(pending)
        outbox = child.outbox
        writer = asyncio.ensure_future(self._write(outbox, context))
        try:
            async for message in messages:
                if child.outbox is not outbox:
                    return  # a newer session of the same child
                child.heard_at = time.monotonic()
                self._hear(child, message)
        finally:
            await cut_off(writer)

    async def _write(self, outbox: asyncio.Queue[pb.ParentMessage | None], context: Context) -> None:
        while (message := await outbox.get()) is not None:
            await context.write(message)

    def _hear(self, child: Child, message: pb.ChildMessage) -> None:
        body = message.WhichOneof("body")
        if body == "ready":
            child.samples = dict(message.ready.samples)
            child.ready = True
        elif body == "heartbeat":
            child.statuses = tuple(message.heartbeat.nodes)
        elif body == "done":
            child.done = max(child.done, message.done.number)
            child.pending = [c for c in child.pending if c.number > child.done]
        elif body == "events":
            for event in message.events.events:
                self._relay_event(event)
        elif body == "trouble":
            self.on_trouble(child.id, message.trouble)
        elif body == "failed":
            failed = message.failed
            child.error = error_named(failed.error, f"'{child.id}': {failed.message}")
            self._drop(child, f"{failed.error}: {failed.message}")
        self._changed.happened()

    # -- waiting ------------------------------------------------------------------------------------------

    async def _until(
        self, satisfied: Callable[[Child], bool], deadline_s: float, what: str
    ) -> dict[str, str]:
        """Waits for all children that are not gone; {child that is missing: why}."""
        needed = math.ceil(self._plan.limits.quorum * len(self.children) - 1e-9)
        deadline = time.monotonic() + deadline_s
        while True:
            missing = {c.id: c.gone or what for c in self.children.values() if c.gone or not satisfied(c)}
            waiting = [c for c in self.children.values() if not c.gone and not satisfied(c)]
            left_s = deadline - time.monotonic()
            enough = len(self.children) - len(missing) >= needed
            if (not waiting or left_s <= 0) and enough:
                return missing
            gone = sum(bool(c.gone) for c in self.children.values())
            if left_s <= 0 or len(self.children) - gone < needed:
                raise self._too_few(missing, needed, deadline_s if left_s <= 0 else None)
            await self._changed.wait(left_s)

    def _too_few(self, missing: dict[str, str], needed: int, deadline_s: float | None) -> HffmError:
        """The error of a child that failed, if that is why there are too few."""
        failure = next((c.error for c in self.children.values() if c.error), None)
        if failure is not None:
            return failure
        when = "" if deadline_s is None else f" after {deadline_s:g} s"
        who = "; ".join(f"'{c}': {why}" for c, why in list(missing.items())[:3])
        rest = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return QuorumError(
            f"'{self._node}' has {len(self.children) - len(missing)} of its {len(self.children)} children"
            f"{when} and needs {needed}: {who}{rest}"
        )

    def _drop(self, child: Child, reason: str) -> None:
        child.gone = reason
        child.outbox.put_nowait(None)
        self._log.emit("lost", child=child.id, reason=reason)
        self._changed.happened()


def _message(command: Command, number: int) -> pb.ParentMessage:
    if isinstance(command, pb.Run):
        return pb.ParentMessage(run=command, number=number)
    if isinstance(command, pb.Install):
        return pb.ParentMessage(install=command, number=number)
    return pb.ParentMessage(collect=command, number=number)


def hello(plan: Plan, node: str) -> pb.ChildMessage:
    """What a child says first."""
    role = plan.node(node).role
    return pb.ChildMessage(
        hello=pb.Hello(run_id=plan.run_id, node=node, role=role, plan_sha256=plan.sha256, version=__version__)
    )
