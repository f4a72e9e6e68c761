"""What the small CLIP is pretrained on: scenes and their captions, and the questions of `captions.draw_text`.

The loss adds three: the contrast between the captions of a batch (Radford et al., arXiv 2103.00020), the answer to
a question from both encoders' outputs and their product, as tasks will use them, and what each patch shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel

from node.learning.captions import SPECIAL, VOCABULARY, Text, caption, draw_question
from node.learning.drawing import CELL, CELLS, SIDE
from node.learning.scene_pool import PATCH_KINDS, TEXT_LENGTH, ScenePool, patch_loss, shown
from node.model.clip import fuse
from node.model.processing import save_clip_processor, whiten

BATCH = 64
HELP_LAYER = 2


def tiny_clip_config() -> CLIPConfig:
    stack = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256, "hidden_act": "gelu"}
    words = {
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": TEXT_LENGTH,
        "pad_token_id": SPECIAL.index("[PAD]"),
        "bos_token_id": SPECIAL.index("[CLS]"),
        "eos_token_id": SPECIAL.index("[SEP]"),
    }
    pictures = {"image_size": SIDE, "patch_size": CELL}
    return CLIPConfig(
        text_config={**stack, **words, "num_hidden_layers": 3, "projection_dim": 128},
        vision_config={**stack, **pictures, "num_hidden_layers": 3, "projection_dim": 128},
        projection_dim=128,
    )


@dataclass(frozen=True)
class _Batch:
    captions_BT: Tensor
    questions_BT: Tensor
    answers_B: Tensor  # word ids
    pixels_BCHW: Tensor
    shown_BNA: Tensor  # per patch and attribute: 0 nothing, else 1 + its value


class ClipPretraining(nn.Module):
    """The two encoders with the heads that only pretraining needs."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = CLIPModel(tiny_clip_config())
        config: Any = self.backbone.config
        width = config.projection_dim
        self.answer = nn.Linear(3 * width, len(VOCABULARY))
        self.shown = nn.Linear(config.vision_config.hidden_size, PATCH_KINDS)

    def draw(self, pool: ScenePool, rng: np.random.Generator) -> _Batch:
        chosen = rng.integers(len(pool.scenes), size=BATCH)
        scenes = [pool.scenes[i] for i in chosen]
        asked: list[Text] = [draw_question(scene, rng) for scene in scenes]
        return _Batch(
            pool.ids([caption(scene, rng) for scene in scenes]),
            pool.ids([one.text for one in asked]),
            torch.tensor([VOCABULARY.index(one.answer) for one in asked]),
            whiten(np.stack([pool.images[i] for i in chosen])),
            torch.from_numpy(np.stack([shown(scene) for scene in scenes])),
        )

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        clip = self.backbone
        seen = clip.vision_model(batch.pixels_BCHW, output_hidden_states=True)
        image_BP = clip.visual_projection(seen.pooler_output)
        said_BP, asked_BP = (
            clip.text_projection(clip.text_model(ids).pooler_output)
            for ids in (batch.captions_BT, batch.questions_BT)
        )
        likeness_BB = F.normalize(said_BP) @ F.normalize(image_BP).T * clip.logit_scale.exp().clamp(max=100)
        own = torch.arange(len(likeness_BB))
        patches = self.shown(seen.hidden_states[HELP_LAYER][:, -CELLS * CELLS :])
        return {
            "contrast": (F.cross_entropy(likeness_BB, own) + F.cross_entropy(likeness_BB.T, own)) / 2,
            "question": F.cross_entropy(self.answer(fuse([asked_BP, image_BP])), batch.answers_B),
            "patches": patch_loss(patches, batch.shown_BNA),
        }

    def save_processor(self, folder: Path) -> None:
        save_clip_processor(folder, VOCABULARY, TEXT_LENGTH, side=SIDE)
