"""What this machine can do for containers and their links, found out in a throwaway container."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from deploy.launch.containers import IMAGE
from deploy.launch.engine import ask, complaints
from deploy.links.capabilities import TRIALS, Capabilities, Check, lacking
from node.errors import LaunchError

_SHAPING = [name for name, (tool, _, _) in TRIALS.items() if tool == "tc"]
# One container for all trials: it says [name, exit code, complaint] per line.
_SCRIPT = f"""
import json, subprocess
for name, command in {[(name, shlex.join(["tc", *TRIALS[name][1].split()])) for name in _SHAPING]!r}:
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    print(json.dumps([name, done.returncode, done.stderr]))
"""


def probe_containers() -> Capabilities:
    """Leaves nothing behind."""
    return Capabilities({check.name: check for check in _checks()})


def _checks() -> Iterator[Check]:
    found = [Check(name, not why, why) for name, why in complaints(IMAGE)]
    yield from found
    missing = next((check for check in found if not check.ok), None)
    if missing is not None:
        yield from (Check(name, False, missing.why) for name in ("tc", *_SHAPING))
        return
    rights = ["--user", "root", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--network", "none"]
    try:
        said = ask("docker", "run", "--rm", *rights, "--entrypoint", "python", IMAGE, "-c", _SCRIPT)
    except LaunchError as error:
        yield from (Check(name, False, f"{error}; use --links paced") for name in ("tc", *_SHAPING))
        return
    yield Check("tc", True)
    for name, code, complaint in map(json.loads, said.splitlines()):
        yield Check(name, True) if code == 0 else lacking(name, complaint)
