"""Certificates in the hands of a user: real processes, from `hffm certs` to the refusal of a stolen one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from hffm.v1 import control_pb2 as pb
from hffm.v1 import control_pb2_grpc as rpc

from node.errors import TABLE, CertificateError, IdentityError
from node.plan import Plan, dump_plan, load_plan
from node.security import Files
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from orchestrator.run.addresses import with_free_ports
from tests.system.command import PATIENCE_S, hffm, processes_of, scenario, summary, until
from tests.wire.certificates import Office, raw_channel


def keys_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("key.pem"))


def test_a_run_with_certificates_made_before_and_one_with_its_own(tmp_path):
    name = scenario(tmp_path)
    made = hffm(tmp_path, "certs", name, "--out", "certs", "--ca-out", "ca", "--json")
    assert made.returncode == 0, made.stderr
    assert {row["state"] for row in json.loads(made.stdout)["rows"]} == {"made"}
    keys = keys_below(tmp_path)
    assert len(keys) == 9 + 1 + 1  # nodes, operator, CA
    assert all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
    assert all(key.parent.stat().st_mode & 0o777 == 0o700 for key in keys)
    first = hffm(tmp_path, "run", name, "--certs", "certs", "--out", "first")
    assert first.returncode == 0, first.stderr
    second = hffm(tmp_path, "run", name, "--tls", "--out", "second")
    assert second.returncode == 0, second.stderr
    for run in ("first", "second"):
        assert summary(tmp_path / run)["security"] == "mutual TLS"
        assert not keys_below(tmp_path / run)
    assert summary(tmp_path / "first")["modules"] == summary(tmp_path / "second")["modules"]
    assert "mutual TLS" in second.stdout.splitlines()[0]


def test_certificates_are_kept_until_they_are_to_be_renewed(tmp_path):
    name = scenario(tmp_path)

    def certs(*more: str) -> dict[str, str]:
        done = hffm(tmp_path, "certs", name, "--out", "certs", "--json", *more)
        assert done.returncode == 0, done.stderr
        return {row["node"]: row["state"] for row in json.loads(done.stdout)["rows"]}

    certs("--days", "2")
    before = {f: f.read_bytes() for f in (tmp_path / "certs").rglob("*.pem")}
    assert set(certs().values()) == {"kept"}
    assert {f: f.read_bytes() for f in before} == before
    states = certs("--renew", "edge-0")
    assert states.pop("edge-0") == "renewed"
    assert set(states.values()) == {"kept"}
    changed = {str(f.relative_to(tmp_path)) for f in before if f.read_bytes() != before[f]}
    assert changed == {"certs/edge-0/cert.pem", "certs/edge-0/key.pem"}
    (tmp_path / "certs/device-03").rename(tmp_path / "certs/device-99")
    incomplete = hffm(tmp_path, "run", name, "--certs", "certs", "--out", "run")
    assert incomplete.returncode == TABLE[CertificateError][0]
    assert "certs/device-03/key.pem: no key" in incomplete.stderr
    assert not (tmp_path / "run").exists()
    moved = (tmp_path / "small.yaml").read_text() + "network: {host: 10.9.8.7}\n"
    scenario(tmp_path, moved)
    assert certs()["edge-0"] == "kept, but other names"
    (tmp_path / "certs/ca").rename(tmp_path / "elsewhere")
    lost = hffm(tmp_path, "certs", name, "--out", "certs")
    assert lost.returncode == TABLE[CertificateError][0]
    assert "--ca-out" in lost.stderr
    found = certs("--ca-out", "elsewhere")
    assert (found.pop("device-03"), found.pop("operator")) == ("kept", "kept")  # made since, for the new host
    assert set(found.values()) == {"kept, but other names"}


def test_nodes_that_stay_obey_the_operator_alone(tmp_path):
    up = hffm(tmp_path, "up", scenario(tmp_path), "-m", "star", "--tls")
    assert up.returncode == 0, up.stderr
    (run,) = (tmp_path / "runs").iterdir()
    try:
        plan = load_plan(run / "plan.json")
        codes = asyncio.run(_steal(plan, run / "certs"))
        assert codes == {"device-00": "PERMISSION_DENIED", "cloud": "PERMISSION_DENIED", "": "UNAVAILABLE"}
        stolen = hffm(tmp_path, "rounds", "start", "1", "--certs", str(run / "certs/device-00"))
        assert stolen.returncode == TABLE[CertificateError][0]
        assert "it is hffm://small/device/device-00" in stolen.stderr
        assert hffm(tmp_path, "rounds", "start", "1").returncode == 0
        status = json.loads(hffm(tmp_path, "status", "--json").stdout)
        assert (status["state"], status["rounds_done"]) == ("ready", 1)
    finally:
        down = hffm(tmp_path, "down", "--json")
    assert down.returncode == 0, down.stderr
    assert not keys_below(run)
    assert not processes_of(tmp_path)


async def _steal(plan: Plan, certs: Path) -> dict[str, str]:
    """How stopping the run ends, by whose certificate."""
    found = {}
    for holder in ("device-00", "cloud", ""):
        files = Files.of(certs, holder) if holder else None
        async with raw_channel(plan.root.address or "", files) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc.ControlStub(channel).Stop(pb.StopRequest())
        found[holder] = caught.value.code().name
    return found


# -- one node by hand -------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> Office:
    plan = with_free_ports(resolve(load_scenario(tmp_path / scenario(tmp_path)), "edge-only"))
    (tmp_path / "plan.json").write_text(dump_plan(plan))
    return Office(plan, tmp_path / "certs")


def node(folder: Path, *arguments: str, wait: bool = True) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "node", "--plan", "plan.json", "--tied", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    if wait:
        process.wait(PATIENCE_S)
    return process


def said(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=PATIENCE_S)
    return errors.strip().splitlines()[-1]


def test_a_node_does_not_start_with_what_is_not_its_own_or_out_of_date(office, tmp_path):
    code = TABLE[CertificateError][0]
    other = node(tmp_path, "--id", "edge-0", "--certs", "certs/device-00")
    assert (other.returncode, "it is hffm://small/device/device-00" in said(other)) == (code, True)
    old = office.odd("edge-0", "edge", "expired")
    expired = node(
        tmp_path, "--id", "edge-0", "--ca", str(old.ca), "--cert", str(old.cert), "--key", str(old.key)
    )
    assert (expired.returncode, "expired on" in said(expired)) == (code, True)
    office.files("edge-0").key.chmod(0o644)
    loose = node(tmp_path, "--id", "edge-0", "--certs", "certs")
    assert (loose.returncode, "chmod 600" in said(loose)) == (code, True)


def test_a_device_in_the_parents_place_is_refused_by_the_child(office, tmp_path):
    """device-00 has the cloud's address, and nothing but its own key."""
    thief = office.files("device-00")

    async def main() -> str:
        server = grpc.aio.server()
        ca, cert, key = (f.read_bytes() for f in (thief.ca, thief.cert, thief.key))
        where = office.plan.root.address or ""
        server.add_secure_port(where, grpc.ssl_server_credentials([(key, cert)], ca, True))
        await server.start()
        child = await asyncio.to_thread(node, tmp_path, "--id", "edge-0", "--certs", "certs")
        await server.stop(0)
        assert child.returncode == TABLE[IdentityError][0]
        return said(child)

    where = office.plan.root.address
    assert f"the certificate at {where} says device-00 (device), the plan says cloud (cloud)" in asyncio.run(
        main()
    )


