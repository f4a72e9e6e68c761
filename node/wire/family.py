"""The parent's side of membership: its children, what they were told, and what they have done."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Container, Sequence
from dataclasses import dataclass, field

from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node import __version__
from node.errors import AccessDenied, HffmError, ProtocolError, QuorumError
from node.log import NodeLog
from node.plan import Plan
from node.waiting import Change
from node.wire.hearsay import check_event, samples_of, statuses_of
from node.wire.identity import must_be
from node.wire.status import Context, answering, cut_off, error_named, one_line

_UNREAD = 16  # messages; then heartbeats are left out

Command = pb.Run | pb.Install | pb.Collect
RelayEvent = Callable[[str, str, int], None]  # an event, the child that said it, and its number there


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
    life: str = ""  # of its process
    since: int = 0  # it takes part in commands after this one
    events_heard: int = 0  # of this life
    events_kept: int = 0  # of them, as it has been told
    moved_at: float = 0.0  # monotonic: when something last moved below it
    moved_bytes: int = 0


class Family(rpc.MembershipServicer):
    """The service Membership of one parent."""

    def __init__(self, plan: Plan, node: str, log: NodeLog, relay_event: RelayEvent) -> None:
        self._plan = plan
        self._node = node
        self._log = log
        self._relay_event = relay_event
        self.children = {c: Child(c) for c in plan.children(node)}
        self._below = {c: frozenset(plan.subtree(c)) for c in self.children}
        self._excluded: dict[str, str] = {}
        self._number = 0
        self._changed = Change()
        self._standing: pb.ParentMessage | None = None  # said again on each new session
        self._installed: pb.ParentMessage | None = None  # likewise: what the children should hold
        # Set by the role: what it does about a session that ended, and about a child's trouble with its peers.
        self.on_session_ended: Callable[[str], None] = lambda child: None
        self.on_trouble: Callable[[str, pb.Trouble], None] = lambda child, trouble: None
        # Likewise: what it does about a child that says hello, in a new life or not.
        self.on_hello: Callable[[pb.Hello, bool], None] = lambda hello, anew: None

    # -- what the role asks for ---------------------------------------------------------------------------

    async def all_ready(self) -> None:
        """Waits until the children, and all below them, can start; QuorumError at the deadline."""
        await self._until(lambda c: c.ready, self._plan.limits.join_s, "not ready")

    async def enough(self, deadline_s: float) -> None:
        """Waits until the quorum of the children is there; QuorumError at the deadline."""
        needed, deadline = self._needed, time.monotonic() + deadline_s
        while sum(c.connected and c.ready and not c.gone for c in self.children.values()) < needed:
            if time.monotonic() >= deadline:
                missing = {
                    c.id: c.gone or "not there"
                    for c in self.children.values()
                    if c.gone or not (c.connected and c.ready)
                }
                raise self._too_few(missing, needed, deadline_s)
            await self._changed.wait(deadline - time.monotonic())

    async def command(
        self, command: Command, what: str, deadline_s: float, *, late: Container[str] = ()
    ) -> dict[str, str]:
        """Tells all children and waits until they have done it: {child that has not: why}.

        Ends at the deadline when the quorum is there; while it is not, and something moves below those who are
        missing, the deadline waits. Raises QuorumError when it cannot come. `late`: children that are told, and
        not waited for.
        """
        self._number += 1
        number = self._number
        message = _message(command, number)
        if isinstance(command, pb.Install):
            self._installed = pb.ParentMessage(install=command)
        for child in self.children.values():
            if not child.gone:
                child.pending.append(message)
                child.outbox.put_nowait(message)
                child.since = number if child.id in late else child.since
        try:
            return await self._until(
                lambda c: c.done >= number, deadline_s, f"{what} not done", lambda c: c.since < number
            )
        finally:
            for child in self.children.values():  # who comes back later is told what comes later
                child.pending = [c for c in child.pending if c.number > number]

    def events_kept(self, child: str, before: int) -> None:
        """The root has kept the events of this child before this number."""
        one = self.children[child]
        if before > one.events_kept:
            one.events_kept = before
            one.outbox.put_nowait(pb.ParentMessage(events_kept=pb.EventsKept(before=before)))

    def hear(self, child: str, moved_bytes: int = 0) -> None:
        """The child lives: bulk data came from it, or went to it."""
        one = self.children.get(child)
        if one is not None:
            one.heard_at = time.monotonic()
            one.moved_at = one.heard_at if moved_bytes else one.moved_at

    def tell_all(self, message: pb.ParentMessage) -> None:
        """Says this to all children, now and on each new session, in the place of what was told before."""
        self._standing = message
        for child in self.children.values():
            if not child.gone:
                child.outbox.put_nowait(message)

    def missing(self) -> list[str]:
        """Children that have not done what they were told last."""
        return [c.id for c in self.children.values() if c.gone or c.done < self._number]

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

    def exclude(self, child_id: str, reason: str) -> None:
        """For the rest of the run."""
        self._excluded[child_id] = reason
        child = self.children[child_id]
        if not child.gone:
            self._drop(child, f"excluded: {reason}")

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
                elif child.connected and child.outbox.qsize() < _UNREAD:
                    child.outbox.put_nowait(beat)

    # -- one session --------------------------------------------------------------------------------------

    async def Session(self, request_iterator: AsyncIterator[pb.ChildMessage], context: Context) -> None:
        child: Child | None = None
        connection = 0
        try:
            async with answering(context):
                child = self._admit(await self._first(request_iterator), context)
                connection = child.connection
                await self._converse(child, request_iterator, context)
        finally:
            if child is not None and child.connection == connection:
                child.connected = False
                self._changed.happened()
                self.on_session_ended(child.id)

    async def _first(self, messages: AsyncIterator[pb.ChildMessage]) -> pb.ChildMessage | None:
        try:
            async with asyncio.timeout(self._plan.limits.lease_s):
                return await anext(aiter(messages), None)
        except TimeoutError:
            raise ProtocolError(f"no Hello in {self._plan.limits.lease_s:g} s: say it at once") from None

    def _admit(self, first: pb.ChildMessage | None, context: Context) -> Child:
        if first is None or first.WhichOneof("body") != "hello":
            raise ProtocolError("a session starts with Hello")
        hello = first.hello
        must_be(context, hello.node)
        child = self.children.get(hello.node)
        if hello.run_id != self._plan.run_id:
            raise ProtocolError(f"this is run '{self._plan.run_id}', not '{hello.run_id}': use its plan file")
        if child is None:
            raise ProtocolError(f"'{hello.node}' is no child of '{self._node}' in the plan")
        if hello.role != self._plan.node(child.id).role:
            raise ProtocolError(f"'{hello.node}' has another role than '{hello.role}' in the plan")
        if hello.plan_sha256 != self._plan.sha256:
            raise ProtocolError(f"'{hello.node}' reads another plan than '{self._node}': copy the file anew")
        self._check_not_excluded(child.id)
        self._let_in(child, hello)
        return child

    def _let_in(self, child: Child, hello: pb.Hello) -> None:
        life = hello.life
        child.connection += 1
        child.connected = True
        child.heard_at = child.moved_at = time.monotonic()
        child.outbox = asyncio.Queue()
        anew = bool(child.life) and child.life != life
        if anew or child.gone:
            self._log.emit("returned", child=child.id)
        if child.gone:
            child.gone, child.error, child.pending, child.since = "", None, [], self._number
        if child.life != life:
            child.life, child.ready = life, False
            child.events_heard = child.events_kept = 0
        self._changed.happened()
        self.on_hello(hello, anew)

    def _check_not_excluded(self, child: str) -> None:
        if child in self._excluded:
            raise AccessDenied(f"'{child}' is excluded from this run: {self._excluded[child]}")

    async def _converse(
        self, child: Child, messages: AsyncIterator[pb.ChildMessage], context: Context
    ) -> None:
        welcome = pb.Welcome(lease_s=self._plan.limits.lease_s, life=self._log.life)
        await context.write(pb.ParentMessage(welcome=welcome))
        for standing in (self._standing, self._installed):
            if standing is not None:
                child.outbox.put_nowait(standing)
        for pending in child.pending:  # lost with the connection, perhaps
            child.outbox.put_nowait(pending)
        outbox = child.outbox
        writer = asyncio.ensure_future(self._write(outbox, context))
        try:
            async for message in messages:
                if child.outbox is not outbox:
                    return  # a newer session of the same child
                self._check_not_excluded(child.id)
                child.heard_at = time.monotonic()
                self._hear(child, message)
        finally:
            await cut_off(writer)

    async def _write(self, outbox: asyncio.Queue[pb.ParentMessage | None], context: Context) -> None:
        while (message := await outbox.get()) is not None:
            async with asyncio.timeout(self._plan.limits.lease_s):  # who does not read is as good as gone
                await context.write(message)

    def _hear(self, child: Child, message: pb.ChildMessage) -> None:
        body = message.WhichOneof("body")
        if body == "ready":
            child.samples = samples_of(self._plan, message.ready)
            child.ready = True
        elif body == "heartbeat":
            child.statuses = statuses_of(self._plan, self._below[child.id], message.heartbeat.nodes)
            moved_bytes = sum(one.moved_bytes for one in child.statuses)
            if moved_bytes != child.moved_bytes:
                child.moved_bytes, child.moved_at = moved_bytes, child.heard_at
        elif body == "done":
            child.done = max(child.done, min(message.done.number, self._number))
            child.pending = [c for c in child.pending if c.number > child.done]
        elif body == "events":
            for number, event in enumerate(message.events.events, message.events.first):
                check_event(self._below[child.id], event)
                if number >= child.events_heard:
                    child.events_heard = number + 1
                    self._relay_event(event, child.id, number)
        elif body == "trouble":
            self.on_trouble(child.id, message.trouble)
        elif body == "failed":
            name, why = one_line(message.failed.error), one_line(message.failed.message)
            child.error = error_named(name, f"'{child.id}': {why}")
            self._drop(child, f"{name}: {why}")
        self._changed.happened()

    # -- waiting ------------------------------------------------------------------------------------------

    @property
    def _needed(self) -> int:
        return math.ceil(self._plan.limits.quorum * len(self.children) - 1e-9)

    async def _until(
        self,
        satisfied: Callable[[Child], bool],
        deadline_s: float,
        what: str,
        asked: Callable[[Child], bool] = lambda child: True,
    ) -> dict[str, str]:
        """Waits for all children that were asked and are not gone; {child that is missing: why}."""
        needed, deadline = self._needed, time.monotonic() + deadline_s
        while True:
            out = {
                c.id: c.gone or "it came back meanwhile"
                for c in self.children.values()
                if c.gone or not asked(c)
            }
            waiting = [c for c in self.children.values() if c.id not in out and not satisfied(c)]
            missing = out | {c.id: what for c in waiting}
            left_s = deadline - time.monotonic()
            if (not waiting or left_s <= 0) and len(self.children) - len(missing) >= needed:
                return missing
            if len(self.children) - len(out) < needed:
                raise self._too_few(missing, needed, None)
            if left_s <= 0:
                # A slow link that moves is not cut; one that stalls is.
                left_s = max(c.moved_at for c in waiting) + self._plan.limits.stall_s - time.monotonic()
                if left_s <= 0:
                    raise self._too_few(missing, needed, deadline_s)
            await self._changed.wait(left_s)

    def _too_few(self, missing: dict[str, str], needed: int, deadline_s: float | None) -> HffmError:
        """The error of a child that failed, if that is why there are too few."""
        failure = next((c.error for c in self.children.values() if c.error), None)
        if failure is not None and self._plan.limits.on_failed_round == "stop":
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


def hello(plan: Plan, node: str, life: str = "", finished: int = -1, attempt: int = 0) -> pb.ChildMessage:
    """What a child says first."""
    role = plan.node(node).role
    return pb.ChildMessage(
        hello=pb.Hello(
            run_id=plan.run_id,
            node=node,
            role=role,
            plan_sha256=plan.sha256,
            version=__version__,
            life=life,
            finished=finished,
            attempt=attempt,
        )
    )
