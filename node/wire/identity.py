"""Who calls: the node's name travels in the metadata of each call."""

from __future__ import annotations

from node.errors import ProtocolError
from node.wire.status import Context

_NODE_KEY = "hffm-node"


def identity(node: str) -> tuple[tuple[str, str], ...]:
    """Metadata for the calls that `node` makes."""
    return ((_NODE_KEY, node),)


def peer_of(context: Context) -> str:
    """The caller's name; raises ProtocolError when the call carries none."""
    for key, value in context.invocation_metadata() or ():
        if key == _NODE_KEY:
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    raise ProtocolError(f"a call without the metadata '{_NODE_KEY}': say which node is calling")
