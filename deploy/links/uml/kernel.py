"""The two kernels that a guest can boot, found or fetched."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.links.uml.packages import cache_folder, unpacked
from node.errors import LaunchError

_PACKAGE = "user-mode-linux"
# Below kernel/ of the package's modules, each after those that it needs.
_MODULES = (
    "lib/crc-ccitt",
    "net/llc/llc",
    "net/802/stp",
    "net/ipv6/ipv6",
    "net/bridge/bridge",
    "drivers/net/veth",
    "net/sched/sch_htb",
    "net/sched/sch_netem",
    "net/sched/sch_tbf",
    "net/sched/sch_prio",
    "net/sched/cls_u32",
    "net/sched/cls_matchall",
)
_HERE = Path(__file__).parent
RECIPE = ("lab.config", "lab.patch")
LAB_SOURCE = "linux-source-6.1"


@dataclass(frozen=True)
class Kernel:
    """A User-Mode Linux program and what must be loaded into it."""

    program: Path
    modules: tuple[Path, ...] = ()  # in the order of loading
    virtual_time: bool = False  # its clock jumps to the next timer when all is idle; computing takes no time


def debian_kernel() -> Kernel:
    """From the installed package, else from the cache, else fetched. Raises LaunchError."""
    _check_machine()
    installed = Path("/usr/bin/linux.uml").exists()
    root = Path("/") if installed else unpacked(_PACKAGE, [_PACKAGE])
    modules = sorted(root.glob("usr/lib/uml/modules/*/kernel"))
    if not modules:
        raise LaunchError(f"{root / 'usr/lib/uml'} has no modules: install {_PACKAGE} anew")
    paths = tuple(modules[-1] / f"{name}.ko" for name in _MODULES)
    return Kernel(root / "usr/bin/linux.uml", paths)


def lab_kernel() -> Kernel:
    """The lab's own, as `make lab-kernel` has built it. Raises LaunchError when it has not."""
    _check_machine()
    program = lab_program()
    if not program.exists():
        raise LaunchError(
            f"the virtual-time lab has no kernel yet ({program}): run `make lab-kernel`, about ten minutes, once"
        )
    return Kernel(program, virtual_time=True)


def lab_program() -> Path:
    """Named after its recipe, so that a changed recipe is built anew."""
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in RECIPE)).hexdigest()
    return cache_folder() / f"linux-lab-{digest[:12]}"


def recipe(name: str) -> Path:
    return _HERE / name


def _check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise LaunchError(
            f"User-Mode Linux runs on Linux on x86-64, and this is {sys.platform} on {platform.machine()}: "
            "use --links paced"
        )
