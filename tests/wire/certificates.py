"""Certificates for tests: good ones, and of every kind that must not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from node.plan import Plan
from node.security import Files
from node.wire.certified import Certified
from orchestrator.run import certificates
from orchestrator.run.certificates import Authority, Holder, holders_of, make_certificates

# Name -> (days from now of its begin and of its end).
DATES: Mapping[str, tuple[int, int]] = {"expired": (-3, -2), "not yet valid": (2, 9)}


class Office:
    """A CA of a plan, and a folder with a certificate for each of its nodes."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.authority = Authority.new(plan.scenario)
        make_certificates(holders_of([plan]), folder, self.authority, days=1)

    def files(self, holder: str) -> Files:
        return Files.of(self.folder, holder)

    def odd(self, node: str, role: str, dates: str = "", of: Authority | None = None) -> Files:
        """Files that somebody might try: for any name, out of date, or of another CA."""
        holder = Holder(Certified(self.plan.scenario, role, node), ("127.0.0.1",))
        folder = self.folder.with_name(f"odd-{node}-{role}-{dates}-{of is not None}".replace(" ", "-"))
        begin, end = DATES.get(dates, (-1, 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(certificates, "_EARLY", timedelta(days=-begin))
            make_certificates([holder], folder, of or self.authority, days=end)
        files = Files.of(folder, node)
        files.ca.write_bytes(self.authority.pem)
        return files


def raw_channel(
    address: str, files: Files | None, name: str | None = None, more: Sequence[tuple[str, Any]] = ()
) -> grpc.aio.Channel:
    """Of a foreign client that shows these files, and asks for this name in the place of the address's host."""
    if files is None:
        return grpc.aio.insecure_channel(address)
    ca, cert, key = (f.read_bytes() for f in (files.ca, files.cert, files.key))
    options = [*more, *([] if name is None else [("grpc.ssl_target_name_override", name)])]
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), options=options)
