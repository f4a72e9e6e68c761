"""From an image and a question to what a ViLT takes in, by the processor saved beside the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def tokenizer_of(vocabulary: Sequence[str], length: int) -> Any:
    """A BERT tokenizer of whole words."""
    from transformers.models.bert.tokenization_bert import BertTokenizer

    ids = {word: index for index, word in enumerate(vocabulary)}
    return BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=length)


def whiten(images_BHWC: NDArray[np.uint8]) -> Tensor:
    """Pixels [B, C, H, W] in -1..1, as ViLT's image processor makes them of images of the right size."""
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def save_vilt_processor(
    folder: Path, vocabulary: Sequence[str], length: int, *, side: int, patch: int
) -> None:
    """Tokenizer and image processor, so that ViltProcessor.from_pretrained(folder) works."""
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil
    from transformers.models.vilt.processing_vilt import ViltProcessor

    make_images: Any = ViltImageProcessorPil  # its keywords are not typed
    make: Any = ViltProcessor
    images = make_images(size={"shortest_edge": side}, size_divisor=patch)
    make(images, tokenizer_of(vocabulary, length)).save_pretrained(folder)


def save_clip_processor(folder: Path, vocabulary: Sequence[str], length: int, *, side: int) -> None:
    """The same for CLIPProcessor."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.clip.processing_clip import CLIPProcessor

    make_images: Any = CLIPImageProcessorPil
    make: Any = CLIPProcessor
    half = [0.5, 0.5, 0.5]
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    images = make_images(**sizes, image_mean=half, image_std=half)
    make(images, tokenizer_of(vocabulary, length)).save_pretrained(folder)
