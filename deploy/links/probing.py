"""The operator's side of `deploy.links.probes`."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from deploy.launch.launcher import NamespaceOf, on_the_host
from node.errors import HffmError, LaunchError
from node.plan import Plan
from node.wire.status import error_named

_UP_S = 60.0  # until all listen, on a slow board


class Probing:
    """The nodes of a plan, played by processes for test payloads. Used as a context."""

    def __init__(self, plan: Plan, plan_file: Path, namespace_of: NamespaceOf = on_the_host) -> None:
        self._plan = plan
        config = {"plan": str(plan_file), "groups": _groups(plan, namespace_of)}
        self._config = json.dumps(config).encode() + b"\n"
        self._answers: dict[int, asyncio.Future[float]] = {}
        self._numbers = itertools.count()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.links.probes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR")},
            start_new_session=True,
        )  # fmt: skip
        self._up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.ensure_future(self._listen())
        try:
            await self._order(self._config)
            async with asyncio.timeout(_UP_S):
                await asyncio.shield(self._up)
        except TimeoutError:
            await self.__aexit__()
            raise LaunchError(f"the nodes of the check were not up after {_UP_S:g} s; try again") from None
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_UP_S / 6):
                await self._process.wait()
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the probes and nobody else
            await self._process.wait()
        self._listening.cancel()
        await asyncio.wait({self._listening})

    async def send(self, src: str, dst: str, size_bytes: int) -> float:
        """Seconds that a payload took. Raises what the transfer raised."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        order = {"id": number, "src": src, "dst": dst, "bytes": size_bytes}
        await self._order(json.dumps(order).encode() + b"\n")
        seconds: float = await answer
        return seconds

    async def _order(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise LaunchError("the nodes of the check have ended; see the messages above") from error

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        down = {node.id for node in self._plan.nodes}
        error: HffmError = LaunchError("the nodes of the check have ended; see the messages above")
        async for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "up" in message:
                down -= set(message["up"])
                if not down and not self._up.done():
                    self._up.set_result(None)
            elif "id" in message:
                self._answer(self._answers.pop(message["id"]), message)
            else:
                error = error_named(message["error"], message["message"])
                break
        everybody: list[asyncio.Future[Any]] = [self._up, *self._answers.values()]
        for waiting in everybody:
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen, whether or not somebody still waits

    def _answer(self, waiting: asyncio.Future[float], message: Mapping[str, Any]) -> None:
        if waiting.done():
            return
        if "seconds" in message:
            waiting.set_result(message["seconds"])
        else:
            waiting.set_exception(error_named(message["error"], message["message"]))


def _groups(plan: Plan, namespace_of: NamespaceOf) -> list[dict[str, Any]]:
    """One process per namespace; on the host, one per processor."""
    found: list[dict[str, Any]] = []
    here: list[str] = []
    for node in plan.by_id:
        namespace = namespace_of(node)
        if namespace is None:
            here.append(node)
        else:
            found.append({"nodes": [node], "namespace": namespace})
    return found + [{"nodes": nodes, "namespace": None} for nodes in _dealt(here)]


def _dealt(nodes: Sequence[str]) -> list[list[str]]:
    count = os.cpu_count() or 1
    return [list(nodes[i::count]) for i in range(min(count, len(nodes)))]
