"""The compose file of a plan, as text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.launch.compose import addresses_text, compose_text
from deploy.links.addressing import assignment_of, place_in_block
from node.errors import LaunchError
from node.plan import Link, LinkKind, Plan, TaskSpec
from tests.federation import make_plan, module


def plan(backend: str = "paced", device: str = "device-0", **fields: Any) -> Plan:
    parents = {"cloud": None, "edge-0": "cloud", device: "edge-0"}
    tiers = {"cloud": "cloud", "edge-0": "edge"}
    links = (Link(src=device, dst="edge-0", kind=LinkKind.UPLINK, rate_bps=1e6),)
    made = make_plan(parents, tiers, (module(edge=1, cloud=1),), links, links_backend=backend)
    nodes = tuple(n.model_copy(update={"address": None}) if n.id == device else n for n in made.nodes)
    return place_in_block(made.replace(nodes=nodes, **fields))


def read(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_every_node_has_its_address_and_nothing_reaches_outside():
    made = plan()
    file = read(compose_text(made, "hffm", 2))
    assignment = assignment_of(made)
    assert list(file["services"]) == ["cloud", "edge-0", "device-0"]  # parents first
    for node, service in file["services"].items():
        assert service["networks"]["links"]["ipv4_address"] == assignment.nodes[node]
        assert service["command"][:4] == ["--plan", "/var/lib/hffm/plan.json", "--id", node]
    network = file["networks"]["links"]
    assert network["internal"] is True
    assert network["ipam"]["config"] == [{"subnet": str(assignment.network), "gateway": assignment.host}]


def test_only_who_shapes_has_a_right_and_no_more_than_that():
    for backend in ("none", "paced"):
        text = compose_text(plan(backend), "hffm", 2)
        assert "NET_ADMIN" not in text
        assert "root" not in text
    file = read(compose_text(plan("tbf"), "hffm", 2))
    for service in file["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert set(service["cap_add"]) - {"DAC_OVERRIDE"} == {"NET_ADMIN"}
        assert "./addresses.json:/var/lib/hffm/addresses.json:ro" in service["volumes"]
    addresses = json.loads(addresses_text(plan("tbf")))
    assert set(addresses) == set(file["services"])


def test_who_listens_is_checked_by_its_own_health_service():
    services = read(compose_text(plan(), "hffm", 2))["services"]
    assert services["edge-0"]["healthcheck"]["test"][:2] == ["CMD", "hffm-node"]
    assert services["edge-0"]["healthcheck"]["test"][-1] == "--check"
    assert "healthcheck" not in services["device-0"]  # nobody connects to it in this plan


def test_data_of_the_host_is_at_the_same_path(tmp_path: Path):
    folder = tmp_path / "a $HOME: b"
    folder.mkdir()
    task = TaskSpec(name="t", source="gqa", annotations=str(tmp_path / "missing.json"), images=str(folder))
    services = read(compose_text(plan(tasks=(task,)), "hffm", 2))["services"]
    escaped = str(folder).replace("$", "$$")
    assert services["device-0"]["volumes"][-1] == f"{escaped}:{escaped}:ro"


def test_keys_are_read_by_their_owner_and_each_node_sees_its_own(tmp_path: Path):
    for node in ("cloud", "edge-0", "device-0"):
        (tmp_path / node).mkdir()
        (tmp_path / node / "key.pem").touch(0o600)
    for service in read(compose_text(plan(), "hffm", 2, tmp_path))["services"].values():
        assert f"{tmp_path}/{service['hostname']}:/var/lib/hffm/certs:ro" in service["volumes"]
        assert service["user"] == f"{os.getuid()}:{os.getgid()}"
        assert service["command"][4:6] == ["--certs", "/var/lib/hffm/certs"]


def test_names_that_compose_does_not_take_are_refused():
    with pytest.raises(LaunchError, match=r"'rack\+1' cannot be the name of a container"):
        compose_text(plan(device="rack+1"), "hffm", 2)
