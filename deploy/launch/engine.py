"""Docker's engine and Compose, through their command lines, as far as one project of containers needs them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from node.errors import LaunchError

_ASK_S = 60.0
_WORK_S = 600.0  # dozens of containers, on a machine of two cores


@dataclass(frozen=True)
class Project:
    """The containers, the network and the volume of one compose file."""

    name: str
    file: Path

    def up(self) -> None:
        self._compose("up", "--detach", "--no-color")

    def start(self, node: str) -> None:
        """Once more, with what its container has in it."""
        self._compose("start", node)

    def stop(self, patience_s: float) -> None:
        """SIGTERM to all that run, after `patience_s` SIGKILL."""
        self._compose("stop", "--timeout", str(round(patience_s)))

    def down(self) -> None:
        """Ends and removes all of it; nothing happens where there is nothing."""
        self._compose("down", "--volumes", "--timeout", "0")

    def collect(self, logs: Path, nodes: Sequence[str] | None = None) -> None:
        """What the containers have written so far, into `logs`/NODE.log each."""
        for container, node in self._containers().items():
            if nodes is None or node in nodes:
                with (logs / f"{node}.log").open("wb") as file:
                    subprocess.run(
                        ["docker", "logs", container],
                        stdout=file,
                        stderr=file,
                        timeout=_ASK_S,
                        check=False,
                    )

    def watch(self) -> subprocess.Popen[bytes]:
        """A process that says a line of JSON for each container that ends after this call; see `ending`."""
        filters = [f"label=com.docker.compose.project={self.name}", "type=container", "event=die"]
        options = [word for text in filters for word in ("--filter", text)]
        return subprocess.Popen(
            ["docker", "events", "--since", f"{time.time():.6f}", *options, "--format", "{{json .}}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _containers(self) -> dict[str, str]:
        """Id -> node."""
        label = f"label=com.docker.compose.project={self.name}"
        form = '{{.ID}} {{.Label "com.docker.compose.service"}}'
        said = ask("docker", "ps", "--all", "--filter", label, "--format", form)
        return dict(line.split(" ", 1) for line in said.splitlines())

    def _compose(self, *arguments: str) -> None:
        ask(*compose(), "-p", self.name, "-f", str(self.file), *arguments, timeout_s=_WORK_S)


def ending(line: bytes) -> tuple[str, int]:
    """Node and exit code, of a line of `Project.watch`."""
    said: dict[str, Any] = json.loads(line)["Actor"]["Attributes"]
    return said["com.docker.compose.service"], int(said["exitCode"])


@cache
def compose() -> tuple[str, ...]:
    """Compose v2, else docker-compose. Raises LaunchError when there is neither."""
    for command in (("docker", "compose"), ("docker-compose",)):
        with suppress(LaunchError):
            ask(*command, "version")
            return command
    raise LaunchError("Compose is not installed: install docker-compose-plugin or docker-compose")


def complaints(image: str) -> Iterator[tuple[str, str]]:
    """What containers need, and why it is not there, or nothing, for `docker`, `compose` and `image`."""
    try:
        ask("docker", "version")
        yield "docker", ""
    except LaunchError as error:
        why = f"Docker's engine does not answer ({error}): install docker.io, start dockerd, join its group"
        yield from (("docker", why), ("compose", why), ("image", why))
        return
    try:
        compose()
        yield "compose", ""
    except LaunchError as error:
        yield "compose", str(error)
    try:
        ask("docker", "image", "inspect", image)
        yield "image", ""
    except LaunchError:
        yield "image", f"no image '{image}' here: `make image`, or name another one in $HFFM_IMAGE"


def ask(*command: str, timeout_s: float = _ASK_S) -> str:
    """Its standard output. Raises LaunchError with its last words."""
    try:
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise LaunchError(f"`{command[0]}` is not installed") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"`{' '.join(command)}` did not end within {timeout_s:g} s") from None
    if said.returncode:
        words = " ".join(said.stderr.split()[-60:]) or f"exit code {said.returncode}"
        raise LaunchError(f"`{' '.join(command)}` failed: {words}")
    return said.stdout
