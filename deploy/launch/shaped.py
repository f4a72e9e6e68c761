"""One node whose links the kernel shapes, on the interface that the node has to itself.

`python -m deploy.launch.shaped` takes the arguments of `hffm-node`, and its own:

    --interface NAME     that interface; default: eth0
    --addresses FILE     shape it first: YAML or JSON, node: IPv4 address. Without it, somebody has set the links
                         up, and the node only follows them from round to round.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.links.addressing import read_addresses
from deploy.links.interface import Interface
from node.__main__ import Reshape
from node.__main__ import main as node_main
from node.plan import Plan


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--addresses", type=Path)
    own, of_node = parser.parse_known_args()

    def shaping(plan: Plan, node: str) -> Reshape:
        interface = Interface(plan, node, own.interface)
        if own.addresses is not None:
            interface.apply(read_addresses(own.addresses, plan))
        return interface.follow

    node_main(of_node, shaping)


if __name__ == "__main__":
    main()
