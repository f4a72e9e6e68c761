"""What a node has finished, on its own disk, so that it goes on from there in its next life.

A state folder belongs to one node of one plan:

    modules/SHA256.safetensors    values, written first, each version once
    NUMBER.json                   a record: which versions belong together, and how far the node is
    lock                          held by the process that uses the folder

A record is one line with its SHA-256 and one of JSON. Files appear whole or not at all: written under another
name, flushed to the disk, renamed (fsync of the file, then of its folder; rename(2) is atomic). The last two
records stay, so that one that is damaged costs one round; what none of them names is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.errors import PayloadError, StateError
from node.log import NodeLog
from node.payload import Payload, decode, exact
from node.plan import CirculationChange, Plan
from node.roles.held import Held
from node.wire.landing import Key

_RECORDS_KEPT = 2
_VERSIONS = ("modules", "sent", "private")
_DYING_S = 10.0  # that the life before may take to end
_LARGEST_RECORD_BYTES = 64 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Version(_Strict):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    round: Annotated[int, Field(ge=-1)]
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    contributors: tuple[str, ...]


class Progress(_Strict):
    """How far a node is, beside the modules that it holds."""

    finished: int = -1  # the last round of its own that is done
    ordered: int = 0  # at the root: rounds that an orchestrator has asked for, from the first one on
    given: dict[str, str] = {}  # module -> digest (hex) of what the parent gave last
    taken: tuple[Key, ...] = ()  # updates that are in the modules: pushed again, they are not counted again
    handed_up: tuple[str, ...] = ()  # modules of the last exchange among devices that went on to the parent
    circulation: tuple[CirculationChange, ...] = ()  # what was decided on the way, round by round
    events: tuple[str, ...] = ()  # said by the node and not yet kept by the root


class _Record(_Strict):
    format: Literal[1] = 1
    plan: str
    node: str
    modules: dict[str, _Version]
    sent: dict[str, _Version] = {}  # a device's own updates in the last exchange: it may be done again
    private: dict[str, _Version] = {}  # KIND:MODULE -> what never travels
    progress: Progress


class Kept(NamedTuple):
    """What a record says. Values are kept as the node has them, in fp32, whatever they are on the wire."""

    held: Mapping[str, Held]
    progress: Progress
    sent: Mapping[str, Held] = {}
    private: Mapping[str, Held] = {}


class Journal:
    """The state folder of one node. Every failure to use it is a StateError."""

    def __init__(self, folder: Path, plan: Plan, node: str, log: NodeLog) -> None:
        self.folder = folder
        self._plan = plan
        self._identity = identity_of(plan)
        self._node = node
        self._log = log
        with _using(folder):
            (folder / "modules").mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._seize()
            self._number = max(self._numbers(), default=0)

    def write(self, kept: Kept) -> None:
        """Keeps this, and forgets what is older than the record before."""
        with _using(self.folder):
            record = _Record(
                plan=self._identity,
                node=self._node,
                modules={name: self._write_module(one) for name, one in kept.held.items()},
                sent={name: self._write_module(one) for name, one in kept.sent.items()},
                private={name: self._write_module(one) for name, one in kept.private.items()},
                progress=kept.progress,
            )
            body = record.model_dump_json().encode()
            self._number += 1
            digest = hashlib.sha256(body).hexdigest()
            write_whole(self._record(self._number), [f"{digest}\n".encode(), body])
            self._prune()

    def _write_module(self, held: Held) -> _Version:
        module = exact(held.module)
        payload = held.payload if module is held.module else Payload(module, held.values)
        digest = payload.sha256.hex()
        path = self._module(digest)
        if not path.exists():
            write_whole(path, payload.chunks(1 << 20))
        return _Version(sha256=digest, round=held.round, weight=held.weight, contributors=held.contributors)

    def read(self) -> Kept | None:
        """The last good record; None when there has been none. Says in the log what is damaged."""
        numbers = sorted(self._numbers(), reverse=True)
        for number in numbers:
            try:
                return self._read(number)
            except (OSError, ValueError, PayloadError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
                path = self._record(number)
                self._log.emit("warning", message=f"{path}: damaged ({why}); the record before it is used")
        if numbers:
            raise StateError(
                f"{self.folder}: none of its {len(numbers)} records is whole: remove the folder, and the "
                f"node '{self._node}' starts from what its parent has"
            )
        return None

    def close(self) -> None:
        os.close(self._lock)

    # -- files --------------------------------------------------------------------------------------------

    def _seize(self) -> None:
        deadline = time.monotonic() + _DYING_S
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self._lock)
                    raise StateError(
                        f"{self.folder}: another process uses it: end that one, or give --state another folder"
                    ) from None
            time.sleep(0.05)

    def _read(self, number: int) -> Kept:
        with self._record(number).open("rb") as file:
            digest, _, body = file.read(_LARGEST_RECORD_BYTES).partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("its checksum is wrong")
        try:
            record = _Record.model_validate_json(body)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
        if (record.plan, record.node) != (self._identity, self._node):
            raise StateError(
                f"{self.folder}: it is of node '{record.node}' of another run: give --state another folder"
            )
        mine = {m.name for m in self._plan.modules if self._plan.holds(self._node, m.name)}
        if not mine <= set(record.modules) <= {m.name for m in self._plan.modules}:
            raise ValueError("its modules are not those of the plan")
        held, sent, private = (
            {name: self._held(name.rpartition(":")[2], one) for name, one in versions.items()}
            for versions in (record.modules, record.sent, record.private)
        )
        return Kept(held, record.progress, sent, private)

    def _held(self, name: str, version: _Version) -> Held:
        module = self._plan.module(name)
        if module is None:
            raise ValueError(f"module '{name}' is not in the plan")
        values = decode(exact(module), self._module(version.sha256).read_bytes())
        if Payload(exact(module), values).sha256.hex() != version.sha256:
            raise ValueError(f"module '{name}': its digest is wrong")
        return Held(module, values, version.round, version.weight, version.contributors)

    def _prune(self) -> None:
        """A damaged record names nothing, so that its modules go too."""
        named = set()
        for number in sorted(self._numbers(), reverse=True):
            path = self._record(number)
            if number <= self._number - _RECORDS_KEPT:
                path.unlink()
                continue
            try:
                body = json.loads(path.read_bytes().partition(b"\n")[2])
                named |= {one["sha256"] for key in _VERSIONS for one in body.get(key, {}).values()}
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
        for path in (self.folder / "modules").iterdir():
            if path.name.removesuffix(".safetensors") not in named:
                path.unlink()

    def _numbers(self) -> list[int]:
        return [int(p.stem) for p in self.folder.glob("*.json") if p.stem.isdecimal()]

    def _record(self, number: int) -> Path:
        return self.folder / f"{number:08}.json"

    def _module(self, digest: str) -> Path:
        return self.folder / "modules" / f"{digest}.safetensors"


def identity_of(plan: Plan) -> str:
    """Digest of what a plan says but for where its nodes listen: that may change between two lives."""
    nodes = tuple(n.model_copy(update={"address": None}) for n in plan.nodes)
    return plan.replace(nodes=nodes).sha256.hex()


def write_whole(path: Path, parts: Any) -> None:
    """A file that is there whole and on the disk, or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _using(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "make room on the disk, or give --state a folder that can be written"
        raise StateError(f"{error.filename or folder}: {error.strerror}; {remedy}") from error
