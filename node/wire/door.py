"""Who may call what on a node, and how much at a time.

With TLS a caller is whom its certificate names. Without, its name is a mere claim: then limits keep apart those who
do not lie, and strangers share what one node may have.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from node.errors import AccessDenied, IdentityError, Overloaded, ProtocolError
from node.plan import Plan
from node.wire.certified import OPERATOR, Certified
from node.wire.identity import certified_peer, claimed_name
from node.wire.parsing import careful, kept
from node.wire.refusals import Refusals
from node.wire.status import Context, answering
from node.wire.tls import Tls

# Of one peer and service at a time. A child has a session and a transfer or two; a neighbour, a stream or two.
CALLS_PER_PEER = 64
CONNECTIONS_PER_PEER = 16
_STRANGERS = ""


class Door(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpcio ships no types
    """Of the server of one node."""

    def __init__(self, plan: Plan, node_id: str, tls: Tls | None, refusals: Refusals) -> None:
        self.tls = tls
        self._refusals = refusals
        self._plan = plan
        self._node = node_id
        self._calls: dict[tuple[str, str], Counter[str]] = {}  # peer, service -> open calls by connection

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        return None if handler is None else self._guarded(handler, details.method)

    def _guarded(self, handler: Any, method: str) -> Any:
        """The same handler, once its caller has been let in."""
        kind = f"{'stream' if handler.request_streaming else 'unary'}"
        kind += f"_{'stream' if handler.response_streaming else 'unary'}"
        inner = getattr(handler, kind)

        async def call(request: Any, context: Context) -> Any:
            async with answering(context):
                with self._inside(method, context):
                    return await inner(_readable(request), context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with answering(context):
                with self._inside(method, context):
                    async for reply in inner(_readable(request), context):
                        yield reply

        outer = stream if inspect.isasyncgenfunction(inner) else call
        read = careful(method, handler.request_deserializer)
        if not handler.request_streaming:
            read = kept(read)
        return handler._replace(request_deserializer=read, **{kind: outer})

    @contextmanager
    def _inside(self, method: str, context: Context) -> Iterator[None]:
        """Raises AccessDenied, IdentityError or Overloaded."""
        service, connection = method.split("/")[1], context.peer()
        with self._refusals.watching(_name(context), method):
            peer = self._admitted(service, context)
            # By service, so that a crowd at one leaves the others free.
            calls = self._calls.setdefault((peer, service), Counter())
            self._check_room(_named(peer), service, calls, connection)
        calls[connection] += 1
        try:
            yield
        finally:
            calls[connection] -= 1
            if not calls[connection]:
                del calls[connection]

    def _check_room(self, peer: str, service: str, calls: Counter[str], connection: str) -> None:
        if calls.total() >= CALLS_PER_PEER:
            raise Overloaded(
                f"{peer} has {CALLS_PER_PEER} calls of {service} open at '{self._node}': end some first"
            )
        if connection not in calls and len(calls) >= CONNECTIONS_PER_PEER:
            raise Overloaded(
                f"{peer} calls {service} of '{self._node}' over {CONNECTIONS_PER_PEER} connections: close some"
            )

    def _admitted(self, service: str, context: Context) -> str:
        """The caller's name; of somebody who is not in the plan, none."""
        claimed = claimed_name(context)
        certified = certified_peer(context)
        if certified is None:
            return claimed if claimed in self._plan.by_id else _STRANGERS
        self._check(certified, service)
        if claimed not in (None, certified.node):
            raise AccessDenied(f"{certified.words} may not call as '{claimed}'")
        return certified.node

    def _check(self, who: Certified, service: str) -> None:
        if who.scenario != self._plan.scenario:
            raise IdentityError(
                f"{who.uri} is of another scenario than '{self._node}', '{self._plan.scenario}'"
            )
        node = self._plan.by_id.get(who.node)
        if node is not None and node.role != who.role:
            node = None
        if node is None and who.role != OPERATOR:
            raise IdentityError(f"{who.words} is not in the plan of '{self._node}'")
        may = {
            "hffm.v1.Control": who.role == OPERATOR,
            "hffm.v1.Membership": node is not None and node.parent == self._node,
            "hffm.v1.Exchange": node is not None,
        }
        if not may.get(service, True):
            whose = {"hffm.v1.Control": "the operator", "hffm.v1.Membership": "a child of its"}
            raise AccessDenied(
                f"{who.words} may not call {service} of '{self._node}': that takes the certificate of "
                f"{whose.get(service, 'a node')}"
            )


def _readable(request: Any) -> Any:
    """The request; raises ProtocolError in the place of one that could not be read."""
    if isinstance(request, ProtocolError):
        raise request
    return request


def _name(context: Context) -> str:
    """For the log: who somebody is, or says that it is."""
    try:
        certified = certified_peer(context)
    except IdentityError:
        return _STRANGERS
    return certified.node if certified is not None else claimed_name(context) or _STRANGERS


def _named(peer: str) -> str:
    return f"'{peer}'" if peer != _STRANGERS else "somebody outside the plan"
