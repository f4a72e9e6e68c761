"""What links carry beside the payload, and so how long a payload takes on a link that the kernel shapes.

Queueing disciplines count Ethernet frames. Of each full one, 1448 of 1514 bytes are gRPC's (14 of Ethernet, 20 of
IP, 32 of TCP with time stamps); gRPC adds the 9 bytes of an HTTP/2 frame header to at most 16384 bytes. Together
4.6 %: measured on one pair at 4 to 250 Mbit/s, in a guest with virtual time, within 0.04 %.
"""

from __future__ import annotations

from math import ceil

from deploy.links.tc import burst_bytes
from node.plan import Link, Plan

_FRAME_BYTES, _SEGMENT_BYTES = 1514, 1448  # at the usual MTU of 1500
_HTTP2_FRAME_BYTES, _HTTP2_HEADER_BYTES = 16384, 9
# The manifest and the end of the stream, with headers: what even an empty payload takes.
_ENVELOPE_BYTES = 400


def wire_bytes(payload_bytes: float) -> int:
    """Bytes of Ethernet frames that a payload becomes."""
    stream = payload_bytes * (1 + _HTTP2_HEADER_BYTES / _HTTP2_FRAME_BYTES)
    return ceil(stream * _FRAME_BYTES / _SEGMENT_BYTES) + _ENVELOPE_BYTES


def expected_s(plan: Plan, link: Link, payload_bytes: float) -> float:
    """What a transfer should measure, from its first byte to the receipt, under the plan's links_backend.

    Where the kernel delays packets, the receipt comes back with the delay of the other direction. Where the sender
    does, only payloads are held back; and a token bucket is full before a transfer.
    """
    if plan.links_backend in ("none", "paced"):
        return link.seconds(payload_bytes)
    size = wire_bytes(payload_bytes)
    if plan.links_backend == "tbf":
        return link.delay_s + 8 * max(0, size - burst_bytes(link)) / link.rate_bps
    back = plan.link(link.dst, link.src)
    return link.delay_s + 8 * size / link.rate_bps + (back.delay_s if back else 0.0)
