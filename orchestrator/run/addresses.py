"""Ports for the nodes of a plan that run on this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from node.errors import AddressError
from node.plan import Plan


def with_free_ports(plan: Plan) -> Plan:
    """The same plan, every listening node on a port that is free now."""
    with ExitStack() as held:
        nodes = []
        for node in plan.nodes:
            if node.address is not None:
                host = _host(node.address)
                port = held.enter_context(_bound(host, 0)).getsockname()[1]
                node = node.model_copy(update={"address": f"{host}:{port}"})
            nodes.append(node)
        return plan.replace(nodes=tuple(nodes))


def check_ports(plan: Plan) -> None:
    """Raises AddressError for the first port of the plan that is taken."""
    for node in plan.nodes:
        if node.address is not None:
            _bound(_host(node.address), int(node.address.rsplit(":", 1)[1]), node.id).close()


def _bound(host: str, port: int, node: str = "") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host.strip("[]"), port))
        sock.listen(1)  # a bound port with SO_REUSEADDR is only known to be free once it listens
    except OSError as error:
        sock.close()
        who = f" for node '{node}'" if node else ""
        raise AddressError(
            f"{host}:{port}{who}: {error.strerror}; "
            "end what uses it, or change network.base_port or network.host in the scenario"
        ) from error
    return sock


def _host(address: str) -> str:
    return address.rsplit(":", 1)[0]
