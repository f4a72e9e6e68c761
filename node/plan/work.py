"""What is learned: model, tasks, data and training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from node.plan.frozen import Frozen
from node.plan.tuning import Adapters, Experts, Tuning


class PartitionSpec(Frozen):
    """How the training samples of each task are dealt to the devices; test shards are IID."""

    kind: Literal["dirichlet", "iid"] = "dirichlet"
    concentration: Annotated[float, Field(gt=0)] = 0.1  # of Dirichlet over the answers of each task
    # Of Dirichlet over each device's tasks and modalities; None: all devices have the same of each. What a device
    # has almost nothing of it does not execute or collect at all: the plan says so, node by node.
    task_concentration: Annotated[float, Field(gt=0)] | None = None
    modality_concentration: Annotated[float, Field(gt=0)] | None = None


class ModelSpec(Frozen):
    # builtin:tiny-vilt (one encoder over image and text), builtin:tiny-clip (an encoder for each), or a local
    # folder or hub name of a model of either type.
    backbone: str = "builtin:tiny-vilt"
    tunings: tuple[Tuning, ...] = (Adapters(),)
    experts: Experts | None = None  # a mixture between the encoders and the heads; default: none

    @field_validator("tunings")
    @classmethod
    def _each_once(cls, tunings: tuple[Tuning, ...]) -> tuple[Tuning, ...]:
        kinds = [tuning.kind for tuning in tunings]
        if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
            raise ValueError(f"'{twice[0]}' stands there twice; keep one")
        return tunings


class TrainingSpec(Frozen):
    """AdamW over the tasks one after the other, a fresh optimizer in each round."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    epochs: Annotated[int, Field(ge=1)] = 1  # local epochs per round
    threads: Annotated[int, Field(ge=1)] = 1
    # auto: an NVIDIA GPU where torch finds one. The nodes of a machine take turns on it as they do on its cores.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Devices rest for the modelled time of training and evaluation, and send modules that change by noise: for the
    # latency and energy of large networks. Nothing is learned, and there are no accuracies.
    left_out: bool = False
