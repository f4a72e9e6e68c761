"""Error feedback: what quantising has left out of one version is added to the next.

So nothing that was learned is lost, however few bits a version has: what a node has sent, summed up over its
rounds, differs from what it should have sent by one rounding. Sources: Seide et al., "1-Bit Stochastic Gradient
Descent", Interspeech 2014; Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019, Algorithm 2.
"""

from __future__ import annotations

import numpy as np

from node.payload import Values
from node.plan import Module, Precision
from node.precision import on_grid
from node.roles.held import Held
from node.roles.private import Private


def sent(private: Private, module: Module, tier: str, values_P: Values, round_index: int) -> Values:
    """What goes out for these values, and what receivers will have, bit by bit.

    A device quantises at its own tier what it has learned and, as a head, at that of the cluster the aggregate.
    """
    if module.precision is Precision.FP32:
        return values_P
    name = f"left-out@{tier}:{module.name}"
    before = private.before(name, round_index)
    wanted_P = values_P if before is None else values_P + before.values
    sent_P = on_grid(module, wanted_P)
    if np.isfinite(sent_P).all():  # else it is refused where it comes, and must not go on here
        private.put(name, Held(module, wanted_P - sent_P, round_index))
    return sent_P
