"""One ssh connection to one board, and `deploy.launch.board` at its other end."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from deploy.launch.inventory import Board
from node import __version__
from node.errors import LaunchError

_CONNECT_S = 15
_READY_S = 120.0  # until Python there has imported what it needs, on a slow board
_CLOSE_S = 20.0
_CLOCK_S = 1.0  # by which two clocks may differ: events of all nodes make one time line

# What ssh says -> what to do about it.
_REMEDIES = {
    "Host key verification failed": "its key is not known here, or not the one that was: compare and add it to "
    "known_hosts, such as by `ssh {board}` once",
    "Permission denied": "the account does not take this key: add it there with `ssh-copy-id`, or correct `user` "
    "and `key`",
    "UNPROTECTED PRIVATE KEY": "chmod 600 the key",
    "Could not resolve hostname": "correct `host` in the scenario",
    "Connection refused": "start sshd there, or correct `port`",
    "timed out": "switch it on, or correct `host`",
    "No route to host": "switch it on, or correct `host`",
    "No module named": "install hffm for this interpreter: `{python} -m pip install hffm`",
    "not found": "correct `python`: the interpreter there that has hffm",
    "No such file or directory": "correct `python`: the interpreter there that has hffm",
}

Hear = Callable[[dict[str, Any]], None]


class Connection:
    """Raises LaunchError, with the remedy, where the board is not as it must be."""

    def __init__(self, board: Board, hear: Hear, lost: Callable[[str], None]) -> None:
        """hear: called with what the board says of nodes; lost: with the reason, when the connection ends. Both in
        a thread of this connection."""
        self.board = board
        self.folder = ""  # there, of this run
        self._hear = hear
        self._lost = lost
        self._answers: dict[str, Any] = {}
        self._said = threading.Condition()
        self._over = False
        self._ssh = subprocess.Popen(
            command(board), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._words: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._note)]
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Waits until the board answers; its version and its clock are to be like here."""
        facts = self._answer("board", _READY_S)
        if facts["version"] != __version__:
            raise LaunchError(
                f"board {self.board} has hffm {facts['version']}, and here it is {__version__}: "
                "install the same on both"
            )
        self.folder = facts["folder"]
        before = time.time()
        self.order({"clock": True})
        there = self._answer("clock", _CONNECT_S)
        after = time.time()
        off = there - after if there > after else min(0.0, there - before)
        if abs(off) > _CLOCK_S:
            way = "ahead" if off > 0 else "behind"
            raise LaunchError(
                f"the clock of board {self.board} is {abs(off):.1f} s {way}: set it, such as with chrony"
            )

    def order(self, order: dict[str, Any]) -> None:
        assert self._ssh.stdin is not None
        try:
            self._ssh.stdin.write(json.dumps(order).encode() + b"\n")
            self._ssh.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise LaunchError(self.why()) from error

    def close(self) -> None:
        """Nodes that run there leave."""
        assert self._ssh.stdin is not None
        with suppress(BrokenPipeError):  # the other side has ended
            self._ssh.stdin.close()
        try:
            self._ssh.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()
        for thread in self._threads:
            thread.join(5.0)
        for pipe in (self._ssh.stdout, self._ssh.stderr):
            assert pipe is not None
            pipe.close()

    def why(self) -> str:
        """The reason for which there is no connection, and the remedy."""
        self._threads[1].join(2.0)
        words = (
            " ".join(" ".join(self._words[-8:]).split()) or f"ssh has ended with exit code {self._ssh.poll()}"
        )
        remedy = next((do for said, do in _REMEDIES.items() if said in words), "try `ssh {board}` by hand")
        return f"board {self.board}: {words}; {remedy.format(board=self.board, python=self.board.python)}"

    def _answer(self, what: str, patience_s: float) -> Any:
        with self._said:
            self._said.wait_for(lambda: self._over or what in self._answers, patience_s)
            if what in self._answers:
                return self._answers.pop(what)
        if self._over:
            raise LaunchError(self.why())
        raise LaunchError(
            f"board {self.board} did not answer within {patience_s:g} s: try `ssh {self.board}` by hand"
        )

    def _listen(self) -> None:
        assert self._ssh.stdout is not None
        for line in self._ssh.stdout:
            message = json.loads(line)
            if "log" in message or "ended" in message:
                self._hear(message)
                continue
            with self._said:
                self._answers |= message
                self._said.notify_all()
        self._lost(self.why())
        with self._said:
            self._over = True
            self._said.notify_all()

    def _note(self) -> None:
        assert self._ssh.stderr is not None
        for line in self._ssh.stderr:
            self._words.append(line.decode(errors="replace"))


def command(board: Board) -> list[str]:
    """Asks nobody for passwords, and connects only to hosts whose keys are known."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={_CONNECT_S}"]
    options += ["ServerAliveInterval=5", "ServerAliveCountMax=3", "ControlMaster=no", "LogLevel=ERROR"]
    if board.known_hosts is not None:
        options += [f"UserKnownHostsFile={board.known_hosts}", "GlobalKnownHostsFile=none"]
    if board.key is not None:
        options += [f"IdentityFile={board.key}", "IdentitiesOnly=yes"]
    words = ["ssh", "-T", *(word for option in options for word in ("-o", option))]
    words += [] if board.user is None else ["-l", board.user]
    words += [] if board.port is None else ["-p", str(board.port)]
    return [*words, "--", board.host, f"exec {board.python} -m deploy.launch.board"]
