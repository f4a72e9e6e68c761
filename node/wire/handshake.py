"""Handshakes that say what gRPC's do not: why a certificate does not do.

gRPC ends a handshake without a word about the cause, so certificates are looked at here with Python's own TLS:
a node's own in a handshake with itself, in memory, and a peer's in one made for nothing else.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node.errors import CertificateError, IdentityError
from node.security import Files
from node.wire.certified import Certified, read_uri

_PROBE_S = 3.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the dates are compared here, to tell them
Decoded = dict[str, Any]  # as ssl.SSLSocket.getpeercert gives a certificate


def examine(files: Files) -> Decoded:
    """The certificate, if it goes with its key and is of the CA: as a peer would see it.

    Raises CertificateError for anything else, and for a CA that is out of date.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _client(files.ca)
    try:
        server.load_cert_chain(files.cert, files.key, password=lambda: b"")
    except OSError as error:
        raise CertificateError(f"{files.cert}, {files.key}: {_reading(error)}") from error
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    try:
        for end in (*ends, *ends):  # two flights each are enough, in TLS 1.2 and 1.3
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        remedy = "take both files from one folder of `hffm certs`"
        raise CertificateError(
            f"{files.cert}: not of the CA in {files.ca} ({error.verify_message}); {remedy}"
        ) from error
    for authority in client.get_ca_certs():
        if (why := out_of_date(authority)) is not None:
            raise CertificateError(f"{files.ca}: the CA's certificate {why}; make all anew with `hffm certs`")
    return ends[0].getpeercert() or {}


def holder_of(certificate: Decoded) -> Certified:
    """Raises IdentityError for a certificate that names no node, or several."""
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        raise IdentityError("a certificate that names no node of a plan; make it with `hffm certs`")
    return read_uri(uris[0])


def out_of_date(certificate: Decoded) -> str | None:
    """What is wrong with its dates by this machine's clock, if something is."""
    now = time.time()
    for key, word, wrong in (
        ("notAfter", "expired on", now.__gt__),
        ("notBefore", "is not valid before", now.__lt__),
    ):
        seconds = ssl.cert_time_to_seconds(certificate[key])
        if wrong(seconds):
            return f"{word} {_date(seconds)}, and this machine's clock says {_date(now)}"
    return None


def diagnose(address: str, expected: Certified, files: Files) -> str | None:
    """Why no connection comes about to who is expected at this address; None where certificates are not why.

    `files`: of who asks. Blocks for some seconds at most.
    """
    context = _client(files.ca)
    context.load_cert_chain(files.cert, files.key)
    try:
        with _shaken(address, context) as wrapped:
            return _judge(address, expected, wrapped)
    except ssl.SSLCertVerificationError as error:
        return f"the certificate at {address} is not of the CA in {files.ca} ({error.verify_message})"
    except ssl.SSLError as error:
        if error.reason != "WRONG_VERSION_NUMBER":
            return None
        return f"the node at {address} does not answer in TLS: give it its --certs, too"
    except OSError:
        return None


def wants_certificates(address: str) -> str | None:
    """The same for who has no certificate: what it says if TLS is spoken there. Blocks as long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _shaken(address, context):
            return f"the node at {address} wants a certificate: give this one its --certs, too"
    except OSError:
        return None


@contextmanager
def _shaken(address: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    host, port = address.rsplit(":", 1)
    context.set_alpn_protocols(["h2"])
    peer = (host.strip("[]"), int(port))
    with socket.create_connection(peer, _PROBE_S) as plain, context.wrap_socket(plain) as wrapped:
        yield wrapped


def _judge(address: str, expected: Certified, wrapped: ssl.SSLSocket) -> str | None:
    certificate = wrapped.getpeercert() or {}
    try:
        found = holder_of(certificate)
    except IdentityError as error:
        return f"{address} shows {error}"
    if (why := out_of_date(certificate)) is not None:
        return f"the certificate of {found.words} at {address} {why}"
    if found != expected:
        said, wanted = found.words, expected.words
        if found.scenario != expected.scenario:
            said, wanted = found.uri, expected.uri
        return f"the certificate at {address} says {said}, the plan says {wanted}"
    try:
        ended = not wrapped.recv(1)  # a gRPC server that is content speaks first, with its settings
    except (TimeoutError, ssl.SSLError):
        return None
    return (
        f"{found.words} at {address} refuses this node's certificate: compare clocks, and CAs"
        if ended
        else None
    )


def _client(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= _NO_CHECK_TIME
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise CertificateError(f"{ca}: {_reading(error)}") from error
    return context


def _reading(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}; make certificates with `hffm certs SCENARIO --out DIR`"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's; take both from one folder of `hffm certs`"
    return f"not PEM files of a certificate and its key ({error.reason}); make them with `hffm certs`"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
