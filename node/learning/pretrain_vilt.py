"""What the small ViLT is pretrained on: questions about scenes, and captions with one word masked.

The loss adds three: the answer to a question from the pooled output, the masked word of a caption from its token,
and, as a help to bind words to things, what each patch shows from its token half-way up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.vilt.configuration_vilt import ViltConfig
from transformers.models.vilt.modeling_vilt import ViltModel

from node.learning.captions import MASK, SPECIAL, VOCABULARY, draw_text
from node.learning.drawing import CELL, CELLS, SIDE
from node.learning.scene_pool import PATCH_KINDS, TEXT_LENGTH, ScenePool, patch_loss, shown
from node.model.processing import save_vilt_processor, whiten
from node.model.vilt import embed

BATCH = 32
HELP_LAYER = 2  # after how many layers patches are asked what they show


def tiny_config() -> ViltConfig:
    return ViltConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        image_size=SIDE,
        patch_size=CELL,
        initializer_range=0.06,
        max_position_embeddings=TEXT_LENGTH,
        vocab_size=len(VOCABULARY),
        pad_token_id=VOCABULARY.index("[PAD]"),
    )


@dataclass(frozen=True)
class _Batch:
    ids_BT: Tensor
    pixels_BCHW: Tensor
    answers_B: Tensor  # word ids
    masked_B: Tensor  # place of the masked word, or -1 for a question
    shown_BNA: Tensor  # per patch and attribute: 0 nothing, else 1 + its value


class ViltPretraining(nn.Module):
    """The backbone with the heads that only pretraining needs."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = ViltModel(tiny_config())
        width = self.backbone.config.hidden_size
        self.answer = nn.Linear(width, len(VOCABULARY))
        self.word = nn.Linear(width, len(VOCABULARY))
        self.shown = nn.Linear(width, PATCH_KINDS)

    def draw(self, pool: ScenePool, rng: np.random.Generator) -> _Batch:
        chosen = rng.integers(len(pool.scenes), size=BATCH)
        texts = [draw_text(pool.scenes[i], rng) for i in chosen]
        ids_BT = pool.ids([t.text for t in texts])
        masked_BT = ids_BT == SPECIAL.index(MASK)
        return _Batch(
            ids_BT,
            whiten(np.stack([pool.images[i] for i in chosen])),
            torch.tensor([VOCABULARY.index(t.answer) for t in texts]),
            torch.where(masked_BT.any(1), masked_BT.int().argmax(1), -1),
            torch.from_numpy(np.stack([shown(pool.scenes[i]) for i in chosen])),
        )

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        hidden = embed(self.backbone, batch.ids_BT, batch.pixels_BCHW)
        text_mask_BT = batch.ids_BT == SPECIAL.index("[PAD]")
        mask_BS = F.pad(text_mask_BT, (0, hidden.shape[1] - text_mask_BT.shape[1]))
        mask = torch.zeros(mask_BS.shape).masked_fill_(mask_BS, torch.finfo(torch.float32).min)[:, None, None]
        for index, layer in enumerate(self.backbone.encoder.layer, start=1):
            hidden = layer(hidden, mask)[0]
            if index == HELP_LAYER:
                patches = self.shown(hidden[:, -CELLS * CELLS :])
        hidden = self.backbone.layernorm(hidden)
        asked = batch.masked_B < 0
        words = hidden[~asked, batch.masked_B[~asked]]
        return {
            "question": F.cross_entropy(
                self.answer(self.backbone.pooler(hidden)[asked]), batch.answers_B[asked]
            ),
            "cloze": F.cross_entropy(self.word(words), batch.answers_B[~asked]),
            "patches": patch_loss(patches, batch.shown_BNA),
        }

    def save_processor(self, folder: Path) -> None:
        save_vilt_processor(folder, VOCABULARY, TEXT_LENGTH, side=SIDE, patch=CELL)
