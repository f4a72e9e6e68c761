"""Pretrains the built-in backbone: about five minutes on one core, done once; the result ships with the package.

The loss adds three: the answer to a question from the pooled output, the masked word of a caption from its token,
and, as a help to bind words to things, what each patch shows from its token half-way up.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.vilt.configuration_vilt import ViltConfig
from transformers.models.vilt.modeling_vilt import ViltModel

from node.learning.captions import MASK, SPECIAL, VOCABULARY, draw_text
from node.learning.drawing import CELL, CELLS, SIDE, Pixels
from node.learning.scenes import COLOR_NAMES, FILLINGS, SHAPE_NAMES, SIZES, Scene, draw_scene, render
from node.model.processing import save_processor, tokenizer_of, whiten
from node.model.vilt import embed
from node.randomness import generator, seed_of

Progress = Callable[[int, int, dict[str, float]], None]  # step, steps, losses

BATCH = 32
LEARNING_RATE = 1e-3
WARMUP = 200
CLIP = 1.0
TEXT_LENGTH = 12
POOL = 20_000  # scenes, drawn once and asked about again and again
HELP_LAYER = 2  # after how many layers patches are asked what they show
ATTRIBUTES = (COLOR_NAMES, SHAPE_NAMES, SIZES, FILLINGS)


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


def pretrain(
    out_dir: Path, seed: int = 0, steps: int = 5200, progress: Progress | None = None
) -> dict[str, Any]:
    """Writes weights, config, tokenizer, image processor and recipe.json to `out_dir`; returns the recipe."""
    torch.set_num_threads(1)
    torch.manual_seed(seed_of(seed, "pretrain", "init") % 2**63)
    model = _Pretraining(ViltModel(tiny_config()))
    losses = _optimise(model, _Pool(seed), generator(seed, "pretrain", "batches"), steps, progress)
    out_dir.mkdir(parents=True, exist_ok=True)
    weights = _save(model.vilt, out_dir)
    save_processor(out_dir, VOCABULARY, TEXT_LENGTH, side=SIDE, patch=CELL)
    recipe = {
        "command": f"hffm pretrain --seed {seed} --steps {steps}",
        "seed": seed,
        "steps": steps,
        "batch": BATCH,
        "optimizer": f"AdamW {LEARNING_RATE}, warm-up {WARMUP} steps, cosine, gradient norm at most {CLIP}",
        "scenes": POOL,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "final_losses": {name: round(value, 4) for name, value in losses.items()},
    }
    (out_dir / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
    return recipe


def _save(vilt: Any, folder: Path) -> bytes:
    """As save_pretrained does, but without its progress bar, and readable by all. Returns the weights' file."""
    vilt.config.architectures = ["ViltModel"]
    vilt.config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in vilt.state_dict().items()}
    file = save(weights, metadata={"format": "pt"})
    fresh = folder / "model.safetensors.new"
    fresh.write_bytes(file)
    fresh.replace(folder / "model.safetensors")  # nodes that run have the old file mapped and keep it
    return file


@dataclass(frozen=True)
class _Batch:
    ids_BT: Tensor
    pixels_BCHW: Tensor
    answers_B: Tensor  # word ids
    masked_B: Tensor  # place of the masked word, or -1 for a question
    shown_BNA: Tensor  # per patch and attribute: 0 nothing, else 1 + its value


