"""Modules and their circulation. Rounds count from 0."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from math import prod
from typing import Annotated

from pydantic import Field

from node.plan.frozen import Frozen
from node.plan.robust import Robust
from node.plan.tasks import TaskSpec

CLUSTER_TIER = "cluster"


class Tensor(Frozen):
    """One float32 tensor of a module."""

    name: str
    shape: tuple[int, ...]
    init_std: float = 0.0  # initial values: normal with this deviation, or zero

    @property
    def size(self) -> int:
        return prod(self.shape)


class Relay(StrEnum):
    """What a relay does with the payloads that pass through it."""

    STORE_AND_FORWARD = "store-and-forward"  # each payload whole, one by one: as published
    CUT_THROUGH = "cut-through"  # each payload's chunks as they come
    AGGREGATE = "aggregate"  # its own update and its subtree's combined into one, chunk by chunk as they come


class Precision(StrEnum):
    """In what form values travel; `node.precision` says what a file looks like."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


_VALUE_BYTES = {Precision.FP32: 4, Precision.BF16: 2, Precision.INT8: 1}


class Module(Frozen):
    """A named set of tensors that is trained, shipped and averaged as one, and its circulation."""

    name: str
    tensors: tuple[Tensor, ...]  # in ascending order of name
    task: str | None = None  # the only task that trains it; None: all tasks do
    modality: str | None = None  # trained by the tasks of this modality only; None: by those of any
    # Tier -> every how many rounds that tier averages it. A tier that is not named never does.
    periods: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    relay: Relay | None = None  # of what travels device to device; None: as its cluster does
    robust: Robust | None = None  # None: the weighted mean at every tier
    precision: Precision = Precision.FP32  # on the wire, at every tier
    # Share of an aggregate in what a device goes on with; the rest is its own. 1: replaced, 0: it keeps its own.
    mix: Annotated[float, Field(ge=0, le=1)] = 1.0

    @cached_property
    def size(self) -> int:
        """Number of values."""
        return sum(t.size for t in self.tensors)

    @property
    def wire_bytes(self) -> int:
        """Of its values as they travel, without the header of the file."""
        scales = 4 * len(self.tensors) if self.precision is Precision.INT8 else 0
        return _VALUE_BYTES[self.precision] * self.size + scales

    @property
    def over_d2d(self) -> bool:
        """Whether it travels device to device to the cluster's head."""
        return CLUSTER_TIER in self.periods

    def trained_by(self, task: TaskSpec) -> bool:
        """Whether samples of a task train it."""
        return self.task in (None, task.name) and self.modality in (None, *task.modalities)

    def due(self, tier: str, round_index: int) -> bool:
        """Whether `tier` averages it at the end of this round."""
        period = self.periods.get(tier)
        return period is not None and (round_index + 1) % period == 0

    def rule_at(self, tier: str) -> str:
        """How updates are combined there."""
        return self.robust.rule if self.robust is not None and tier in self.robust.tiers else "mean"
