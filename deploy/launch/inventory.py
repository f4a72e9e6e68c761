"""Which board each node of a plan runs on: a file beside the plan, read by `--launcher ssh`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from node.errors import LaunchError

FILE = "boards.json"


class Board(BaseModel):
    """One account on one machine, as ssh reaches it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str  # name, address, or an entry of ~/.ssh/config
    address: str | None = None  # where the other nodes reach it; None: at `host`
    user: str | None = None  # None: as ssh is set up
    port: int | None = None
    key: str | None = None  # file of the private key
    known_hosts: str | None = None  # file of host keys; None: as ssh is set up
    python: str = "python3"  # the interpreter there that has hffm installed
    interface: str = "eth0"  # which the kernel shapes, with links netem or tbf

    @property
    def reached_at(self) -> str:
        return self.address or self.host

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.host}{port}" if self.user is None else f"{self.user}@{self.host}{port}"


_Boards = TypeAdapter(dict[str, Board])  # node -> board


def write_boards(folder: Path, boards: dict[str, Board]) -> None:
    (folder / FILE).write_bytes(_Boards.dump_json(boards, indent=1, exclude_none=True) + b"\n")


def read_boards(folder: Path) -> dict[str, Board]:
    """Raises LaunchError."""
    try:
        return _Boards.validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        why = f"no board for each node: {' '.join(str(error).split())}"
        raise LaunchError(f"{folder / FILE}: {why}; write `boards` into the scenario") from error
