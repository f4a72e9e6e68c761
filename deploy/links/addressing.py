"""Which IPv4 address each node of a plan has when every node has a network stack of its own.

A block of addresses holds, from its start: the network's own, the host's, then one per node in the order of the
plan, and the broadcast address. So the address of the root, which every plan has, tells all others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from node.errors import LinksError
from node.plan import Plan

# Set aside for measuring networks, and routed nowhere: RFC 2544, appendix C.2.2, and RFC 6890.
POOL = IPv4Network("198.18.0.0/15")
_BEFORE_NODES = 2  # the network's own address and the host's


@dataclass(frozen=True)
class Assignment:
    network: IPv4Network
    host: str  # where the host is, for its operator to talk to the root
    nodes: dict[str, str]  # node -> address

    @property
    def prefix(self) -> int:
        return self.network.prefixlen


def place_in_block(
    plan: Plan,
    taken: Iterable[IPv4Network] = (),
    choose: Callable[[Sequence[IPv4Network]], IPv4Network] = random.choice,
) -> Plan:
    """The same plan, its nodes listening in a block of the pool that overlaps with none of `taken`.

    Ports stay: each node has all of its own. The choice is random, so that two runs that start at once rarely
    meet. Raises LinksError when no block is free.
    """
    size = 32 - (len(plan.nodes) + _BEFORE_NODES).bit_length()
    taken = list(taken)
    free = [block for block in POOL.subnets(new_prefix=size) if not any(map(block.overlaps, taken))]
    if not free:
        raise LinksError(
            f"no {len(plan.nodes)} addresses of {POOL} are free on this host: "
            "run `hffm links clear`, or use --launcher forked"
        )
    block = choose(free)
    addresses = _addresses(plan, block)
    nodes = [
        node
        if node.address is None
        else node.model_copy(update={"address": f"{addresses[node.id]}:{node.address.rsplit(':', 1)[1]}"})
        for node in plan.nodes
    ]
    return plan.replace(nodes=tuple(nodes))


def assignment_of(plan: Plan) -> Assignment:
    """Raises LinksError for a plan that `place_in_block` has not been applied to."""
    address = (plan.root.address or "").rsplit(":", 1)[0]
    prefix = 32 - (len(plan.nodes) + _BEFORE_NODES).bit_length()
    try:
        block = IPv4Network((IPv4Address(address), prefix), strict=False)
    except AddressValueError:
        block = None
    addresses = _addresses(plan, block) if block else {}
    if block is None or addresses[plan.root.id] != address or not block.subnet_of(POOL):
        raise LinksError(
            f"the plan has its root at '{address}', which is no address of a namespace in {POOL}; "
            "let `hffm run --launcher namespaces` write the plan"
        )
    return Assignment(block, str(block[1]), addresses)


def read_addresses(file: Path, plan: Plan) -> dict[str, str]:
    """Node -> IPv4 address of a deployment, of all nodes of the plan: JSON, or YAML where PyYAML is installed.

    Raises LinksError.
    """
    example = f"write lines such as `{plan.root.id}: 10.0.0.1`"
    try:
        text = file.read_text(encoding="utf-8")
        addresses = {str(node): str(IPv4Address(str(address))) for node, address in _mapping(text).items()}
    except OSError as error:
        raise LinksError(f"{file}: cannot read the addresses: {error.strerror}") from error
    except AddressValueError as error:
        raise LinksError(f"{file}: {error}; {example}") from error
    except ValueError as error:
        raise LinksError(f"{file}: not a mapping; {example}") from error
    if missing := [node for node in plan.by_id if node not in addresses]:
        raise LinksError(f"{file}: no address for '{missing[0]}'; add `{missing[0]}: ...`")
    return addresses


def _mapping(text: str) -> dict[Any, Any]:
    """Raises ValueError."""
    try:
        found = json.loads(text)
    except ValueError:
        import yaml  # of the orchestrator's machine; boards get JSON

        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("not a mapping")
    return found


def _addresses(plan: Plan, block: IPv4Network) -> dict[str, str]:
    return {node.id: str(block[_BEFORE_NODES + i]) for i, node in enumerate(plan.nodes)}
