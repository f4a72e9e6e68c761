"""Pretrains a built-in backbone: minutes on one core, done once; the result ships with the package."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save
from torch import nn

from node.errors import ModelError
from node.learning.pretrain_clip import ClipPretraining
from node.learning.pretrain_vilt import ViltPretraining
from node.learning.scene_pool import SCENES, ScenePool
from node.model.backbone import BUILTIN, BUILTIN_CLIP
from node.randomness import generator, seed_of

Progress = Callable[[int, int, dict[str, float]], None]  # step, steps, losses
Pretraining = ViltPretraining | ClipPretraining

LEARNING_RATE = 1e-3
WARMUP = 200
CLIP = 1.0
KINDS: dict[str, type[Pretraining]] = {BUILTIN: ViltPretraining, BUILTIN_CLIP: ClipPretraining}


def pretrain(
    out_dir: Path,
    seed: int = 0,
    steps: int = 5200,
    progress: Progress | None = None,
    backbone: str = BUILTIN,
) -> dict[str, Any]:
    """Writes weights, config, tokenizer, image processor and recipe.json to `out_dir`; returns the recipe."""
    if backbone not in KINDS:
        raise ModelError(f"--backbone: '{backbone}' is not built in; there are {' and '.join(KINDS)}")
    torch.set_num_threads(1)
    torch.manual_seed(seed_of(seed, "pretrain", "init") % 2**63)
    model = KINDS[backbone]()
    losses = _optimise(
        model, ScenePool(seed, SCENES), generator(seed, "pretrain", "batches"), steps, progress
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    weights = _save(model.backbone, out_dir)
    model.save_processor(out_dir)
    recipe = {
        "command": f"hffm pretrain --seed {seed} --steps {steps}"
        + ("" if backbone == BUILTIN else f" --backbone {backbone}"),
        "seed": seed,
        "steps": steps,
        "optimizer": f"AdamW {LEARNING_RATE}, warm-up {WARMUP} steps, cosine, gradient norm at most {CLIP}",
        "scenes": SCENES,
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


def _save(model: Any, folder: Path) -> bytes:
    """As save_pretrained does, but without its progress bar, and readable by all. Returns the weights' file."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    file = save(weights, metadata={"format": "pt"})
    fresh = folder / "model.safetensors.new"
    fresh.write_bytes(file)
    fresh.replace(folder / "model.safetensors")  # nodes that run have the old file mapped and keep it
    return file


def _optimise(
    model: Pretraining, pool: ScenePool, rng: np.random.Generator, steps: int, progress: Progress | None
) -> dict[str, float]:
    """Returns the losses, each a running mean over about the last hundred steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    mean: dict[str, float] = {}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        losses = model(model.draw(pool, rng))
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
