"""Names and shapes of a mixture of experts: `gate`, `expert/0`, `expert/1`, ... D pooled width."""

from __future__ import annotations

from node.model.backbone import BackboneShape
from node.model.tuning_schema import INIT_STD
from node.plan import Experts, Module, Tensor

GATE = "gate"


def expert_name(index: int) -> str:
    return f"expert/{index}"


def is_expert(module: str) -> bool:
    return module.startswith("expert/")


def mixture_schemas(shape: BackboneShape, spec: Experts) -> list[Module]:
    """The gate starts decided enough (shares of deviation e) that experts part ways."""
    width = shape.pooled
    gate = Tensor(name="weight", shape=(spec.count, width), init_std=width**-0.5)
    expert = (
        Tensor(name="down.bias", shape=(spec.hidden,)),
        Tensor(name="down.weight", shape=(spec.hidden, width), init_std=width**-0.5),
        Tensor(name="up.bias", shape=(width,)),
        Tensor(name="up.weight", shape=(width, spec.hidden), init_std=INIT_STD),
    )
    return [
        Module(name=GATE, tensors=(gate,)),
        *(Module(name=expert_name(index), tensors=expert) for index in range(spec.count)),
    ]
