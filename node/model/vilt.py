"""A frozen ViLT with adapters: what is below the first adapter is computed once per sample, the rest in each step.

Shape suffixes: B samples, T text tokens, N patches, S = T + 1 + N tokens, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# From the module itself: the package imports lazily, and a fork server should hold all that is needed.
from transformers.models.vilt.modeling_vilt import ViltModel

from node.model.schema import PARALLEL, adapter_tensor


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


def pad(tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Samples [S_i, D] as a batch [B, S, D], and a mask to add to attention scores (None: nothing is padded)."""
    lengths = [len(sample) for sample in tokens]
    if min(lengths) == max(lengths):
        return torch.stack(list(tokens)), None
    batch_BSD = nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
    beyond_BS = torch.arange(max(lengths))[None] >= torch.tensor(lengths)[:, None]
    mask = torch.zeros(beyond_BS.shape).masked_fill_(beyond_BS, torch.finfo(torch.float32).min)
    return batch_BSD, mask[:, None, None, :]


def add_adapters(hidden_BSD: Tensor, layer: int, adapter: Mapping[str, Tensor]) -> Tensor:
    """The layer's output with its parallel adapters' outputs added (double adapters, Section IV-A).

    Each is up(relu(down(x))). Side by side they are one adapter of their joint width, computed as such.
    """

    def of(part: str) -> list[Tensor]:
        return [adapter[adapter_tensor(layer, branch, part)] for branch in PARALLEL]

    inner = F.relu(F.linear(hidden_BSD, torch.cat(of("down.weight")), torch.cat(of("down.bias"))))
    bias = torch.stack(of("up.bias")).sum(0)
    return hidden_BSD + F.linear(inner, torch.cat(of("up.weight"), dim=1), bias)


@torch.no_grad()
def below_adapters(vilt: ViltModel, ids_BT: Tensor, pixels_BCHW: Tensor) -> Tensor:
    """Output [B, S, D] of the first layer, to which nothing that is trained contributes."""
    hidden: Tensor = vilt.encoder.layer[0](embed(vilt, ids_BT, pixels_BCHW))[0]
    return hidden


def pooled(vilt: ViltModel, first_BSD: Tensor, mask: Tensor | None, adapter: Mapping[str, Tensor]) -> Tensor:
    """Pooled output [B, D] of the whole model from the first layer's output."""
    hidden_BSD = add_adapters(first_BSD, 0, adapter)
    for index, layer in enumerate(vilt.encoder.layer[1:], start=1):
        hidden_BSD = add_adapters(layer(hidden_BSD, mask)[0], index, adapter)
    assert vilt.pooler is not None  # loaded with it
    result: Tensor = vilt.pooler(vilt.layernorm(hidden_BSD))
    return result
