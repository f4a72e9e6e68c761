"""A star round over a network of 100 ms there and back, so that nothing tuned on loopback starves a long link.

Everything runs in a guest whose kernel has netem, on its loopback; see deploy/links/uml.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.contest import Contender, Figures, contest, table
from tests.benchmarks.rounds import ALLOCATOR, FLOWER, OURS, PEERS, SOCKETS, figures_of

CLIENTS = 4
ROUNDS = 4
ONE_WAY_MS = 50
MEMORY_MB = 4000
TIMEOUT_S = 600.0
GUEST = "from deploy.links.uml import debian_kernel, run_in_guest"


def section(peers: str | None, turns: int, say: Callable[[str], None]) -> str:
    count = ["--clients", str(CLIENTS), "--rounds", str(ROUNDS)]
    contenders: dict[str, Contender] = {
        OURS: _in_guest([sys.executable, "-m", "tests.benchmarks.star", *count]),
        SOCKETS: _in_guest([sys.executable, str(PEERS / "sockets.py"), *count]),
    }
    if peers is not None:
        contenders[FLOWER] = _in_guest([peers, str(PEERS / "flower.py"), *count])
    outcome = contest(contenders, turns, say)
    rows = [
        [name, f"{outcome.typical(name, 'wall_s'):.2f}", outcome.ratio(name, OURS, "wall_s")]
        for name in outcome.turns
    ]
    about = f"{CLIENTS} clients in one guest with one processor, netem with {ONE_WAY_MS} ms each way, no rate set."
    return "\n\n".join(["## A star round over 100 ms", about, table(["", "s", "over hffm"], rows)])


def _in_guest(command: list[str]) -> Contender:
    def run() -> Figures:
        with tempfile.TemporaryDirectory() as out:
            said = Path(out) / "said"
            delay = f"tc qdisc add dev lo root netem limit 100000 delay {ONE_WAY_MS}ms"
            inside = ["sh", "-c", f"{delay} && exec {shlex.join(command)} > {said}"]
            code = (
                f"import os, sys; from pathlib import Path; {GUEST}; sys.exit(run_in_guest({inside!r}, "
                f"Path({out!r}), dict(os.environ), {MEMORY_MB}, {TIMEOUT_S}, debian_kernel()))"
            )
            environment = {**os.environ, **ALLOCATOR}
            subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=TIMEOUT_S + 60)
            return figures_of(said.read_text())

    return run
