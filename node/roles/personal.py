"""A device's own version of the modules whose aggregates do not simply replace it.

When training begins, own = share x aggregate + (1 - share) x own, once for each aggregate; at a share of 0 the
device goes on with its own. Sources: Deng et al., "Adaptive Personalized Federated Learning", 2020 (interpolation);
Arivazhagan et al., "Federated Learning with Personalization Layers", 2019 (layers that stay).
"""

from __future__ import annotations

import numpy as np

from node.payload import Values
from node.roles.held import Held
from node.roles.private import Private


def start(private: Private, held: Held, device: str, round_index: int) -> Values:
    """What training in this round starts from. `held`: the last aggregate, or what the device has learned since."""
    share = np.float32(held.module.mix)
    if share == 1:
        return held.values
    own = private.before(_name(held), round_index)
    values_P = held.values if own is None else own.values
    aggregated = held.contributors != (device,)
    if own is not None and aggregated and held.round >= own.round and share > 0:
        values_P = share * held.values + (1 - share) * values_P
    private.put(_name(held), Held(held.module, values_P, round_index))
    return values_P


def learned(private: Private, held: Held) -> None:
    """The device goes on from here, whatever is made of it elsewhere."""
    if held.module.mix < 1:
        private.put(_name(held), held)


def own(private: Private, held: Held) -> Held:
    """What the device goes on with, before it has mixed in an aggregate: its own; or what is held."""
    return private.last(_name(held)) or held


def _name(held: Held) -> str:
    return f"own:{held.module.name}"
