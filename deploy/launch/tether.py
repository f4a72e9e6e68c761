"""Collects the logs of a project of containers and removes it, when standard input closes: when who started it has
asked for that, or is gone for whatever reason.

`python -m deploy.launch.tether PROJECT COMPOSE_FILE LOGS`
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from deploy.launch.engine import Project
from node.errors import HffmError

_PATIENCE_S = 10.0


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends by itself, and soon
    name, file, logs = sys.argv[1:]
    sys.stdin.buffer.read()
    project = Project(name, Path(file))
    try:
        project.stop(_PATIENCE_S)
        project.collect(Path(logs))
        project.down()
    except HffmError as error:
        remedy = f"remove what is left: `docker compose -p {name} -f {file} down -v`"
        print(f"error: {error}; {remedy}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
