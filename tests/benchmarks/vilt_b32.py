"""A folder with a ViLT-B/32 of random weights, 447 MB, as save_pretrained makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE, PATCH, WORDS = 384, 32, 40


def make_folder(folder: Path) -> None:
    import torch
    from transformers import BertTokenizer, ViltConfig, ViltModel

    from node.model.backbone import local_folder
    from node.model.processing import save_vilt_processor

    torch.manual_seed(0)
    make: Any = ViltModel
    make(ViltConfig()).save_pretrained(folder)
    words: Any = BertTokenizer.from_pretrained(str(local_folder("builtin:tiny-vilt")))
    by_number = sorted(words.get_vocab(), key=words.get_vocab().__getitem__)
    save_vilt_processor(folder, by_number, WORDS, side=SIDE, patch=PATCH)
