"""Nodes on edge boards, over ssh."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from deploy.launch.connection import Connection
from deploy.launch.inventory import Board, read_boards
from deploy.launch.launcher import starting_order
from deploy.links.tc import SHAPERS
from node.errors import LaunchError
from node.plan import Plan, dump_plan
from node.security import Files

_POLL_S = 0.05
_AT_ONCE = 32  # boards that are connected to at a time


class SshLauncher:
    """Nodes on the boards that boards.json, beside the plan, names. One connection per board: when it ends, for
    whatever reason, the nodes there leave and what was copied there is removed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[str, int] = {}
        self._boards: dict[str, Board] = {}
        self._orders: dict[str, dict[str, Any]] = {}  # node -> what starts it
        self._connections: dict[Board, Connection] = {}
        self._logs = Path()
        self._closing = False

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        self.close()
        self._boards = read_boards(plan_file.parent)
        _check(plan, self._boards)
        self._logs, self._closing = logs, False
        self._codes.clear()
        self._orders.clear()
        self._connect()
        for connection in self._connections.values():
            connection.order({"write": "plan.json", "text": dump_plan(plan)})
        for node in starting_order(plan):
            self._orders[node] = self._prepare(plan, node, list(options))
            self.restart(node)

    def restart(self, node: str) -> None:
        with self._lock:
            self._codes.pop(node, None)
        self._connections[self._boards[node]].order(self._orders[node])

    def ended(self) -> dict[str, int]:
        with self._lock:
            return dict(self._codes)

    def stop(self, patience_s: float) -> None:
        for number in (SIGTERM, SIGKILL):
            if self._alone(patience_s):
                break
            for connection in self._connections.values():
                try:
                    connection.order({"signal": int(number)})
                except LaunchError:
                    continue  # its nodes leave by themselves
        self._alone(patience_s)
        self.close()

    def close(self) -> None:
        self._closing = True
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(Connection.close, self._connections.values()))
        self._connections.clear()

    def _connect(self) -> None:
        """All, or none and why the first one of the plan does not do."""
        for board in dict.fromkeys(self._boards.values()):
            nodes = [node for node, its in self._boards.items() if its == board]
            self._connections[board] = Connection(board, self._hear, partial(self._lose, nodes))
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(Connection.check, self._connections.values()))
        except LaunchError:
            self.close()
            raise

    def _prepare(self, plan: Plan, node: str, options: list[str]) -> dict[str, Any]:
        """Copies what the node needs; the order that starts it."""
        connection = self._connections[self._boards[node]]
        if "--certs" in options:
            place = options.index("--certs") + 1
            options[place] = self._copy_certificates(connection, node, Path(options[place]))
        order: dict[str, Any] = {"start": node, "program": "node"}
        own = ["--plan", f"{connection.folder}/plan.json", "--id", node, "--tied", *options]
        own += ["--state", f"{connection.folder}/state/{node}"]
        if plan.links_backend in SHAPERS:
            file, interface = f"addresses/{node}.json", connection.board.interface
            connection.order({"write": file, "text": json.dumps(self._addresses())})
            own += ["--interface", interface, "--addresses", f"{connection.folder}/{file}"]
            order |= {"program": "deploy.launch.shaped", "shapes": interface}
        return {**order, "arguments": own}

    def _addresses(self) -> dict[str, str]:
        try:
            return {node: socket.gethostbyname(board.reached_at) for node, board in self._boards.items()}
        except OSError as error:
            raise LaunchError(f"a board's address is not to be found: {error}; set its `address`") from error

    def _copy_certificates(self, connection: Connection, node: str, folder: Path) -> str:
        files = Files.of(folder, node)
        for name, file in (("ca", files.ca), ("cert", files.cert), ("key", files.key)):
            connection.order({"write": f"certs/{node}/{name}.pem", "text": file.read_text()})
        return f"{connection.folder}/certs/{node}"

    def _alone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while some_run := bool(self._connections) and len(self.ended()) < len(self._boards):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return not some_run

    def _hear(self, message: dict[str, Any]) -> None:
        """In the thread of a connection."""
        if "log" in message:
            with (self._logs / f"{message['log']}.log").open("a") as file:
                file.write(message["text"])
            return
        with self._lock:
            self._codes[message["ended"]] = message["code"]

    def _lose(self, nodes: Sequence[str], why: str) -> None:
        """In the thread of a connection that has ended."""
        if self._closing:
            return
        for node in nodes:
            if node not in self.ended():
                self._hear({"log": node, "text": f"error: {node}: {why}\n"})
                self._hear({"ended": node, "code": LaunchError().exit_code})


def _check(plan: Plan, boards: dict[str, Board]) -> None:
    if missing := [node for node in plan.by_id if node not in boards]:
        raise LaunchError(f"no board for node '{missing[0]}'; name its host in `boards` of the scenario")
    shared = [b for b in dict.fromkeys(boards.values()) if list(boards.values()).count(b) > 1]
    if shared and plan.links_backend in SHAPERS:
        raise LaunchError(
            f"several nodes on board {shared[0]}, and links {plan.links_backend} shape one interface per node; "
            "give each a board of its own, or use --links paced"
        )
