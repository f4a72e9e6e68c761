"""What tests need of the machine: left out with the reason where it is missing, but failed under CI."""

from __future__ import annotations

import os

import pytest

from deploy.launch import PROBES


def needs(what: str, place: str = "namespaces") -> None:
    """`what`: a backend of links, or a place that nodes run in; `place`: where that backend is to be."""
    missing = PROBES.get(what, PROBES[place])().lacks(what)
    if missing is not None:
        lacking(f"{what}: {missing.why}")


def lacking(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
