"""Children and parents: who is let in, who is missed, and who gives up when."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hffm.v1 import control_pb2 as control
from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node.errors import HffmError, LeaseExpired, ProtocolError, QuorumError, UnreachableError
from node.log import NodeLog
from node.plan import Plan
from node.roles.life import live
from node.wire.identity import identity
from node.wire.operator import Operator
from node.wire.parent import hello
from tests.federation import FAST, federation, make_plan, module

STAR = {"cloud": None, "d0": "cloud", "d1": "cloud", "d2": "cloud"}
TREE = {"cloud": None, "e0": "cloud", "d0": "e0", "d1": "e0"}
QUICK = FAST.model_copy(update={"lease_s": 1.0, "connect_s": 1.0, "heartbeat_s": 0.1, "stall_s": 1.0})


def star(**fields: object) -> Plan:
    return make_plan(STAR, {"cloud": "cloud"}, (module(cloud=1),), **fields)


def refusal(plan: Plan, first: pb.ChildMessage) -> str:
    """What the parent answers to a first message."""

    async def main() -> str:
        cloud = asyncio.create_task(live(plan, "cloud", NodeLog("cloud")))
        async with grpc.aio.insecure_channel(plan.root.address or "") as channel:
            call = rpc.MembershipStub(channel).Session(
                iter([first]), metadata=identity("d0"), wait_for_ready=True
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(aiter(call))
        cloud.cancel()
        await asyncio.wait({cloud})
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        return str(caught.value.details())

    return asyncio.run(main())


def test_a_parent_lets_in_its_own_children_only():
    plan = star()
    other_plan = plan.replace(seed=2)
    stranger = pb.ChildMessage(
        hello=pb.Hello(run_id="test", node="d9", role="device", plan_sha256=plan.sha256)
    )
    other_run = hello(plan, "d0")
    other_run.hello.run_id = "another"
    impostor = hello(plan, "d0")
    impostor.hello.role = "edge"
    assert "'d9' is no child of 'cloud'" in refusal(plan, stranger)
    assert "another plan" in refusal(plan, hello(other_plan, "d0"))
    assert "run 'test', not 'another'" in refusal(plan, other_run)
    assert "another role" in refusal(plan, impostor)
    assert "starts with Hello" in refusal(plan, pb.ChildMessage(ready=pb.Ready()))


def test_a_child_without_a_parent_says_where_it_looked():
    plan = make_plan(TREE, {"cloud": "cloud", "e0": "edge"}, (module(edge=1, cloud=1),), limits=QUICK)
    with pytest.raises(UnreachableError, match=r"parent 'cloud' at 127\.0\.0\.1:\d+: no answer for 1 s"):
        asyncio.run(live(plan, "e0", NodeLog("e0")))


def test_children_of_an_edge_server_that_leaves_end_with_their_lease(monkeypatch):
    plan = make_plan(TREE, {"cloud": "cloud", "e0": "edge"}, (module(edge=1, cloud=1),), limits=QUICK)

    async def main() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.until("ready")
            running.tasks.pop("e0").cancel()  # as by SIGTERM: it leaves, and the run goes on
            devices = [running.tasks.pop(d) for d in ("d0", "d1")]
            async with asyncio.timeout(30):
                done = await asyncio.gather(*devices, return_exceptions=True)
            assert [(type(e), e.exit_code) for e in done if isinstance(e, HffmError)] == [
                (LeaseExpired, 31)
            ] * 2
            assert "parent 'e0'" in str(done[0])
            raise _Over

    with pytest.raises(_Over):
        asyncio.run(main())


class _Over(Exception):
    pass


def test_a_device_that_never_comes_is_named(monkeypatch):
    plan = star(limits=QUICK.model_copy(update={"join_s": 1.0}))

    async def main() -> str:
        async with federation(plan, monkeypatch) as running:
            running.tasks.pop("d1").cancel()
            with pytest.raises(AssertionError) as failure:
                await running.until("ready")
            return str(failure.value)

    assert "'cloud' has 2 of its 3 children" in (said := asyncio.run(main()))
    assert "'d1': not ready" in said


def test_a_quorum_goes_on_without_the_missing(monkeypatch):
    limits = QUICK.model_copy(update={"quorum": 0.6, "round_s": 5.0})
    plan = star(limits=limits)

    async def main() -> tuple[list[str], list[str]]:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            running.tasks.pop("d1").cancel()
            await running.rounds(1)
            aggregated = running.kind("aggregated")[-1]
            return aggregated["contributors"], running.kind("round")[-1]["missing"]

    contributors, missing = asyncio.run(main())
    assert contributors == ["d0", "d2"]
    assert missing[0].startswith("d1: ")


def test_without_a_quorum_the_run_fails_and_says_who_was_missing(monkeypatch):
    plan = star(limits=QUICK)

    async def main() -> control.StatusReply:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            running.tasks.pop("d1").cancel()
            await running.control.StartRounds(control.StartRoundsRequest(count=1))
            with pytest.raises(AssertionError):
                await running.until("ready")
            return await running.control.Status(control.StatusRequest())

    status = asyncio.run(main())
    assert (status.state, status.error) == ("failed", QuorumError.__name__)
    assert "'d1'" in status.message


def test_rounds_do_not_start_while_rounds_run(monkeypatch):
    plan = star()

    async def main() -> None:
        async with federation(plan, monkeypatch) as running:
            operator = Operator("cloud", plan.root.address or "")
            await running.until("ready")
            assert await operator.start_rounds(3) == 0
            with pytest.raises(Exception, match="running"):
                await operator.start_rounds(1)
            await running.until("ready")
            assert await operator.start_rounds(1) == 3
            await running.until("ready")
            await operator.close()

    asyncio.run(main())


def test_a_session_that_breaks_is_opened_again(monkeypatch):
    """The commands that were under way are carried out once."""
    plan = star()

    async def main() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            await _break_sessions(plan)
            await running.rounds(2)
            trained = [
                e["round"] for e in running.kind("phase") if e["node"] == "d0" and e["phase"] == "train"
            ]
            assert trained == [0, 1, 2]

    asyncio.run(main())


async def _break_sessions(plan: Plan) -> None:
    """Another session in a child's name takes its place; the child's own comes back."""
    async with grpc.aio.insecure_channel(plan.root.address or "") as channel:
        call = rpc.MembershipStub(channel).Session(metadata=identity("d0"))
        await call.write(hello(plan, "d0"))
        await call.read()
        call.cancel()


def test_errors_of_protocol_are_not_retried():
    plan = star()

    async def main() -> None:
        cloud = asyncio.create_task(live(plan, "cloud", NodeLog("cloud")))
        edge = make_plan(TREE, {"cloud": "cloud", "e0": "edge"}, (module(edge=1, cloud=1),))
        address = plan.root.address
        nodes = tuple(n.model_copy(update={"address": address}) if n.id == "cloud" else n for n in edge.nodes)
        with pytest.raises(ProtocolError, match="no child of 'cloud'"):
            await live(edge.replace(nodes=nodes), "e0", NodeLog("e0"))
        cloud.cancel()
        await asyncio.wait({cloud})

    asyncio.run(main())


def test_health_and_reflection_tell_a_foreign_client_what_is_there(monkeypatch):
    plan = star()

    async def main() -> tuple[int, set[str]]:
        async with federation(plan, monkeypatch) as running:
            await running.until("ready")
            async with grpc.aio.insecure_channel(plan.root.address or "") as channel:
                check = health_pb2.HealthCheckRequest(service="hffm.v1.Exchange")
                health = await health_pb2_grpc.HealthStub(channel).Check(check)
                ask = reflection_pb2.ServerReflectionRequest(list_services="")
                call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
                services = {s.name async for answer in call for s in answer.list_services_response.service}
            return health.status, services

    status, services = asyncio.run(main())
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert {f"hffm.v1.{name}" for name in ("Exchange", "Membership", "Control")} <= services
