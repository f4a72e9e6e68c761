"""A node's server: its services, with health and reflection on."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.errors import AddressError
from node.wire.channels import MOST_CALLS, SERVER_OPTIONS, of_the_way
from node.wire.door import Door

_PACKAGE = "hffm.v1"

_MOST_CONNECTIONS = 4096
_OWN_FILES = 256  # of the process: its own connections, logs, data

AddService = Callable[[Any], None]  # adds one service to a server
Services = dict[str, AddService]  # by name within hffm.v1


async def serve(address: str, services: Services, door: Door | None = None) -> grpc.aio.Server:
    """Starts listening. Raises AddressError when the address cannot be bound.

    `door`: who may call, and how much; None: anybody, anything.
    """
    server = grpc.aio.server(
        interceptors=[door] if door is not None else None,
        options=[
            *SERVER_OPTIONS,
            *of_the_way(address),
            ("grpc.max_allowed_incoming_connections", _room_for_connections()),
        ],
        maximum_concurrent_rpcs=MOST_CALLS,
    )
    checks = health.aio.HealthServicer()
    names = [f"{_PACKAGE}.{name}" for name in services]
    for add in services.values():
        add(server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    for name in ["", *names]:
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        if door is not None and door.tls is not None:
            server.add_secure_port(address, door.tls.server())
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressError(
            f"cannot listen on {address}: the port is in use or the address is not this machine's; "
            "end what uses it, or change network.base_port or network.host in the scenario"
        ) from error
    await server.start()
    return server


def _room_for_connections() -> int:
    """So many that files remain for what this process opens itself; raises its limit of files where it may."""
    soft, hard = (_endless(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    wanted = _MOST_CONNECTIONS + _OWN_FILES
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return min(_MOST_CONNECTIONS, max(soft - _OWN_FILES, soft // 2))


def _endless(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
