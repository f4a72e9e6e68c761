"""What a sample consists of: a part for each modality that it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    text: str = ""
    image: NDArray[np.uint8] | None = None  # [height, width, 3]
    series: NDArray[np.float32] | None = None  # [time, channels]
