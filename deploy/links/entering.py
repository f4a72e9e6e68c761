"""Moves this process into a network namespace: sockets opened from then on are that namespace's."""

from __future__ import annotations

import ctypes
import os

from node.errors import LinksError

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: str) -> None:
    """By its name, as `ip netns` lists it. Only of the calling thread: call it before there are others."""
    path = f"/run/netns/{namespace}"
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise LinksError(f"network namespace '{namespace}': {error.strerror}; start the run again") from error
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            why = os.strerror(ctypes.get_errno())
            raise LinksError(f"network namespace '{namespace}' cannot be entered: {why}; run as root")
    finally:
        os.close(descriptor)
