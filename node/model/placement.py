"""Where a model computes: on a GPU, if there is one, else on the CPU.

What torch makes inside of `placed` is made there; what comes from NumPy, or from a file, is moved there by name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from node.errors import ModelError

CPU = torch.device("cpu")


def device_of(wanted: str) -> torch.device:
    """`wanted`: auto, cpu or cuda. Raises ModelError."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return CPU
    if not torch.cuda.is_available():
        raise ModelError(
            "training.device: cuda, and torch finds no NVIDIA GPU here: install its CUDA build "
            "(`make setup TORCH=cuda`), or say auto"
        )
    return torch.device("cuda")


def placed(device: torch.device) -> AbstractContextManager[object]:
    return nullcontext() if device == CPU else device
