"""A private CA, and the certificates that it gives to the nodes of a scenario and to its operator.

    OUT/ca.pem                               whom all believe
    OUT/NODE/{ca,cert,key}.pem               all that this node needs, and nothing more
    OUT/operator/{ca,cert,key}.pem           for whoever starts and stops rounds
    CA/{ca,key}.pem                          the CA itself; stays where certificates are made

Keys are ECDSA on P-256 (FIPS 186-5), since gRPC's TLS takes no Ed25519; certificates follow RFC 5280.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.errors import CertificateError
from node.plan import Plan
from node.wire.certified import Certified, label, of_node, operator_of

CA = "ca"  # beside the nodes' folders: no node may have this name
_CA_DAYS = 3650
_EARLY = timedelta(hours=1)  # a certificate holds from before it was made: clocks of boards are behind


@dataclass(frozen=True)
class Holder:
    """Who gets a certificate, and the host names and addresses that it may be found under."""

    certified: Certified
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Issued:
    holder: Holder
    until: datetime
    state: str  # made, renewed, kept, or kept and why it does not do


class Authority:
    """The CA."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def new(cls, scenario: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        name = _name(f"CA of {scenario} {serial:x}"[:64])  # another CA of the same scenario has another name
        now = datetime.now(UTC)
        usage = _usage(key_cert_sign=True, crl_sign=True)
        made = (
            _builder(name, name, key.public_key(), now, now + timedelta(days=_CA_DAYS))
            .serial_number(serial)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, made)

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Raises CertificateError for files that are missing or no CA's."""
        try:
            key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        except OSError as error:
            why = f"the CA cannot be read: {error.strerror}; say where it is with --ca-out"
            raise CertificateError(f"{error.filename}: {why}") from error
        except (ValueError, TypeError) as error:
            raise CertificateError(f"{folder}: no CA and key in PEM: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(
                f"{folder}: the key is not the CA's; give the folder that `hffm certs` has made"
            )
        return cls(key, certificate)

    def save(self, folder: Path) -> None:
        with _writing(folder):
            _make_folder(folder)
            _write(folder / "key.pem", _key_pem(self._key))
            _write(folder / "ca.pem", self.pem)

    @property
    def pem(self) -> bytes:
        return _pem(self.certificate)

    def issue(self, holder: Holder, days: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Holds for so many days, and no longer than the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        until = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        both_ways = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        subject = _name(holder.certified.node)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            _builder(subject, self.certificate.subject, key.public_key(), now, until)
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both_ways), critical=False)
            .add_extension(x509.SubjectAlternativeName(_alternatives(holder)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return made, key

    def judge(self, certificate: x509.Certificate, holder: Holder) -> str | None:
        """Why this certificate does not do for the holder, if it does not."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return "of another CA"
        if certificate.not_valid_after_utc < datetime.now(UTC):
            return "expired"
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return None if set(_alternatives(holder)) <= set(names) else "other names"


def holders_of(plans: Sequence[Plan]) -> list[Holder]:
    """All nodes of the plans of one scenario, in the plans' order, and the operator."""
    hosts: dict[Certified, dict[str, None]] = {}
    for plan in plans:
        for node in plan.nodes:
            if node.id in (CA, operator_of(plan).node) or "/" in node.id or node.id in ("", ".", ".."):
                raise CertificateError(f"node '{node.id}' cannot have a folder of this name: rename it")
            found = hosts.setdefault(of_node(plan, node.id), {})
            if node.address is not None:
                found.setdefault(node.address.rsplit(":", 1)[0].strip("[]"))
    return [*(Holder(who, tuple(found)) for who, found in hosts.items()), Holder(operator_of(plans[0]))]


def make_certificates(
    holders: Sequence[Holder], out: Path, authority: Authority, days: int, renew: Collection[str] = ()
) -> list[Issued]:
    """Makes what is missing in `out`, and anew what is to be renewed. Raises CertificateError."""
    names = [h.certified.node for h in holders]
    if unknown := sorted(set(renew).difference(names)):
        raise CertificateError(f"--renew {unknown[0]}: no such node; there are {', '.join(names[:5])}, ...")
    with _writing(out):
        _make_folder(out)
        if not (out / "ca.pem").exists():
            _write(out / "ca.pem", authority.pem)
        elif (out / "ca.pem").read_bytes() != authority.pem:
            raise CertificateError(
                f"{out / 'ca.pem'}: another CA; give its folder with --ca-out, or another --out"
            )
        return [
            _provide(h, out / h.certified.node, authority, days, h.certified.node in renew) for h in holders
        ]


def certificates_for_a_run(plan: Plan, folder: Path) -> None:
    """Of a CA whose key is never written: good for this run, and for nothing else."""
    make_certificates(holders_of([plan]), folder, Authority.new(plan.scenario), days=30)


def _provide(holder: Holder, folder: Path, authority: Authority, days: int, renew: bool) -> Issued:
    exists = (folder / "cert.pem").exists() or (folder / "key.pem").exists()
    if exists and not renew:
        return _kept(holder, folder, authority)
    certificate, key = authority.issue(holder, days)
    _make_folder(folder)
    _write(folder / "ca.pem", authority.pem, anew=True)
    _write(folder / "key.pem", _key_pem(key), anew=renew)
    _write(folder / "cert.pem", _pem(certificate), anew=renew)
    return Issued(holder, certificate.not_valid_after_utc, "renewed" if exists else "made")


def _kept(holder: Holder, folder: Path, authority: Authority) -> Issued:
    try:
        found = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        (folder / "key.pem").read_bytes()
    except (OSError, ValueError) as error:
        why = f"not a certificate and its key; --renew {holder.certified.node} makes both anew"
        raise CertificateError(f"{folder}: {why}") from error
    wrong = authority.judge(found, holder)
    return Issued(holder, found.not_valid_after_utc, f"kept, but {wrong}" if wrong else "kept")


def _alternatives(holder: Holder) -> list[x509.GeneralName]:
    """Subject alternative names (RFC 5280, 4.2.1.6): who it is; and, for clients that look for these, where."""
    who = holder.certified
    dns = [who.dns, *([who.node] if label(who.node) == who.node else [])]
    found: list[x509.GeneralName] = [x509.UniformResourceIdentifier(who.uri)]
    for host in holder.hosts:
        try:
            found.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            dns.append(host)
    try:
        return [*found, *(x509.DNSName(name) for name in dict.fromkeys(dns))]
    except ValueError as error:
        raise CertificateError(
            f"'{who.node}' listens on {holder.hosts}, no name for a certificate: {error}"
        ) from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(now - _EARLY)
        .not_valid_after(until)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(**asked: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: asked.get(name, False) for name in every})


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_folder(folder: Path) -> None:
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)  # mkdir's own `parents` would leave these open to others


def _write(path: Path, data: bytes, anew: bool = False) -> None:
    """For this user's eyes only; whole or not at all; over an existing file only if that is meant."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    if anew:
        unfinished.replace(path)
    else:
        path.hardlink_to(unfinished)  # fails if there is one
        unfinished.unlink()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"cannot write certificates: {error.strerror}; choose another --out"
        raise CertificateError(f"{error.filename or out}: {why}") from error
