"""Series of numbers, seen through random convolutions that are the same for everybody.

ROCKET (Dempster et al., arXiv 1910.13051): kernels of random lengths, dilations and weights; of each one's output
the largest value and the share that is positive. Nothing is learned here, so nothing is shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from node.errors import DataError
from node.model.backbone import SERIES, Encoder
from node.model.example import Example
from node.randomness import generator

LENGTHS = (7, 9, 11)
SHORTEST = max(LENGTHS)


class SeriesTower:
    shape: Encoder = SERIES

    def inputs(self, example: Example) -> tuple[Tensor, ...]:
        if example.series is None or len(example.series) < SHORTEST:
            raise DataError(f"a series is shorter than {SHORTEST} steps; drop the sample, or join several")
        return (torch.from_numpy(example.series.astype("float32")),)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        series_BTC = inputs[0].cpu()  # too small for a GPU to be worth the way
        length, channels = series_BTC.shape[1:]
        features = []
        for weight_1CL, bias, dilation in _kernels(length, channels):
            (taps,) = weight_1CL.shape[2:]
            out_BT = F.conv1d(
                series_BTC.transpose(1, 2),
                weight_1CL,
                bias,
                dilation=dilation,
                padding=dilation * (taps // 2),
            )[:, 0]
            features += [out_BT.amax(1), 2 * (out_BT > 0).float().mean(1) - 1]
        return torch.stack(features, dim=1)[:, None]

    def layer(self, index: int, hidden_BSD: Tensor, mask: Tensor | None) -> Tensor:
        raise IndexError("an encoder without layers")


@cache
def _kernels(length: int, channels: int) -> list[tuple[Tensor, Tensor, int]]:
    """Weights of mean 0 and length 1, a bias, and a dilation up to where a kernel spans the series."""
    rng = generator(0, "rocket", channels)
    found = []
    for _ in range(SERIES.hidden // 2):
        taps = int(rng.choice(LENGTHS))
        weight = rng.standard_normal((1, channels, taps))
        weight -= weight.mean()
        weight /= (weight**2).sum() ** 0.5
        most = max(0.0, float(torch.log2(torch.tensor((length - 1) / (taps - 1)))))
        dilation = int(2 ** (rng.random() * most))
        bias = np.array([rng.uniform(-1, 1)], np.float32)
        found.append((torch.from_numpy(weight).float(), torch.from_numpy(bias), dilation))
    return found
