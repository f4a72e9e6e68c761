"""Certificates of a run: asked for, made, and gone when it is over."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.launch import NAMESPACED
from node.errors import CertificateError
from node.plan import Plan
from node.security import Files, Security
from node.wire.certified import OPERATOR
from node.wire.tls import Tls
from orchestrator.run.backends import Choice

_MADE = "certs"  # in the run folder


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    tls: bool = False  # certificates for this run alone
    certs: Path | None = None  # those that are there
    insecure: bool = False

    @property
    def words(self) -> str:
        """For the manifest."""
        if self.certs is not None:
            return f"mutual TLS, certificates of {self.certs}"
        return "mutual TLS, certificates made for this run" if self.tls else "no TLS"


def check(plan: Plan, asked: Asked, choice: Choice) -> None:
    """Raises CertificateError, before anything is made, for what will not do."""
    if asked.tls and asked.certs is not None:
        raise CertificateError("--tls makes certificates and --certs brings them: give one of the two")
    if asked.certs is not None:
        Tls.of_operator(asked.certs, plan)
        for node in plan.nodes:
            Tls.of_node(Files.of(asked.certs, node.id), plan, node.id)
    elif not asked.tls:
        _plain(asked, choice).files(plan, OPERATOR)


def secure(plan: Plan, folder: Path, asked: Asked, choice: Choice) -> Security:
    """What the nodes get; makes certificates in the run folder where that was asked for."""
    if asked.certs is not None:
        return Security(certs=asked.certs)
    if not asked.tls:
        return _plain(asked, choice)
    from orchestrator.run.certificates import certificates_for_a_run

    forget(folder)  # of a run that was killed: their CA is gone
    certificates_for_a_run(plan, folder / _MADE)
    return Security(certs=folder / _MADE)


def operator_tls(plan: Plan, certs: Path | None) -> Tls | None:
    return None if certs is None else Tls.of_operator(certs, plan)


def forget(folder: Path) -> None:
    """Removes the certificates that were made for a run: run folders are shown to others."""
    shutil.rmtree(folder / _MADE, ignore_errors=True)


def _plain(asked: Asked, choice: Choice) -> Security:
    # Namespaces have addresses that look like others' but are this machine's alone.
    return Security(insecure=asked.insecure or choice.launcher in NAMESPACED)
