"""Who calls: what the certificate of the connection says; without TLS, a name in the metadata of each call."""

from __future__ import annotations

from node.errors import AccessDenied, IdentityError, ProtocolError
from node.wire.certified import Certified, read_uri
from node.wire.status import Context

_NODE_KEY = "hffm-node"


def identity(node: str) -> tuple[tuple[str, str], ...]:
    """Metadata for the calls that `node` makes."""
    return ((_NODE_KEY, node),)


def peer_of(context: Context) -> str:
    """The caller's name; raises ProtocolError when the call carries none."""
    if (certified := certified_peer(context)) is not None:
        return certified.node
    if (name := claimed_name(context)) is not None:
        return name
    raise ProtocolError(f"a call without the metadata '{_NODE_KEY}': say which node is calling")


def claimed_name(context: Context) -> str | None:
    """What the metadata say."""
    for key, value in context.invocation_metadata() or ():
        if key == _NODE_KEY:
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return None


def certified_peer(context: Context) -> Certified | None:
    """Who the certificate of the connection is for; None on a connection without TLS.

    Raises IdentityError for a certificate that names no node.
    """
    told = context.auth_context()
    if "transport_security_type" not in told or told["transport_security_type"] == [b"insecure"]:
        return None
    uris = told.get("peer_uri", [])
    if len(uris) != 1:
        raise IdentityError("a certificate that names no node of a plan; make it with `hffm certs`")
    return read_uri(uris[0].decode(errors="replace"))


def must_be(context: Context, node: str) -> None:
    """Raises AccessDenied when the caller's certificate is not that of the node that it says it is."""
    certified = certified_peer(context)
    if certified is not None and certified.node != node:
        raise AccessDenied(f"{certified.words} may not speak as '{node}'")
