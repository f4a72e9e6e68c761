"""What a manifest must satisfy before a byte of its payload is taken: pure checks against the plan."""

from __future__ import annotations

import math
from collections.abc import Collection

from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest

from node.errors import BusyError, PayloadRefused
from node.payload import largest_size_bytes
from node.plan import Cluster, Module, Plan, Relay

_SHA256_BYTES = 32
_LARGEST_WEIGHT = 2.0**53  # a float64 counts samples exactly up to here


def check_manifest(
    plan: Plan, manifest: Manifest, entitled: Collection[str], *, trailed: bool = False
) -> Module:
    """The module's schema, or PayloadRefused: unknown module, impossible size, weight or contributors.

    `entitled`: the devices whose training may be behind this payload. `trailed`: its digest may come last.
    """
    module = plan.module(manifest.module)
    if module is None:
        known = ", ".join(m.name for m in plan.modules)
        raise PayloadRefused(f"module '{manifest.module}' is not in the plan; it has {known}")
    _check_size(plan, module, manifest)
    if (
        manifest.size_bytes
        and len(manifest.sha256) != _SHA256_BYTES
        and not (trailed and not manifest.sha256)
    ):
        raise PayloadRefused(f"module '{module.name}': the manifest carries no SHA-256 digest")
    _check_weight(manifest)
    names = list(manifest.contributors)
    if len(set(names)) != len(names):
        raise PayloadRefused(f"module '{module.name}': a contributor is listed twice")
    strangers = sorted(set(names).difference(entitled))
    if strangers:
        raise PayloadRefused(f"module '{module.name}': '{strangers[0]}' is not below '{manifest.sender}'")
    return module


def check_peer(plan: Plan, cluster: Cluster, attempt: int, me: str, manifest: Manifest, peer: str) -> Module:
    """The same for what comes device to device, along the tree of the cluster as it stands in this attempt."""
    if manifest.attempt > attempt:
        raise BusyError(f"'{me}' has not heard yet of attempt {manifest.attempt} at round {manifest.round}")
    if manifest.attempt < attempt:
        raise PayloadRefused(f"attempt {manifest.attempt} at round {manifest.round} is over: {attempt} is on")
    sender = manifest.sender
    if cluster.gossip is not None:
        edges = cluster.gossip.edges if attempt == 0 else cluster.edges
        if sender != peer or manifest.purpose != PURPOSE_UPDATE or not {(me, peer), (peer, me)} & set(edges):
            raise PayloadRefused(f"'{peer}' is no neighbour of '{me}' in the plan, or speaks for another")
        return check_manifest(plan, manifest, cluster.members)
    if manifest.purpose == PURPOSE_AGGREGATE:
        if peer != cluster.toward_head.get(me) or sender != cluster.head:
            raise PayloadRefused(f"'{peer}' does not hand down aggregates to '{me}'")
        return check_manifest(plan, manifest, cluster.members)
    if manifest.purpose != PURPOSE_UPDATE or peer not in cluster.children(me):
        raise PayloadRefused(f"'{peer}' has nothing to push to '{me}' in the plan")
    module = plan.module(manifest.module)
    summed = module is not None and cluster.relays(module) is Relay.AGGREGATE
    if sender != peer and (summed or sender not in cluster.subtree(peer)):
        raise PayloadRefused(f"'{peer}' may not push as '{sender}'")
    return check_manifest(plan, manifest, cluster.subtree(sender) if summed else [sender], trailed=summed)


def _check_size(plan: Plan, module: Module, manifest: Manifest) -> None:
    limit = largest_size_bytes(module)
    if manifest.size_bytes > limit:
        raise PayloadRefused(f"module '{module.name}': {manifest.size_bytes} bytes announced, limit {limit}")
    padding_limit = (plan.payload_bytes or 0) * max(1, len(plan.devices))
    if manifest.padding_bytes > padding_limit:
        raise PayloadRefused(f"module '{module.name}': {manifest.padding_bytes} bytes of padding")


def _check_weight(manifest: Manifest) -> None:
    weight = manifest.weight
    if not math.isfinite(weight) or not 0 <= weight <= _LARGEST_WEIGHT:
        raise PayloadRefused(f"module '{manifest.module}': impossible weight {weight}")
    if manifest.purpose == PURPOSE_SNAPSHOT:
        return
    if (weight > 0) != bool(manifest.size_bytes) or (weight > 0) != bool(manifest.contributors):
        raise PayloadRefused(
            f"module '{manifest.module}': weight, size and contributors are all there or none is"
        )
