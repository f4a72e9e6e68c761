"""The client of a node's health service, for whoever supervises the node."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as rpc

from node.errors import PlanError, UnreachableError
from node.plan import Plan
from node.security import Files
from node.wire.channels import Channels
from node.wire.status import to_error
from node.wire.tls import Tls

_ANSWER_S = 10.0


async def check(plan: Plan, node: str, files: Files | None) -> None:
    """Returns if the node says SERVING. Raises UnreachableError, and PlanError for a node that does not listen.

    files: of the node itself, with TLS.
    """
    address = plan.node(node).address
    if address is None:
        raise PlanError(f"node '{node}' listens to nobody in this plan; look whether its process runs")
    channels = Channels(None if files is None else Tls.of_node(files, plan, node))
    try:
        stub = rpc.HealthStub(channels.to(address))
        reply = await stub.Check(pb.HealthCheckRequest(), timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        raise to_error(error, f"'{node}' at {address}") from error
    finally:
        await channels.close()
    if reply.status != pb.HealthCheckResponse.SERVING:
        raise UnreachableError(f"'{node}' at {address} does not serve; look at its log")
