"""Loading what transformers has saved. Raises ModelError, one line with the folder and the remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers.utils import logging

from node.errors import ModelError

REMEDY = "save model, tokenizer and image processor there with save_pretrained"
_FOREIGN = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)


def load_weights(model: Any, where: str) -> Any:
    """A model, frozen. The weights' file is mapped: processes that load the same backbone share its memory."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # one device among many has nothing to show
    try:
        found, info = model.from_pretrained(where, dtype=torch.float32, output_loading_info=True)
    except _FOREIGN as error:
        raise _unloadable(where, error) from error
    if missing := sorted(info["missing_keys"]):  # transformers would draw them at random
        raise ModelError(f"model.backbone: {where}: its weights lack {missing[0]}; {REMEDY}")
    found.requires_grad_(False).eval()
    return found


def load_part(kind: Any, where: str) -> Any:
    """A tokenizer or an image processor."""
    try:
        return kind.from_pretrained(where)
    except _FOREIGN as error:
        raise _unloadable(where, error) from error


def check_words(where: str, tokenizer: Any, vocabulary: int) -> None:
    words = len(tokenizer)
    if not len(tokenizer.all_special_tokens) < words <= vocabulary:
        raise ModelError(
            f"model.backbone: {where}: its tokenizer has {words} words, not its weights'; {REMEDY}"
        )


def pixels(processor: Any, image: NDArray[np.uint8]) -> Tensor:
    """[C, H, W], as the backbone's own image processor makes them."""
    result: Any = processor(image, return_tensors="pt", input_data_format="channels_last")
    found: Tensor = result["pixel_values"][0]
    return found


def _unloadable(where: str, error: Exception) -> ModelError:
    why = str(error).strip().partition("\n")[0]
    return ModelError(f"model.backbone: {where}: cannot be loaded ({why}); {REMEDY}")
