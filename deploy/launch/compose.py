"""A Docker Compose file for the nodes of a plan: text only, nothing is run.

Read by Compose v2 and by Debian's docker-compose 1.29. The plan is one that
`deploy.links.addressing.place_in_block` was applied to, in plan.json beside the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from deploy.launch.launcher import starting_order
from deploy.links.addressing import Assignment, assignment_of
from deploy.links.tc import SHAPERS
from node.errors import LaunchError
from node.gate import ENVIRONMENT as GATE
from node.plan import Plan
from node.security import Files

FILE = "compose.yaml"
ADDRESSES = "addresses.json"  # beside it, where the kernel shapes links
_HOME = "/var/lib/hffm"  # of the image
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


def compose_text(plan: Plan, image: str, slots: int, certs: Path | None = None) -> str:
    """image: where $HFFM_IMAGE names no other; slots: how many nodes compute at a time, the host's cores; certs: a
    folder of `hffm certs`.

    Raises LaunchError for nodes that Compose cannot name.
    """
    for node in plan.by_id:
        if not _SERVICE.fullmatch(node):
            raise LaunchError(
                f"'{node}' cannot be the name of a container; name nodes with letters, digits, '.', '_' and '-'"
            )
    assignment = assignment_of(plan)
    lines = [*_head(plan), *_common(plan, image, slots, certs), "", "services:"]
    for node in starting_order(plan):
        lines += _service(plan, node, assignment, certs)
    return "\n".join([*lines, *_tail(assignment)]) + "\n"


def addresses_text(plan: Plan) -> str:
    """What the nodes sort their packets by."""
    return json.dumps(assignment_of(plan).nodes, indent=1) + "\n"


def _head(plan: Plan) -> Iterator[str]:
    yield f"# {plan.scenario} {plan.method}: {len(plan.nodes)} nodes, links {plan.links_backend}. Written by hffm."
    yield "#   docker compose up -d     starts the nodes (or: docker-compose)"
    yield "#   docker compose stop      every node says goodbye and ends with 0"
    yield "#   docker compose down -v   removes containers, network and volume"


def _common(plan: Plan, image: str, slots: int, certs: Path | None) -> Iterator[str]:
    yield "x-node: &node"
    yield f"  image: ${{HFFM_IMAGE:-{image}}}"
    yield "  environment:"
    yield f"    {GATE}: {_quoted(f'{slots}:{_HOME}/gate')}  # as many nodes compute at a time"
    yield "  cap_drop: [ALL]"
    if plan.links_backend in SHAPERS:
        yield "  user: root  # to shape its own links, from round to round, and for nothing else"
        # The second right: to read keys and write journals that are another user's.
        yield f"  cap_add: [NET_ADMIN{', DAC_OVERRIDE' if os.getuid() != 0 else ''}]"
        shaped = ["python", "-m", "deploy.launch.shaped", "--addresses", f"{_HOME}/{ADDRESSES}"]
        yield f"  entrypoint: {json.dumps(shaped)}"
    elif certs is not None or os.getuid() != 0:
        yield f'  user: "{os.getuid()}:{os.getgid()}"  # whose keys and journals these are'
    yield '  restart: "no"'
    yield "  stop_grace_period: 20s"


def _service(plan: Plan, node: str, assignment: Assignment, certs: Path | None) -> Iterator[str]:
    security = ["--insecure"] if certs is None else ["--certs", f"{_HOME}/certs"]
    arguments = ["--plan", f"{_HOME}/plan.json", "--id", node, *security]
    start = [*arguments, "--state", f"{_HOME}/state"]
    yield f"  {node}:"
    yield "    <<: *node"
    yield f"    hostname: {node}"
    yield f"    command: {json.dumps(start)}"
    yield f"    volumes: {json.dumps(_volumes(plan, node, certs))}"
    if plan.node(node).address is not None:
        yield "    healthcheck:"
        yield f"      test: {json.dumps(['CMD', 'hffm-node', *arguments, '--check'])}"
        yield "      interval: 30s"
        yield "      timeout: 20s"
        yield "      start_period: 60s"
    yield f"    networks: {{links: {{ipv4_address: {assignment.nodes[node]}}}}}"


def _volumes(plan: Plan, node: str, certs: Path | None) -> list[str]:
    found = [f"gate:{_HOME}/gate", f"./plan.json:{_HOME}/plan.json:ro", f"./state/{node}:{_HOME}/state"]
    if plan.links_backend in SHAPERS:
        found.append(f"./{ADDRESSES}:{_HOME}/{ADDRESSES}:ro")
    if certs is not None:
        found.append(_escaped(f"{Files.of(certs, node).key.parent.resolve()}:{_HOME}/certs:ro"))
    # What nodes read, at the same path as on this host.
    named = [plan.model.backbone, *(p for t in plan.tasks for p in (t.annotations, t.images))]
    there = {path for path in named if path and path.startswith("/") and Path(path).exists()}
    return [*found, *(_escaped(f"{path}:{path}:ro") for path in sorted(there))]


def _tail(assignment: Assignment) -> Iterator[str]:
    yield ""
    yield "networks:"
    yield "  links:"
    yield "    internal: true  # reaches nothing but this host"
    yield "    ipam:"
    yield "      config:"
    yield f"        - {{subnet: {assignment.network}, gateway: {assignment.host}}}"
    yield ""
    yield "volumes:"
    yield "  gate:"


def _escaped(text: str) -> str:
    """For Compose, which looks for variables behind a dollar sign."""
    return text.replace("$", "$$")


def _quoted(text: str) -> str:
    return json.dumps(_escaped(text))
