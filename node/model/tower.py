"""What encoders and backbones have in common, so that every kind of tuning works on all of them.

Shape suffixes: B samples, S tokens, D hidden width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from node.model.backbone import BackboneShape, Encoder
from node.model.example import Example


@dataclass(frozen=True)
class Tokens:
    """A batch on its way through an encoder."""

    hidden_BSD: Tensor
    lengths_B: list[int]

    @property
    def beyond_BS(self) -> Tensor | None:
        """Where there is only padding; None: nowhere."""
        longest = self.hidden_BSD.shape[1]
        if min(self.lengths_B) == longest:
            return None
        return torch.arange(longest)[None] >= torch.tensor(self.lengths_B)[:, None]


@dataclass(frozen=True)
class Encoded:
    """What heads read."""

    pooled_BP: Tensor
    memory: Mapping[str, Tokens]  # by encoder: its tokens after the last layer


class Tower(Protocol):
    """One encoder: a stack of layers over tokens."""

    @property
    def shape(self) -> Encoder: ...

    def inputs(self, example: Example) -> tuple[Tensor, ...]:
        """What is embedded of one sample; samples whose inputs have equal shapes are embedded together."""

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Tokens [B, S, D] below the first layer, of a batch of inputs; none is padding."""

    def layer(self, index: int, hidden_BSD: Tensor, mask: Tensor | None) -> Tensor:
        """One layer. `mask` is added to the scores of attention; None: nothing is padded."""


class Backbone(Protocol):
    """A frozen model of one or several encoders."""

    @property
    def shape(self) -> BackboneShape: ...

    @property
    def root(self) -> nn.Module:
        """What the names of weights are relative to."""

    @property
    def towers(self) -> Sequence[Tower]: ...

    def finish(self, tokens: Mapping[str, Tokens]) -> Encoded:
        """From what the encoders in use put out."""


def pad(samples: Sequence[Tensor], device: torch.device) -> Tokens:
    """Samples [S_i, D] as a batch on the device."""
    lengths = [len(sample) for sample in samples]
    if min(lengths) == max(lengths):
        return Tokens(torch.stack(list(samples)).to(device), lengths)
    return Tokens(nn.utils.rnn.pad_sequence(list(samples), batch_first=True).to(device), lengths)
