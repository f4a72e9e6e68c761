"""A node's server: its services, with health and reflection on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.errors import AddressError
from node.wire.channels import SERVER_OPTIONS

_PACKAGE = "hffm.v1"

AddService = Callable[[Any], None]  # adds one service to a server
Services = dict[str, AddService]  # by name within hffm.v1


async def serve(address: str, services: Services) -> grpc.aio.Server:
    """Starts listening. Raises AddressError when the address cannot be bound."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    checks = health.aio.HealthServicer()
    names = [f"{_PACKAGE}.{name}" for name in services]
    for add in services.values():
        add(server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    for name in ["", *names]:
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressError(
            f"cannot listen on {address}: the port is in use or the address is not this machine's; "
            "end what uses it, or change network.base_port or network.host in the scenario"
        ) from error
    await server.start()
    return server
