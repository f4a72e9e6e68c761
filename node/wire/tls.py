"""Mutual TLS: what one process shows, whom it believes, and whom it expects at an address."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import grpc

from node.errors import CertificateError, IdentityError
from node.plan import Plan
from node.security import Files
from node.wire.certified import Certified, of_node, operator_of
from node.wire.handshake import diagnose, examine, holder_of, out_of_date


class Tls:
    """The certificate of one holder, found good, in one plan.

    Raises CertificateError for files that are missing, readable by others, do not go together, are out of date, or
    are another's.
    """

    def __init__(self, files: Files, holder: Certified, plan: Plan) -> None:
        _check_private(files.key)
        certificate = examine(files)
        try:
            found = holder_of(certificate)
        except IdentityError as error:
            raise CertificateError(f"{files.cert}: {error}") from error
        if found != holder:
            raise CertificateError(
                f"{files.cert}: it is {found.uri}, and this is {holder.uri}: give its own --certs"
            )
        if (why := out_of_date(certificate)) is not None:
            renew = f"set the clock, or `hffm certs SCENARIO --out DIR --renew {holder.node}`"
            raise CertificateError(f"{files.cert}: the certificate of {holder.words} {why}; {renew}")
        self.holder = holder
        self._files = files
        self._ca, self._cert, self._key = (f.read_bytes() for f in (files.ca, files.cert, files.key))
        self._expected = {n.address: of_node(plan, n.id) for n in plan.nodes if n.address is not None}

    @classmethod
    def of_node(cls, files: Files, plan: Plan, node_id: str) -> Tls:
        return cls(files, of_node(plan, node_id), plan)

    @classmethod
    def of_operator(cls, folder: Path, plan: Plan) -> Tls:
        """`folder`: as `hffm certs` wrote it, or the operator's alone."""
        holder = operator_of(plan)
        return cls(Files.of(folder, holder.node), holder, plan)

    def server(self) -> grpc.ServerCredentials:
        """Takes nobody without a certificate of the CA."""
        return grpc.ssl_server_credentials([(self._key, self._cert)], self._ca, require_client_auth=True)

    def channel(self, address: str, options: Sequence[tuple[str, object]]) -> grpc.aio.Channel:
        """To whom the plan has at this address, and to nobody else."""
        credentials = grpc.ssl_channel_credentials(self._ca, self._key, self._cert)
        name = ("grpc.ssl_target_name_override", self._at(address).dns)
        return grpc.aio.secure_channel(address, credentials, options=[*options, name])

    def why_not(self, address: str) -> str | None:
        """Which certificate is why there is no connection, if one is. Blocks for some seconds at most."""
        return diagnose(address, self._at(address), self._files)

    def _at(self, address: str) -> Certified:
        try:
            return self._expected[address]
        except KeyError:
            raise IdentityError(f"the plan has no node at {address}: nobody can be expected there") from None


def _check_private(key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        remedy = "make certificates with `hffm certs SCENARIO --out DIR`, and give --certs DIR"
        raise CertificateError(f"{key}: no key: {error.strerror}; {remedy}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CertificateError(f"{key}: others may read the key (mode {mode:04o}); chmod 600 {key}")
