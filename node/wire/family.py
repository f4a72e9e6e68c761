"""The parent's side of membership: its children, what they were told, and what they have done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container

from hffm.v1 import membership_pb2 as pb

from node.errors import AccessDenied
from node.log import NodeLog
from node.plan import Plan
from node.waiting import Change
from node.wire.child import Child
from node.wire.quorum import Quorum

_UNREAD = 16  # messages; then heartbeats are left out

Command = pb.Run | pb.Install | pb.Collect


class Family:
    """The children of one parent; their sessions are `wire.membership`."""

    def __init__(self, plan: Plan, node: str, log: NodeLog) -> None:
        self._plan = plan
        self._node = node
        self._log = log
        self.children = {c: Child(c) for c in plan.children(node)}
        self._excluded: dict[str, str] = {}
        self._number = 0
        self._changed = Change()
        self.quorum = Quorum(plan, node, self.children, self._changed)
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
        await self.quorum.until(lambda c: c.ready, self._plan.limits.join_s, "not ready")

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
            return await self.quorum.until(
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

    def hear_moved(self, child: str) -> None:
        """Bulk data came from it, or went to it: what else it says may lie behind that on a slow link."""
        one = self.children.get(child)
        if one is not None:
            one.heard_at = one.moved_at = time.monotonic()

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
            self.drop(child, f"excluded: {reason}")

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
                    self.drop(child, f"not heard of for {limits.lease_s:g} s")
                elif child.connected and child.outbox.qsize() < _UNREAD:
                    child.outbox.put_nowait(beat)

    # -- what the sessions say ----------------------------------------------------------------------------

    def greet(self, child: Child, hello: pb.Hello) -> None:
        """A session of this child begins."""
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

    def check_not_excluded(self, child: str) -> None:
        """Raises AccessDenied."""
        if child in self._excluded:
            raise AccessDenied(f"'{child}' is excluded from this run: {self._excluded[child]}")

    def greetings(self, child: Child) -> list[pb.ParentMessage]:
        """What is said first on a new session: what stands, and what was lost with the connection, perhaps."""
        return [m for m in (self._standing, self._installed) if m is not None] + child.pending

    def part(self, child: Child) -> None:
        """Its session is over."""
        child.connected = False
        self._changed.happened()
        self.on_session_ended(child.id)

    def mark_done(self, child: Child, number: int) -> None:
        child.done = max(child.done, min(number, self._number))
        child.pending = [c for c in child.pending if c.number > child.done]

    def heard(self) -> None:
        """Something that is waited for may have been said."""
        self._changed.happened()

    def drop(self, child: Child, reason: str) -> None:
        """It takes no part any more."""
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
