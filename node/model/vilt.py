"""ViLT: one transformer over the joint embeddings of text and image (Kim et al., arXiv 2102.03334).

Shape suffixes: B samples, T text tokens, N patches, S = T + 1 + N tokens, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# From the modules themselves: the package imports lazily, and a fork server should hold all that is needed. Named
# classes, since what Auto classes pick depends on what else is installed.
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil
from transformers.models.vilt.modeling_vilt import ViltModel

from node.model.backbone import BackboneShape, Encoder
from node.model.example import Example
from node.model.loading import check_words, load_part, load_weights, pixels
from node.model.tower import Encoded, Tokens


def embed(vilt: ViltModel, ids_BT: Tensor, pixels_BCHW: Tensor) -> Tensor:
    """Embeddings [B, S, D] of texts of one length and images of one size, none of them padded.

    As ViltModel computes them, but with the patches in their order: ViltModel shuffles them with the global random
    generator, which matters to no later layer but makes the last digits of results depend on what ran before.
    """
    parts = vilt.embeddings
    text_BTD = parts.text_embeddings(input_ids=ids_BT)
    patches_BDhw = parts.patch_embeddings(pixels_BCHW)
    rows, columns = patches_BDhw.shape[-2:]
    side = round((parts.position_embeddings.shape[1] - 1) ** 0.5)
    places = parts.position_embeddings[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    places = F.interpolate(places, size=(rows, columns), mode="bilinear", align_corners=True)
    patches_BND = (patches_BDhw + places).flatten(2).transpose(1, 2)
    cls_BD = (parts.cls_token + parts.position_embeddings[:, :1]).expand(len(ids_BT), -1, -1)
    image_BND = torch.cat([cls_BD, patches_BND], dim=1)
    kinds = parts.token_type_embeddings.weight
    return torch.cat([text_BTD + kinds[0], image_BND + kinds[1]], dim=1)


class ViltBackbone:
    """Also its own only encoder. A sample without text has an empty one, a sample without image no patches."""

    def __init__(self, where: str, shape: BackboneShape) -> None:
        self.shape_: BackboneShape = shape
        self._vilt: Any = load_weights(ViltModel, where)
        self._tokenizer = load_part(BertTokenizer, where)
        self._images = load_part(ViltImageProcessorPil, where)
        check_words(where, self._tokenizer, self._vilt.config.vocab_size)
        self.root: nn.Module = self._vilt
        self.towers = (_Joint(self._vilt, shape.encoders[0], self._tokenizer, self._images),)

    @property
    def shape(self) -> BackboneShape:
        return self.shape_

    def finish(self, tokens: Mapping[str, Tokens]) -> Encoded:
        (only,) = tokens.values()
        hidden_BSD = self._vilt.layernorm(only.hidden_BSD)
        return Encoded(self._vilt.pooler(hidden_BSD), {"joint": Tokens(hidden_BSD, only.lengths_B)})


class _Joint:
    def __init__(self, vilt: Any, shape: Encoder, tokenizer: Any, images: Any) -> None:
        self.shape = shape
        self._vilt = vilt
        self._tokenizer = tokenizer
        self._images = images
        self._longest = vilt.config.max_position_embeddings

    def inputs(self, example: Example) -> tuple[Tensor, ...]:
        ids = self._tokenizer(example.text, truncation=True, max_length=self._longest)["input_ids"]
        if example.image is None:
            return (torch.tensor(ids),)
        return torch.tensor(ids), pixels(self._images, example.image)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        ids_BT, *images = inputs
        if images:
            return embed(self._vilt, ids_BT, images[0])
        parts = self._vilt.embeddings
        text_BTD: Tensor = parts.text_embeddings(input_ids=ids_BT) + parts.token_type_embeddings.weight[0]
        return text_BTD

    def layer(self, index: int, hidden_BSD: Tensor, mask: Tensor | None) -> Tensor:
        hidden: Tensor = self._vilt.encoder.layer[index](hidden_BSD, mask)[0]
        return hidden
