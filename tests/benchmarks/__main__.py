"""All benchmarks, or some, as docs/benchmarks.md:

    python -m tests.benchmarks [--peers PYTHON] [--turns 5] [--out docs/benchmarks.md] [--only rounds ...]

`make bench` runs all of them, with Flower in an environment of its own. Each part is written as soon as it is
measured; with `--only` the other parts of the document stay as they were.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from node import __version__
from tests.benchmarks import long_link, memory, overhead, relays, rounds, startup, training

OUT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
RELAYED = ("edge-0", "edge-4", "edge-9")
HEAD = """# Benchmarks

Written by `make bench`; each part says when. Read the ratios: all contenders take turns on the same machine."""
PART = re.compile(r"<!-- (\w+) -->\n(.*?)(?=\n<!-- |\Z)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--peers", help="Python of an environment that has flwr; default: no Flower")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", help="names of parts")
    options = parser.parse_args()
    sections: dict[str, Callable[[], str]] = {
        "rounds": lambda: rounds.section(options.peers, options.turns, _say),
        "long_link": lambda: long_link.section(options.peers, min(options.turns, 3), _say),
        "memory": lambda: memory.section(_say),
        "startup": lambda: startup.section(_say),
        "training": lambda: training.section(options.turns, _say),
        "overhead": lambda: overhead.section(_say),
        "relays": lambda: relays.section(RELAYED, 4, 2, _say),
    }
    parts = dict(PART.findall(options.out.read_text())) if options.out.exists() else {}
    for name in options.only or sections:
        if name not in sections:
            parser.error(f"no part '{name}'; they are {', '.join(sections)}")
        when = _when()
        parts[name] = f"{sections[name]()}\n\n{when}\n"
        text = [HEAD, *(f"<!-- {one} -->\n{parts[one]}" for one in sections if one in parts)]
        options.out.write_text("\n\n".join(text[:1]) + "\n\n" + "\n".join(text[1:]))
    print(options.out)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _when() -> str:
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"*{time.strftime('%Y-%m-%d')}, hffm {__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), load averages at the start {load}.*"
    )


if __name__ == "__main__":
    main()
