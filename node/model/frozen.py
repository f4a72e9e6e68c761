"""The frozen backbone: loaded from disk, with the processor beside it, and never averaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil
from transformers.models.vilt.modeling_vilt import ViltModel
from transformers.utils import logging

from node.errors import ModelError
from node.model.backbone import local_folder
from node.model.vilt import below_adapters, pad, pooled

REMEDY = "save model, tokenizer and image processor there with save_pretrained"


class FrozenVilt:
    """A ViLT whose weights are fixed. Raises ModelError if it cannot be loaded."""

    def __init__(self, backbone: str) -> None:
        where = str(local_folder(backbone) or backbone)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # one device among many has nothing to show
        load: Any = ViltModel.from_pretrained  # typed as if it returned the model alone
        try:
            # The weights' file is mapped: processes that load the same backbone share its memory.
            self._vilt, info = load(where, dtype=torch.float32, output_loading_info=True)
            # Named classes, since what Auto classes pick depends on what else is installed.
            self._tokenizer = BertTokenizer.from_pretrained(where)
            self._images = ViltImageProcessorPil.from_pretrained(where)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            why = str(error).strip().partition("\n")[0]
            raise ModelError(f"model.backbone: {where}: cannot be loaded ({why}); {REMEDY}") from error
        if missing := sorted(info["missing_keys"]):  # transformers would draw them at random
            raise ModelError(f"model.backbone: {where}: its weights lack {missing[0]}; {REMEDY}")
        words = len(self._tokenizer)
        if not len(self._tokenizer.all_special_tokens) < words <= self._vilt.config.vocab_size:
            raise ModelError(
                f"model.backbone: {where}: its tokenizer has {words} words, not its weights'; {REMEDY}"
            )
        self._vilt.requires_grad_(False).eval()
        self._longest = self._vilt.config.max_position_embeddings

    def prepare(self, questions: Sequence[str], images: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        """Each sample's tokens [S_i, D] after the first layer: all that training needs of it.

        Samples of one size are computed together and none is padded.
        """
        texts = self._tokenizer(list(questions), truncation=True, max_length=self._longest)["input_ids"]
        pixels = [self._pixels(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, (ids, image) in enumerate(zip(texts, pixels, strict=True)):
            groups[len(ids), *image.shape].append(index)
        found: dict[int, Tensor] = {}
        for members in groups.values():
            ids_BT = torch.tensor([texts[i] for i in members])
            pixels_BCHW = torch.stack([pixels[i] for i in members])
            first_BSD = below_adapters(self._vilt, ids_BT, pixels_BCHW)
            found.update(zip(members, first_BSD.unbind(), strict=True))
        return [found[i] for i in range(len(texts))]

    def pooled(self, tokens: Sequence[Tensor], adapter: Mapping[str, Tensor]) -> Tensor:
        """Pooled output [B, D] for samples as `prepare` gave them."""
        first_BSD, mask = pad(tokens)
        return pooled(self._vilt, first_BSD, mask, adapter)

    def _pixels(self, image: NDArray[np.uint8]) -> Tensor:
        result: Any = self._images(image, return_tensors="pt", input_data_format="channels_last")
        pixels_CHW: Tensor = result["pixel_values"][0]
        return pixels_CHW
