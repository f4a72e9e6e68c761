"""CLIP: an encoder for text and one for images (Radford et al., arXiv 2103.00020), whose outputs are fused.

Shape suffixes: B samples, S tokens, D hidden width, P width of the projections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.modeling_clip import CLIPModel

from node.errors import DataError
from node.model.backbone import SERIES, BackboneShape, Encoder
from node.model.example import Example
from node.model.loading import check_words, load_part, load_weights, pixels
from node.model.series import SeriesTower
from node.model.tower import Encoded, Tokens, Tower


def fuse(parts: Sequence[Tensor]) -> Tensor:
    """Projections [B, P] side by side, each of unit variance, and their product: [B, (parts + 1) P].

    The product lets a linear head weigh what text and image have in common. A part of zeros stays zeros.
    """
    scaled = [F.normalize(part, dim=-1) * part.shape[-1] ** 0.5 for part in parts]
    product = torch.stack(scaled).prod(0)
    return torch.cat([*scaled, product], dim=-1)


class ClipBackbone:
    def __init__(self, where: str, shape: BackboneShape) -> None:
        self.shape = shape
        self._clip: Any = load_weights(CLIPModel, where)
        tokenizer = load_part(AutoTokenizer, where)
        images = load_part(CLIPImageProcessorPil, where)
        check_words(where, tokenizer, self._clip.config.text_config.vocab_size)
        self.root: nn.Module = self._clip
        self._width = self._clip.config.projection_dim
        text, image, *others = shape.encoders
        towers: list[Tower] = [_Text(self._clip.text_model, text, tokenizer)]
        towers += [_Image(self._clip.vision_model, image, images), *(SeriesTower() for _ in others)]
        self.towers = towers

    def finish(self, tokens: Mapping[str, Tokens]) -> Encoded:
        """Heads read zeros in the place of what a sample does not have."""
        memory = dict(tokens)
        (some, *_) = tokens.values()
        zeros = some.hidden_BSD.new_zeros(len(some.lengths_B), self._width)
        text_BP = image_BP = zeros
        if "text" in tokens:
            hidden, lengths = (
                self._clip.text_model.final_layer_norm(tokens["text"].hidden_BSD),
                tokens["text"].lengths_B,
            )
            memory["text"] = Tokens(hidden, lengths)
            last = torch.tensor(lengths) - 1  # the end of the text, which alone has seen all of it
            text_BP = self._clip.text_projection(hidden[torch.arange(len(lengths)), last])
        if "image" in tokens:
            first = self._clip.vision_model.post_layernorm(tokens["image"].hidden_BSD[:, 0])
            image_BP = self._clip.visual_projection(first)
        pooled = fuse([text_BP, image_BP])
        if SERIES in self.shape.encoders:
            series = tokens.get("series")
            part = zeros.new_zeros(len(zeros), SERIES.hidden) if series is None else series.hidden_BSD[:, 0]
            pooled = torch.cat([pooled, part], dim=-1)
        return Encoded(pooled, memory)


class _Text:
    def __init__(self, model: Any, shape: Encoder, tokenizer: Any) -> None:
        self.shape = shape
        self._model = model
        self._tokenizer = tokenizer
        self._longest = model.config.max_position_embeddings

    def inputs(self, example: Example) -> tuple[Tensor, ...]:
        ids = self._tokenizer(example.text, truncation=True, max_length=self._longest)["input_ids"]
        return (torch.tensor(ids),)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        hidden: Tensor = self._model.embeddings(input_ids=inputs[0])
        return hidden

    def layer(self, index: int, hidden_BSD: Tensor, mask: Tensor | None) -> Tensor:
        """Causal, so that padding, which comes last, is never looked at."""
        hidden: Tensor = self._model.encoder.layers[index](hidden_BSD, None, is_causal=True)
        return hidden


class _Image:
    def __init__(self, model: Any, shape: Encoder, images: Any) -> None:
        self.shape = shape
        self._model = model
        self._images = images

    def inputs(self, example: Example) -> tuple[Tensor, ...]:
        if example.image is None:
            raise DataError("a sample has no image, but its task says so; correct its columns")
        return (pixels(self._images, example.image),)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        hidden: Tensor = self._model.pre_layrnorm(self._model.embeddings(inputs[0]))
        return hidden

    def layer(self, index: int, hidden_BSD: Tensor, mask: Tensor | None) -> Tensor:
        hidden: Tensor = self._model.encoder.layers[index](hidden_BSD, mask)
        return hidden