class _Pool:
    """Scenes and their pictures."""

    def __init__(self, seed: int) -> None:
        rng = generator(seed, "pretrain", "scenes")
        self.scenes: list[Scene] = [draw_scene(rng, int(rng.integers(1, 5))) for _ in range(POOL)]
        self.images: list[Pixels] = [render(scene, rng) for scene in self.scenes]
        self._tokenizer = tokenizer_of(VOCABULARY, TEXT_LENGTH)

    def draw(self, rng: np.random.Generator) -> _Batch:
        chosen = rng.integers(len(self.scenes), size=BATCH)
        texts = [draw_text(self.scenes[i], rng) for i in chosen]
        encoded = self._tokenizer([t.text for t in texts], padding="max_length", return_tensors="pt")
        ids_BT = encoded["input_ids"]
        masked_BT = ids_BT == SPECIAL.index(MASK)
        return _Batch(
            ids_BT,
            whiten(np.stack([self.images[i] for i in chosen])),
            torch.tensor([VOCABULARY.index(t.answer) for t in texts]),
            torch.where(masked_BT.any(1), masked_BT.int().argmax(1), -1),
            torch.from_numpy(np.stack([_shown(self.scenes[i]) for i in chosen])),
        )


def _shown(scene: Scene) -> np.ndarray[Any, np.dtype[np.int64]]:
    shown = np.zeros((CELLS * CELLS, len(ATTRIBUTES)), np.int64)
    for thing in scene:
        values = (thing.color, thing.shape, thing.size, thing.filling)
        shown[thing.cell] = [1 + names.index(v) for names, v in zip(ATTRIBUTES, values, strict=True)]
    return shown


class _Pretraining(nn.Module):
    """The backbone with the heads that only pretraining needs."""

    def __init__(self, vilt: ViltModel) -> None:
        super().__init__()
        self.vilt: Any = vilt
        width = vilt.config.hidden_size
        self.answer = nn.Linear(width, len(VOCABULARY))
        self.word = nn.Linear(width, len(VOCABULARY))
        self.shown = nn.Linear(width, sum(1 + len(names) for names in ATTRIBUTES))

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        hidden = embed(self.vilt, batch.ids_BT, batch.pixels_BCHW)
        text_mask_BT = batch.ids_BT == SPECIAL.index("[PAD]")
        mask_BS = F.pad(text_mask_BT, (0, hidden.shape[1] - text_mask_BT.shape[1]))
        mask = torch.zeros(mask_BS.shape).masked_fill_(mask_BS, torch.finfo(torch.float32).min)[:, None, None]
        for index, layer in enumerate(self.vilt.encoder.layer, start=1):
            hidden = layer(hidden, mask)[0]
            if index == HELP_LAYER:
                patches = self.shown(hidden[:, -CELLS * CELLS :])
        hidden = self.vilt.layernorm(hidden)
        asked = batch.masked_B < 0
        words = hidden[~asked, batch.masked_B[~asked]]
        return {
            "question": F.cross_entropy(self.answer(self.vilt.pooler(hidden)[asked]), batch.answers_B[asked]),
            "cloze": F.cross_entropy(self.word(words), batch.answers_B[~asked]),
            "patches": _patch_loss(patches, batch.shown_BNA),
        }


def _patch_loss(logits_BNK: Tensor, shown_BNA: Tensor) -> Tensor:
    sizes = [1 + len(names) for names in ATTRIBUTES]
    parts = torch.split(logits_BNK, sizes, dim=-1)
    losses = [F.cross_entropy(p.flatten(0, 1), shown_BNA[..., a].flatten()) for a, p in enumerate(parts)]
    return torch.stack(losses).sum()


def _optimise(
    model: _Pretraining, pool: _Pool, rng: np.random.Generator, steps: int, progress: Progress | None
) -> dict[str, float]:
    """Returns the losses, each a running mean over about the last hundred steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    mean: dict[str, float] = {}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        losses = model(pool.draw(rng))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        for name, loss in losses.items():
            mean[name] = loss.item() + 0.99 * (mean.get(name, loss.item()) - loss.item())
        if progress is not None and ((step + 1) % 100 == 0 or step + 1 == steps):
            progress(step + 1, steps, dict(mean))
    return mean


def _schedule(step: int, steps: int) -> float:
    """Warm-up, then a cosine down to nothing."""
    warm = min(1.0, (step + 1) / min(WARMUP, max(steps // 10, 1)))
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
