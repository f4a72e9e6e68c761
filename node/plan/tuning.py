"""What of a model is trained beside the heads of its tasks: each kind makes modules of its own.

Without any, heads alone are trained. A backbone of one encoder has one module per kind (`adapter`), one of several
encoders a module for each (`adapter/text`, `adapter/image`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from node.plan.frozen import Frozen

Count = Annotated[int, Field(ge=1)]


class Adapters(Frozen):
    """Two parallel adapters after every layer (Section IV-A of the paper): `adapter`."""

    kind: Literal["adapters"] = "adapters"
    bottleneck: Count = 32  # of each of the two


class Lora(Frozen):
    """Low-rank updates of linear layers (Hu et al., arXiv 2106.09685), computed by PEFT: `lora`.

    What is averaged are the two factors, each on its own, not their product.
    """

    kind: Literal["lora"] = "lora"
    rank: Count = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0  # the update counts alpha / rank times
    targets: tuple[str, ...] | None = (
        None  # names of linear layers; default: query and value of every attention
    )


class Prompts(Frozen):
    """Trained tokens in front of the input (Lester et al., arXiv 2104.08691; Jia et al., arXiv 2203.12119)."""

    kind: Literal["prompts"] = "prompts"
    length: Count = 8  # tokens
    shared: bool = False  # one for all tasks, `prompt`; default: one for each, `prompt/<task>`


class EncoderLayers(Frozen):
    """The last layers of the backbone itself: `encoder`. The module holds their difference from the backbone's."""

    kind: Literal["encoder"] = "encoder"
    layers: Count | None = (
        None  # from the last one down; default: all (embeddings and norms stay as they are)
    )


def _kind_alone(value: Any) -> Any:
    """Lets `lora` stand for `{kind: lora}`."""
    return {"kind": value} if isinstance(value, str) else value


Tuning = Annotated[
    Adapters | Lora | Prompts | EncoderLayers, Field(discriminator="kind"), BeforeValidator(_kind_alone)
]


class Experts(Frozen):
    """A mixture of experts behind the backbone's encoders: `gate`, and `expert/0`, `expert/1`, ...

    The gate shares each sample out among the experts by a softmax (Jacobs et al., Neural Computation 3, 1991). Of a
    device's experts, those that its own samples' shares go to most are trained and sent; the others only serve.
    """

    count: Annotated[int, Field(ge=2, le=1000)] = 4
    hidden: Count = 64  # width of each expert's hidden layer
    most_relevant: Count = 2  # trained by a device in a round
