"""Keeps the nodes of a plan alive after the command that started them has returned.

`python -m deploy.launch.keeper LAUNCHER PLAN LOGS RESTARTS [OPTIONS of hffm-node]`: starts the nodes, starts those
again that end before their time, and ends when all of them have ended. On SIGTERM it ends them first.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from deploy.launch import LAUNCHERS
from deploy.launch.restarts import Restarts
from node.errors import HffmError
from node.plan import load_plan

_PATIENCE_S = 10.0
_POLL_S = 0.2


def main() -> None:
    name, plan_file, logs, most = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    told_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_end.set())
    plan = load_plan(plan_file)
    launcher = LAUNCHERS[name]()
    try:
        launcher.start(plan, plan_file, logs, sys.argv[5:])
        restarts = Restarts(launcher, most, lambda text: print(text, file=sys.stderr, flush=True))
        while len(restarts.ended()) < len(plan.nodes) and not told_to_end.wait(_POLL_S):
            continue
    except HffmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        launcher.stop(_PATIENCE_S)
        launcher.close()


if __name__ == "__main__":
    main()
