"""The service Membership of a parent: one session with each of its children."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node.errors import ProtocolError
from node.log import NodeLog
from node.plan import Plan
from node.wire.allowance import Allowance
from node.wire.child import Child
from node.wire.family import Family
from node.wire.hearsay import check_event, samples_of, statuses_of
from node.wire.identity import must_be
from node.wire.status import Context, answering, cut_off, error_named, one_line

RelayEvent = Callable[[str, str, int], None]  # an event, the child that said it, and its number there


class MembershipService(rpc.MembershipServicer):
    """What is said in a session is checked here, and kept in the family."""

    def __init__(self, plan: Plan, node: str, log: NodeLog, family: Family, relay_event: RelayEvent) -> None:
        self._plan = plan
        self._node = node
        self._log = log
        self._family = family
        self._relay_event = relay_event
        self._below = {c: frozenset(plan.subtree(c)) for c in family.children}

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
                self._family.part(child)

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
        child = self._family.children.get(hello.node)
        if hello.run_id != self._plan.run_id:
            raise ProtocolError(f"this is run '{self._plan.run_id}', not '{hello.run_id}': use its plan file")
        if child is None:
            raise ProtocolError(f"'{hello.node}' is no child of '{self._node}' in the plan")
        if hello.role != self._plan.node(child.id).role:
            raise ProtocolError(f"'{hello.node}' has another role than '{hello.role}' in the plan")
        if hello.plan_sha256 != self._plan.sha256:
            raise ProtocolError(f"'{hello.node}' reads another plan than '{self._node}': copy the file anew")
        self._family.check_not_excluded(child.id)
        self._family.greet(child, hello)
        return child

    async def _converse(
        self, child: Child, messages: AsyncIterator[pb.ChildMessage], context: Context
    ) -> None:
        welcome = pb.Welcome(lease_s=self._plan.limits.lease_s, life=self._log.life)
        await context.write(pb.ParentMessage(welcome=welcome))
        for standing in self._family.greetings(child):
            child.outbox.put_nowait(standing)
        outbox = child.outbox
        writer = asyncio.ensure_future(self._write(outbox, context))
        allowance = Allowance(len(self._below[child.id]))
        try:
            async for message in messages:
                if child.outbox is not outbox:
                    return  # a newer session of the same child
                self._family.check_not_excluded(child.id)
                child.heard_at = time.monotonic()
                self._hear(child, message)
                if (pause_s := allowance.take(1 + len(message.events.events))) > 0:
                    await asyncio.sleep(pause_s)
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
            self._family.mark_done(child, message.done.number)
        elif body == "events":
            for number, event in enumerate(message.events.events, message.events.first):
                check_event(self._below[child.id], event)
                if number >= child.events_heard:
                    child.events_heard = number + 1
                    self._relay_event(event, child.id, number)
        elif body == "trouble":
            self._family.on_trouble(child.id, message.trouble)
        elif body == "failed":
            name, why = one_line(message.failed.error), one_line(message.failed.message)
            child.error = error_named(name, f"'{child.id}': {why}")
            self._family.drop(child, f"{name}: {why}")
        self._family.heard()
