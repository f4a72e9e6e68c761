"""What a manifest must satisfy before a byte of its payload is taken: pure checks against the plan."""

from __future__ import annotations

import math
from collections.abc import Collection

from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest

from node.errors import BusyError, PayloadLate, PayloadRefused, PlanError
from node.payload import largest_size_bytes, values_bytes
from node.plan import CLUSTER_TIER, Circulation, Cluster, Module, Plan, Relay
from node.wire.digest import DIGEST_BYTES, announces_digest
from node.wire.stream import WINDOW_BYTES

_ROUNDING = 1 + 1e-6  # a consensus comes to the sum of the weights from both sides
_LARGEST_WEIGHT = 2.0**53  # a float64 counts samples exactly up to here


def inflight_bytes(plan: Plan, node_id: str) -> int:
    """Room for payloads on their way into a node: as the plan says, or twice what can honestly be under way."""
    largest = max((largest_size_bytes(m) + values_bytes(m) for m in plan.modules), default=0)
    cluster = plan.cluster_of(node_id)
    if cluster is not None:
        largest = max(largest, 2 * WINDOW_BYTES)  # of what is passed on, padding too
    limit = plan.limits.inflight_bytes
    if limit is None:
        return 2 * largest * (len(plan.children(node_id)) + len(cluster.members if cluster else ()))
    if limit < largest:
        raise PlanError(f"limits.inflight_bytes: {limit}, and a payload may take {largest}: raise it")
    return limit


def check_manifest(
    plan: Plan, manifest: Manifest, entitled: Collection[str], *, trailed: bool = False
) -> Module:
    """The module's schema, or PayloadRefused: unknown module, impossible size, weight or contributors.

    `entitled`: the devices whose training may be behind this payload. `trailed`: its digest may come last.
    """
    if len(manifest.contributors) > len(plan.devices):
        raise PayloadRefused(
            f"{len(manifest.contributors)} contributors, and the plan has {len(plan.devices)} devices"
        )
    module = plan.module(manifest.module)
    if module is None:
        known = ", ".join(m.name for m in plan.modules)
        raise PayloadRefused(f"module '{manifest.module}' is not in the plan; it has {known}")
    _check_size(plan, module, manifest)
    if manifest.size_bytes:
        _check_digest(manifest, trailed)
    _check_weight(plan, module, manifest)
    names = list(manifest.contributors)
    if len(set(names)) != len(names):
        raise PayloadRefused(f"module '{module.name}': a contributor is listed twice")
    strangers = sorted(set(names).difference(set(entitled) & {d.id for d in plan.devices}))
    if strangers:
        raise PayloadRefused(f"module '{module.name}': '{strangers[0]}' is not below '{manifest.sender}'")
    if idle := [name for name in names if not plan.holds(name, module.name)]:
        raise PayloadRefused(f"module '{module.name}': '{idle[0]}' does not hold it in the plan")
    return module


def _check_digest(manifest: Manifest, trailed: bool) -> None:
    if not announces_digest(manifest):
        if not trailed:
            raise PayloadRefused(
                f"module '{manifest.module}': the manifest carries no digest: give its BLAKE3"
            )
    elif {len(manifest.blake3), len(manifest.sha256)} - {0, DIGEST_BYTES}:
        raise PayloadRefused(f"module '{manifest.module}': a digest has {DIGEST_BYTES} bytes")


def check_peer(
    circulation: Circulation,
    plan: Plan,
    cluster: Cluster,
    attempt: int,
    me: str,
    manifest: Manifest,
    peer: str,
) -> Module:
    """The same for what comes device to device, along the tree of the cluster as it stands in this attempt."""
    if manifest.attempt > attempt:
        raise BusyError(f"'{me}' has not heard yet of attempt {manifest.attempt} at round {manifest.round}")
    if manifest.attempt < attempt:
        raise PayloadLate(f"attempt {manifest.attempt} at round {manifest.round} is over: {attempt} is on")
    module = plan.module(manifest.module)
    if module is not None and not circulation.due(module, CLUSTER_TIER, manifest.round):
        raise PayloadRefused(f"module '{module.name}' does not go device to device in round {manifest.round}")
    sender = manifest.sender
    if manifest.step >= (cluster.gossip.iterations if cluster.gossip is not None else 1):
        raise PayloadRefused(f"iteration {manifest.step} is not in the plan")
    if cluster.gossip is not None:
        near = {(me, peer), (peer, me)} & set(cluster.gossip.edges)
        if sender != peer or manifest.purpose != PURPOSE_UPDATE or not near:
            raise PayloadRefused(f"'{peer}' is no neighbour of '{me}' in the plan, or speaks for another")
        return check_manifest(plan, manifest, cluster.members)
    if manifest.purpose == PURPOSE_AGGREGATE:
        if peer != cluster.toward_head.get(me) or sender != cluster.head:
            raise PayloadRefused(f"'{peer}' does not hand down aggregates to '{me}'")
        return check_manifest(plan, manifest, cluster.members)
    if manifest.purpose != PURPOSE_UPDATE or peer not in cluster.children(me):
        raise PayloadRefused(f"'{peer}' has nothing to push to '{me}' in the plan")
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


def _check_weight(plan: Plan, module: Module, manifest: Manifest) -> None:
    weight = manifest.weight
    if not math.isfinite(weight) or not 0 <= weight <= _LARGEST_WEIGHT:
        raise PayloadRefused(f"module '{manifest.module}': impossible weight {weight}")
    most = plan.most_samples(module) * len(manifest.contributors)
    if weight > most * _ROUNDING:
        raise PayloadRefused(f"module '{module.name}': weight {weight:g}, and the data have {most:g} samples")
    if manifest.purpose == PURPOSE_SNAPSHOT:
        return
    if (weight > 0) != bool(manifest.size_bytes) or (weight > 0) != bool(manifest.contributors):
        raise PayloadRefused(
            f"module '{manifest.module}': weight, size and contributors are all there or none is"
        )
