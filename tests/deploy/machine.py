"""What tests need of the machine: left out with the reason where it is missing, but failed under CI."""

from __future__ import annotations

import os

import pytest

from deploy.links.capabilities import probe


def needs(what: str) -> None:
    """`what`: a backend of links, or `namespaces`."""
    missing = probe().lacks(what)
    if missing is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}: {missing.why}")
    pytest.skip(f"{what}: {missing.why}")
