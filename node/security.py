"""Whether and where a process has a certificate, and when it must."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.errors import CertificateError
from node.plan import Plan

ENVIRONMENT = "HFFM_CERTS"  # in the place of --certs


@dataclass(frozen=True)
class Files:
    """Where the PEM files of one holder are."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, holder: str) -> Files:
        """In the folder that `hffm certs` wrote for all, or in that of this holder alone."""
        own = folder if (folder / "cert.pem").exists() else folder / holder
        return cls(own / "ca.pem", own / "cert.pem", own / "key.pem")


@dataclass(frozen=True)
class Security:
    """What a process was given. Nothing at all means: no TLS."""

    certs: Path | None = None  # a folder, as in `Files.of`
    ca: Path | None = None  # single files go before those of the folder
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False  # no TLS although other machines can connect

    @property
    def options(self) -> list[str]:
        """The same for `hffm-node`; of a folder."""
        certs = [] if self.certs is None else ["--certs", str(self.certs.resolve())]
        return certs + (["--insecure"] if self.insecure else [])

    def files(self, plan: Plan, holder: str) -> Files | None:
        """Raises CertificateError where there are none and the plan is open to other machines."""
        if (self.certs, self.ca, self.cert, self.key) == (None, None, None, None):
            if not self.insecure:
                _require_loopback(plan)
            return None
        found = Files.of(self.certs or Path(), holder)
        return Files(self.ca or found.ca, self.cert or found.cert, self.key or found.key)


def _require_loopback(plan: Plan) -> None:
    reachable = next((n for n in plan.nodes if not n.on_loopback), None)
    if reachable is not None:
        raise CertificateError(
            f"'{reachable.id}' listens on {reachable.address}, where anybody could take part: "
            "make certificates with `hffm certs` and give --certs, or --insecure on a network that is yours alone"
        )
