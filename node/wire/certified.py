"""What a certificate says about its holder, and the names under which it says so.

A certificate names its holder by a URI, `hffm://SCENARIO/ROLE/NODE`, which servers read, and by a DNS name made
of the same three, for which clients ask in the handshake (the reference identity of RFC 9525): so a parent is known
by its key wherever it listens, and another node's certificate at its address is refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from node.errors import IdentityError
from node.plan import Plan

OPERATOR = "operator"  # role and name of whoever starts and stops rounds
_SCHEME = "hffm://"
_DOMAIN = "hffm.internal"  # .internal is for private use only (ICANN resolution 2024.07.29.06)
# Of what may be a name in a scenario (letters, digits, . _ + -), some is no label of a DNS name (RFC 1035, 2.3.1).
_LABEL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LABEL_LENGTH = 63


class Certified(NamedTuple):
    """Who somebody is, as a certificate says it."""

    scenario: str
    role: str  # device, edge, cloud, operator
    node: str

    @property
    def uri(self) -> str:
        return f"{_SCHEME}{self.scenario}/{self.role}/{self.node}"

    @property
    def dns(self) -> str:
        return ".".join([label(self.node), self.role, label(self.scenario), _DOMAIN])

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.node} ({self.role})"


def label(name: str) -> str:
    """The name, if it is a DNS label; else one made from its digest, that no other name has."""
    if _LABEL.fullmatch(name) and len(name) <= _LABEL_LENGTH:
        return name
    return f"id--{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def read_uri(uri: str) -> Certified:
    """Raises IdentityError for a URI that names no holder."""
    parts = uri.removeprefix(_SCHEME).split("/")
    if not uri.startswith(_SCHEME) or len(parts) != 3 or not all(parts):
        raise IdentityError(f"a certificate for '{uri}': no node of a plan; make it with `hffm certs`")
    return Certified(*parts)


def of_node(plan: Plan, node_id: str) -> Certified:
    """Who this node of the plan has to be."""
    return Certified(plan.scenario, plan.node(node_id).role, node_id)


def operator_of(plan: Plan) -> Certified:
    return Certified(plan.scenario, OPERATOR, OPERATOR)