def test_a_servers_own_log_says_why_it_refused_somebody(office, tmp_path, monkeypatch):
    monkeypatch.setenv("GRPC_VERBOSITY", "INFO")
    cloud = node(tmp_path, "--id", "cloud", "--certs", "certs", wait=False)
    assert cloud.stderr is not None
    try:
        until(lambda: "joined" in cloud.stderr.readline(), "it has joined")
        asyncio.run(_knock(office.plan, office.odd("device-00", "device", "expired")))
        until(lambda: "certificate has expired" in cloud.stderr.readline(), "it says why")
    finally:
        cloud.communicate(timeout=PATIENCE_S)


async def _knock(plan: Plan, files: Files) -> None:
    async with raw_channel(plan.root.address or "", files) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.ControlStub(channel).Status(pb.StatusRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_without_certificates_nobody_listens_to_other_machines(office, tmp_path):
    open_nodes = [
        n.model_copy(update={"address": "0.0.0.0:50999"}) for n in office.plan.nodes if n.id == "cloud"
    ]
    rest = [n for n in office.plan.nodes if n.id != "cloud"]
    (tmp_path / "plan.json").write_text(dump_plan(office.plan.replace(nodes=(*open_nodes, *rest))))
    refused = node(tmp_path, "--id", "cloud")
    assert refused.returncode == TABLE[CertificateError][0]
    assert "'cloud' listens on 0.0.0.0:50999, where anybody could take part" in said(refused)
    text = (tmp_path / "small.yaml").read_text() + "network: {host: 0.0.0.0}\n"
    run = hffm(tmp_path, "run", scenario(tmp_path, text), "--out", "run")
    assert run.returncode == TABLE[CertificateError][0]
    assert "--insecure" in run.stderr
    assert not (tmp_path / "run").exists()
    allowed = node(tmp_path, "--id", "cloud", "--insecure", wait=False)
    try:
        line = until(lambda: allowed.stderr and allowed.stderr.readline(), "it has joined")
        assert "joined" in line
        assert "tls=False" in line
    finally:
        allowed.communicate(timeout=PATIENCE_S)
