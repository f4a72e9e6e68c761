"""Mutual TLS: who is let in, who is believed, and what is said to the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hffm.v1 import control_pb2 as control
from hffm.v1 import control_pb2_grpc as control_rpc
from hffm.v1 import exchange_pb2 as exchange
from hffm.v1 import exchange_pb2_grpc as exchange_rpc
from hffm.v1 import membership_pb2_grpc as membership_rpc
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import AccessDenied, CertificateError, IdentityError, PayloadRefused
from node.log import NodeLog
from node.plan import Plan
from node.roles.life import live
from node.security import Files, Security
from node.wire.identity import identity
from node.wire.operator import Operator
from node.wire.parent import hello
from node.wire.tls import Tls
from orchestrator.run.certificates import Authority
from tests.federation import FAST, Federation, federation, make_plan, module
from tests.wire.certificates import DATES, Office, raw_channel

TREE = {"cloud": None, "e0": "cloud", "e1": "cloud", "d0": "e0", "d1": "e1"}
QUICK = FAST.model_copy(update={"lease_s": 2.0, "connect_s": 3.0})


def tree(**fields: object) -> Plan:
    tiers = {"cloud": "cloud", "e0": "edge", "e1": "edge"}
    return make_plan(TREE, tiers, (module(edge=1, cloud=2),), **fields)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tree(limits=QUICK), tmp_path / "certs")


def address(plan: Plan, node: str) -> str:
    return plan.node(node).address or ""


def test_the_same_modules_with_certificates_as_without(office, monkeypatch):
    async def modules(certs: Path | None) -> dict[tuple[str, str], np.ndarray]:
        async with federation(office.plan, monkeypatch, certs) as running:
            await running.rounds(2)
            return await running.modules()

    plain, secured = asyncio.run(modules(None)), asyncio.run(modules(office.folder))
    assert plain.keys() == secured.keys()
    assert all(np.array_equal(plain[key], secured[key]) for key in plain)


# -- a node's own files -----------------------------------------------------------------------------------


def own(office: Office, files: Files, node: str = "d0") -> str:
    """What is said about them at the start."""
    with pytest.raises(CertificateError) as caught:
        Tls.of_node(files, office.plan, node)
    return str(caught.value)


def test_files_that_do_not_go_together_are_named(office):
    good, other = office.files("d0"), office.files("d1")
    assert "the key is not the certificate's" in own(office, Files(good.ca, good.cert, other.key))
    assert "says" not in (said := own(office, other))
    assert "it is hffm://test/device/d1, and this is hffm://test/device/d0" in said
    assert f"{good.key.parent / 'none.pem'}: no key" in own(
        office, Files(good.ca, good.cert, good.key.parent / "none.pem")
    )
    assert "none.pem: cannot be read" in own(office, Files(good.ca.parent / "none.pem", good.cert, good.key))
    assert "not PEM files" in own(office, Files(good.ca, good.key, good.key))
    foreign = office.odd("d0", "device", of=Authority.new("test"))
    assert f"not of the CA in {foreign.ca}" in own(office, foreign)


@pytest.mark.parametrize(
    ("dates", "words"), [("expired", "expired on 20"), ("not yet valid", "is not valid before 20")]
)
def test_dates_are_told_with_the_clock(dates, words, office):
    said = own(office, office.odd("d0", "device", dates))
    assert f"the certificate of d0 (device) {words}" in said
    assert "this machine's clock says 20" in said
    assert "--renew d0" in said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(mode, office):
    key = office.files("d0").key
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(mode)
    assert f"{key}: others may read the key (mode {mode:04o}); chmod 600" in own(office, office.files("d0"))


def test_without_certificates_only_this_machine_may_connect(office):
    def on(host: str) -> Plan:
        nodes = [n.model_copy(update={"address": f"{host}:5000{i}"}) for i, n in enumerate(office.plan.nodes)]
        return office.plan.replace(nodes=tuple(nodes))

    for host in ("127.0.0.1", "127.9.9.9", "localhost", "[::1]"):
        assert Security().files(on(host), "d0") is None
    for host in ("10.0.0.3", "0.0.0.0", "edge.example", "[fe80::1]"):
        with pytest.raises(CertificateError, match="anybody could take part"):
            Security().files(on(host), "d0")
        assert Security(insecure=True).files(on(host), "d0") is None


# -- whom a child believes --------------------------------------------------------------------------------


@asynccontextmanager
async def posing(address: str, files: Files | None) -> AsyncIterator[None]:
    """A server with these files where the plan has somebody."""
    server = grpc.aio.server()
    if files is None:
        server.add_insecure_port(address)
    else:
        ca, cert, key = (f.read_bytes() for f in (files.ca, files.cert, files.key))
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)], ca, True))
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


def refused_by_child(office: Office, files: Files | None, tls: bool = True) -> str:
    """What device d0 ends with when this is what it finds in the place of its parent."""

    async def main() -> str:
        own = Tls.of_node(office.files("e0"), office.plan, "e0") if tls else None
        async with posing(address(office.plan, "cloud"), files):
            with pytest.raises(IdentityError) as caught:
                await live(office.plan, "e0", NodeLog("e0"), tls=own)
        return str(caught.value)

    return asyncio.run(main())


def test_a_device_that_poses_as_the_cloud_is_named(office):
    where = address(office.plan, "cloud")
    said = refused_by_child(office, office.files("d1"))
    assert f"the certificate at {where} says d1 (device), the plan says cloud (cloud)" in said
    said = refused_by_child(office, office.odd("cloud", "device"))
    assert f"the certificate at {where} says cloud (device), the plan says cloud (cloud)" in said


@pytest.mark.parametrize(
    ("dates", "words"), [("expired", "expired on 20"), ("not yet valid", "is not valid before 20")]
)
def test_a_parent_whose_certificate_is_out_of_date_is_named(dates, words, office):
    said = refused_by_child(office, office.odd("cloud", "cloud", dates))
    assert f"the certificate of cloud (cloud) at {address(office.plan, 'cloud')} {words}" in said


def test_a_parent_of_another_ca_is_named(office):
    foreign = office.odd("cloud", "cloud", of=Authority.new("test"))
    assert "is not of the CA in" in refused_by_child(office, foreign)


def test_one_side_without_tls_is_told_so(office):
    assert "does not answer in TLS" in refused_by_child(office, None)
    assert "wants a certificate" in refused_by_child(office, office.files("cloud"), tls=False)


# -- whom a server lets in --------------------------------------------------------------------------------


@asynccontextmanager
async def ready(office: Office, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Federation]:
    async with federation(office.plan, monkeypatch, office.folder) as running:
        await running.until("ready")
        yield running


async def status_of(channel: grpc.aio.Channel) -> grpc.StatusCode:
    """Of the most harmless call there is."""
    async with channel:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def test_only_certificates_of_the_ca_get_in(office, monkeypatch):
    foreign = office.odd("d0", "device", of=Authority.new("test"))
    refused = [None, foreign, *(office.odd("d0", "device", dates) for dates in DATES)]
    name = "cloud.cloud.test.hffm.internal"

    async def main() -> None:
        async with ready(office, monkeypatch):
            where = address(office.plan, "cloud")
            for files in refused:
                code = await status_of(raw_channel(where, files, name))
                assert code is grpc.StatusCode.UNAVAILABLE, files
            assert await status_of(raw_channel(where, office.files("d0"), name)) is grpc.StatusCode.OK

    asyncio.run(main())


def test_foreign_clients_find_the_hosts_of_the_plan_in_certificates(office, monkeypatch):
    async def main() -> None:
        async with ready(office, monkeypatch):
            where = address(office.plan, "cloud")
            assert await status_of(raw_channel(where, office.files("d0"))) is grpc.StatusCode.OK
            for wrong in ("edge.example", "e0", "127.0.0.2"):
                code = await status_of(raw_channel(where, office.files("d0"), wrong))
                assert code is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_only_the_operator_controls(office, monkeypatch):
    async def main() -> None:
        async with ready(office, monkeypatch) as running:
            for holder in ("d0", "e0", "cloud"):
                tls = Tls.of_node(office.files(holder), office.plan, holder)
                thief = Operator("cloud", address(office.plan, "cloud"), tls)
                words = rf"{holder} \(\w+\) may not call hffm.v1.Control .* certificate of the operator"
                for call in (thief.start_rounds(1), thief.stop("mine"), thief.status()):
                    with pytest.raises(AccessDenied, match=words):
                        await call
                for stream in (thief.watch(), thief.snapshot()):
                    with pytest.raises(AccessDenied, match=words):
                        await anext(aiter(stream))
                await thief.close()
            assert (await running.control.Status(control.StatusRequest())).state == "ready"
            refused = {(e["peer"], e["call"], e["error"]) for e in running.kind("refused")}
            assert ("d0", "/hffm.v1.Control/Stop", AccessDenied.__name__) in refused

    asyncio.run(main())


def test_operators_get_nowhere_else(office, monkeypatch):
    async def main() -> None:
        async with (
            ready(office, monkeypatch),
            raw_channel(address(office.plan, "cloud"), office.files("operator")) as channel,
        ):
            await denied(membership_rpc.MembershipStub(channel).Session(iter([hello(office.plan, "e0")])))
            await denied(exchange_rpc.ExchangeStub(channel).Push(iter([push(office.plan, "e0")])))

    asyncio.run(main())


async def denied(call: grpc.aio.Call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return str(caught.value.details())


def push(plan: Plan, sender: str) -> exchange.PushRequest:
    manifest = Manifest(
        run_id=plan.run_id, module="adapter", sender=sender, purpose=PURPOSE_UPDATE, weight=1,
        contributors=["d0"], size_bytes=100, sha256=bytes(32),
    )  # fmt: skip
    return exchange.PushRequest(manifest=manifest)


def test_nobody_speaks_for_another(office, monkeypatch):
    plan = office.plan

    async def main() -> None:
        async with (
            ready(office, monkeypatch),
            raw_channel(address(plan, "e0"), office.files("d0")) as to_e0,
            raw_channel(address(plan, "e1"), office.files("d0")) as to_e1,
            raw_channel(address(plan, "cloud"), office.files("d0")) as to_cloud,
        ):
            session = membership_rpc.MembershipStub(to_e0).Session
            assert await denied(session(iter([hello(plan, "d1")]))) == "d0 (device) may not speak as 'd1'"
            said = await denied(session(iter([hello(plan, "d0")]), metadata=identity("d1")))
            assert said == "d0 (device) may not call as 'd1'"
            for channel, who in ((to_e1, "d1"), (to_cloud, "e0")):  # neither is its parent
                said = await denied(membership_rpc.MembershipStub(channel).Session(iter([hello(plan, who)])))
                assert "may not call hffm.v1.Membership" in said
            for sender in ("d1", "e0", "cloud"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await anext(aiter(exchange_rpc.ExchangeStub(to_e0).Push(iter([push(plan, sender)]))))
                assert caught.value.details() == f"'d0' may not push as '{sender}'"
                assert dict(caught.value.trailing_metadata())["hffm-error"] == PayloadRefused.__name__

    asyncio.run(main())


def test_a_role_or_a_name_that_the_plan_does_not_have_is_nobody(office, monkeypatch):
    async def main() -> None:
        async with ready(office, monkeypatch):
            for node, role in (
                ("d0", "cloud"),
                ("d0", "edge"),
                ("stranger", "device"),
                ("operator", "device"),
            ):
                files = office.odd(node, role)
                async with raw_channel(address(office.plan, "cloud"), files) as channel:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await control_rpc.ControlStub(channel).Status(control.StatusRequest())
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert f"{node} ({role}) is not in the plan of 'cloud'" in str(caught.value.details())

    asyncio.run(main())


def test_a_session_comes_back_after_another_stood_in_the_parents_place(office, monkeypatch):
    """Once welcomed, a child waits for its own parent as long as the lease, and goes to nobody else."""
    plan = office.plan.replace(limits=QUICK.model_copy(update={"lease_s": 20.0}))

    async def main() -> None:
        async with federation(plan, monkeypatch, office.folder) as running:
            await running.rounds(2)
            async with raw_channel(address(plan, "e0"), office.files("d0")) as channel:
                call = membership_rpc.MembershipStub(channel).Session()
                await call.write(hello(plan, "d0"))  # takes the session's place, and is d0 by its key
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call.read()
                call.cancel()
            await running.rounds(2)
            assert running.kind("round")[-1]["missing"] == []

    asyncio.run(main())
