"""Builds the kernel of the virtual-time lab: `python -m deploy.links.uml.build`, once, ten minutes on 2 cores.

The source is Debian's, the configuration lab.config, the change lab.patch; the result is one program in the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.links.uml.kernel import LAB_SOURCE, lab_program, recipe
from deploy.links.uml.packages import cache_folder, only_one, unpacked
from node.errors import HffmError, LaunchError

# Of the kernel's build, with the Debian package of each; those of the second table are unpacked where they lack.
_TOOLS = {
    "gcc": "gcc",
    "make": "make",
    "bc": "bc",
    "xz": "xz-utils",
    "tar": "tar",
    "patch": "patch",
    "perl": "perl",
}
_UNPACKABLE = ("flex", "bison", "m4", "libsigsegv2")


def main() -> None:
    try:
        print(build())
    except HffmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def build() -> Path:
    """The program, built unless it is there. Raises LaunchError."""
    program = lab_program()
    with only_one(cache_folder() / "lab.lock"):
        if not program.exists():
            _check_tools()
            with tempfile.TemporaryDirectory(prefix="lab-", dir=cache_folder()) as scratch:
                _build(Path(scratch), program)
    return program


def _check_tools() -> None:
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise LaunchError(f"building the lab's kernel needs more tools: apt-get install {' '.join(missing)}")
    if not Path("/usr/include/stdio.h").exists():
        raise LaunchError("building the lab's kernel needs C headers: apt-get install libc6-dev")


def _build(scratch: Path, program: Path) -> None:
    log = cache_folder() / "lab-build.log"
    say(f"building {program.name}; what make says goes to {log}")
    packaged = unpacked(LAB_SOURCE, [LAB_SOURCE])
    environment = _environment()
    with log.open("wb") as output:

        def run(*command: str, folder: Path = scratch) -> None:
            try:
                subprocess.run(
                    command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=subprocess.STDOUT, check=True,
                )  # fmt: skip
            except subprocess.CalledProcessError as error:
                raise LaunchError(
                    f"the lab's kernel was not built: `{command[0]}` failed, see {log}"
                ) from error

        run("tar", "-xJf", str(packaged / "usr/src" / f"{LAB_SOURCE}.tar.xz"))
        source = scratch / LAB_SOURCE
        run("patch", "-p1", "-i", str(recipe("lab.patch")), folder=source)
        run("make", "ARCH=um", f"KCONFIG_ALLCONFIG={recipe('lab.config')}", "allnoconfig", folder=source)
        _check_config(source / ".config")
        run("make", "ARCH=um", f"-j{os.cpu_count() or 1}", "linux", folder=source)
        run("strip", "--strip-debug", "-o", str(scratch / "linux"), "linux", folder=source)
    (scratch / "linux").rename(program)


def _environment() -> Mapping[str, str]:
    """With flex and bison, unpacked without rights where the machine lacks them."""
    if shutil.which("flex") and shutil.which("bison") and shutil.which("m4"):
        return os.environ
    tools = unpacked("build-tools", _UNPACKABLE) / "usr"
    return {
        **os.environ,
        "PATH": f"{tools / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(tools / "lib" / "x86_64-linux-gnu"),
        "M4": str(tools / "bin" / "m4"),
        "BISON_PKGDATADIR": str(tools / "share" / "bison"),
    }


def _check_config(config: Path) -> None:
    """Kconfig drops an option whose conditions are not met without a word."""
    have = set(config.read_text().splitlines())
    wanted = [line for line in recipe("lab.config").read_text().splitlines() if line.endswith("=y")]
    dropped = [line for line in wanted if line not in have]
    if dropped:
        raise LaunchError(f"the kernel's source does not take {', '.join(dropped)}; see {config}")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
