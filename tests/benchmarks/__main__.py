"""All benchmarks, or some, as docs/benchmarks.md:

    python -m tests.benchmarks [--peers PYTHON] [--turns 5] [--out docs/benchmarks.md] [--only rounds ...]

`make bench` runs it with Flower in an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from node import __version__
from tests.benchmarks import rounds

OUT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--peers", help="Python of an environment that has flwr; default: no Flower")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sections: dict[str, Callable[[], str]] = {
        "rounds": lambda: rounds.section(options.peers, options.turns, _say),
    }
    text = [_head(), *(make() for make in sections.values())]
    options.out.write_text("\n\n".join(text) + "\n")
    print(options.out)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _head() -> str:
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"# Benchmarks\n\nWritten by `make bench` on {time.strftime('%Y-%m-%d')}: hffm {__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}), load averages at the start "
        f"{load}. Read the ratios: all contenders take turns on the same machine."
    )


if __name__ == "__main__":
    main()
