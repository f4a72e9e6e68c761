"""From a scenario to the plan of one method: the file that every node reads."""

from __future__ import annotations

from dataclasses import replace

from node.plan import Cluster, Link, LinkKind, Node, Plan, Role
from orchestrator.plans.circulation import circulating
from orchestrator.plans.clusters import build_clusters
from orchestrator.plans.equipment import equip
from orchestrator.plans.links import Links, links_under
from orchestrator.plans.methods import Method, parse_method
from orchestrator.plans.moving import Graph, Timeline
from orchestrator.plans.robust import check_relays, check_senders
from orchestrator.plans.scenario import Scenario
from orchestrator.plans.topology import Network, build_network
from orchestrator.policy import decide, under


def resolve(
    scenario: Scenario,
    method: str,
    channel: str | None = None,
    *,
    run_id: str | None = None,
    rounds: int | None = None,
) -> Plan:
    """Raises ScenarioError, in one line, for what cannot be resolved.

    channel: in place of the scenario's; what the scenario sets beside its own model is then left out.
    run_id, rounds: in place of `<scenario>-<method>` and of the scenario's rounds.
    """
    try:
        part = parse_method(method)
    except ValueError as error:
        raise scenario.error("methods" if method in scenario.methods else "", str(error)) from error
    network = build_network(scenario)
    if not part.flat and (part.edge_only or not part.d2d):
        _needs_two_tiers(scenario, network, method)
    name = channel or scenario.channel.model
    links = links_under(scenario, network, name)
    modules = circulating(scenario, part, network)
    exact_bytes = 4 * sum(m.size for m in modules)
    payload_bytes = (scenario.payload_bytes or exact_bytes) * sum(m.wire_bytes for m in modules) / exact_bytes
    clusters: list[Cluster] = []
    last = rounds or scenario.rounds
    timeline = Timeline()
    heads_alone = all(m.over_d2d for m in modules)
    if part.d2d:
        inside = replace(links, sending={}) if heads_alone else links
        clusters = build_clusters(scenario, part, network, inside, payload_bytes, last, timeline)
    cuts = {0, *links.cuts(last), *(t.first_round for c in clusters if not c.repeats_after for t in c.turns)}
    found = {r: replace(links.at(r), sending=_sending(clusters, r) if heads_alone else None) for r in cuts}
    timeline.add({r: _tree_links(part, network, now) for r, now in found.items()})
    check_relays(scenario, modules, clusters)
    plan = Plan(
        run_id=run_id or f"{scenario.name}-{method}",
        scenario=scenario.name,
        method=method,
        channel=name,
        seed=scenario.seed,
        rounds=last,
        # What a machine is capable of is found out when nodes start; until then a plan has what works everywhere.
        nodes_per_process=scenario.nodes_per_process,
        links_backend="paced" if scenario.links == "auto" else scenario.links,
        payload_bytes=scenario.payload_bytes,
        nodes=tuple(_nodes(scenario, part, network)),
        links=tuple(timeline.links),
        clusters=tuple(clusters),
        moves=timeline.moves,
        modules=modules,
        model=scenario.model,
        tasks=scenario.tasks,
        partition=scenario.partition,
        training=scenario.training,
        limits=scenario.limits,
    )
    plan = plan.replace(nodes=equip(scenario, plan))
    if part.adaptive:
        plan = _decided(scenario, plan)
    check_senders(scenario, plan)
    return plan


def _decided(scenario: Scenario, plan: Plan) -> Plan:
    """With the policy's circulation of every module that no rule has given periods."""
    if scenario.policy is None:
        why = f"'{plan.method}' needs a budget: add e.g. `policy: {{budget_s: 5}}`"
        raise scenario.error("methods", why)
    if scenario.policy.modules:
        raise scenario.error("policy.modules", "leave it out: `circulation` names what keeps its own periods")
    free = [m.name for m in plan.modules if not m.periods]
    if robust := [m.name for m in plan.modules if m.robust is not None and m.name in free]:
        why = (
            f"module '{robust[0]}': a robust rule needs periods beside it: the policy does not know its tiers"
        )
        raise scenario.error("circulation", why)
    decision = decide(plan, scenario.policy, free, {})
    if not decision.feasible:
        raise scenario.error("policy", f"{decision.stopped}; raise the budget, or `longest`")
    policy = scenario.policy.model_copy(update={"modules": tuple(free)})
    return under(plan, decision.periods).replace(policy=policy)


def _needs_two_tiers(scenario: Scenario, network: Network, method: str) -> None:
    if len(network.tiers) < 2:
        why = f"'{method}' needs an aggregator between devices and root; add a tier such as [cloud, edge]"
        raise scenario.error("topology.tiers", why)


def _nodes(scenario: Scenario, method: Method, network: Network) -> list[Node]:
    """In the order root, aggregators, devices. A node has the same id and port under every method."""
    root = network.aggregators[0].id
    nodes: list[Node] = []
    places = (*network.aggregators, *network.devices)
    spec = scenario.network
    if spec.base_port + len(places) - 1 > 65535:
        why = f"{len(places)} nodes count up from it beyond 65535; write at most {65536 - len(places)}"
        raise scenario.error("network.base_port", why)
    for i, place in enumerate(places):
        device = i >= len(network.aggregators)
        if method.flat and not device and place.id != root:
            continue
        listens = not device or method.d2d
        nodes.append(
            Node(
                id=place.id,
                role=Role.DEVICE if device else Role.CLOUD if place.parent is None else Role.EDGE,
                tier=place.tier,
                parent=root if method.flat and device else place.parent,
                address=f"{spec.host}:{spec.base_port + i}" if listens else None,
                position_m=place.position_m,
                watts=scenario.device.watts if device else Node.model_fields["watts"].default,
                sample_s=scenario.device.sample_s if device else Node.model_fields["sample_s"].default,
            )
        )
    return nodes


def _sending(clusters: list[Cluster], round_index: int) -> dict[str, frozenset[str]]:
    """Aggregator -> the devices that send to it beside any one other: none, or a head and those that no link joins
    to it, who take their uplinks."""
    found: dict[str, frozenset[str]] = {}
    for cluster in clusters:
        now = cluster.at(round_index)
        alone = set(cluster.members) - set(now.members)
        found[cluster.parent] = frozenset({now.head, *alone}) if alone else frozenset()
    return found


def _tree_links(method: Method, network: Network, links: Links) -> Graph:
    """Between each node and its parent: up, and down where the channel models it."""
    found: list[Link] = []
    root = network.aggregators[0].id
    if not method.flat:
        for place in network.aggregators[1:]:
            found += links.both(place.id, str(place.parent), LinkKind.BACKHAUL, LinkKind.BACKHAUL)
    for device in network.devices:
        parent = root if method.flat else str(device.parent)
        found += links.both(device.id, parent, LinkKind.UPLINK, LinkKind.DOWNLINK)
    return {(link.src, link.dst): link for link in found}
