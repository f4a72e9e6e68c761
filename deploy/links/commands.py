"""`ip` and `tc`, run with what they say turned into one line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from node.errors import LinksError

_PATIENCE_S = 60.0  # thousands of lines in one batch take seconds


def run(*command: str, lines: Sequence[str] | None = None) -> str:
    """Its standard output. `lines` go to its standard input. Raises LinksError with its complaint."""
    said = attempt(*command, lines=lines)
    if said.returncode:
        complaint = " ".join(f"{said.stderr} {said.stdout}".split())
        raise LinksError(f"`{' '.join(command)}` failed: {complaint or f'exit code {said.returncode}'}")
    return said.stdout


def batch(*command: str, lines: Sequence[str]) -> None:
    """`ip ... -batch -` or `tc ... -batch -`, ended by the first line that fails."""
    if lines:
        run(*command, "-batch", "-", lines=lines)


def attempt(*command: str, lines: Sequence[str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same without raising for what the command itself finds wrong."""
    text = None if lines is None else "".join(f"{line}\n" for line in lines)
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except FileNotFoundError:
        raise LinksError(f"`{command[0]}` is not installed: install iproute2") from None
    except subprocess.TimeoutExpired:
        raise LinksError(f"`{' '.join(command)}` did not end within {_PATIENCE_S:g} s") from None
