"""One encoder with what is tuned in it: what nothing trained contributes to is computed once per sample.

Shape suffixes: B samples, S tokens, D hidden width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from node.model.adapters import add_adapters
from node.model.example import Example
from node.model.tower import Tokens, Tower, pad

Tensors = Mapping[str, Tensor]


class Stack:
    """`depth`: how many layers stay as they are whatever is trained."""

    def __init__(self, tower: Tower, depth: int, device: torch.device) -> None:
        self.tower = tower
        self.depth = depth
        self.device = device

    @torch.no_grad()
    def prepare(self, examples: Sequence[Example]) -> list[Tensor]:
        """Each sample's tokens [S_i, D] after `depth` layers, in the machine's memory: all that training needs.

        Samples of one size are computed together and none is padded.
        """
        inputs = [self.tower.inputs(example) for example in examples]
        groups: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index, parts in enumerate(inputs):
            groups[tuple(part.shape for part in parts)].append(index)
        found: dict[int, Tensor] = {}
        for members in groups.values():
            rows = zip(*(inputs[i] for i in members), strict=True)
            batch = [torch.stack(parts).to(self.device) for parts in rows]
            hidden_BSD = self.tower.embed(batch)
            for index in range(self.depth):
                hidden_BSD = self.tower.layer(index, hidden_BSD, None)
            found.update(zip(members, hidden_BSD.cpu().unbind(), strict=True))
        return [found[index] for index in range(len(examples))]

    def run(self, samples: Sequence[Tensor], adapter: Tensors | None, prompts: Sequence[Tensor]) -> Tokens:
        """After the last layer, from samples as `prepare` gave them."""
        tokens = pad(samples, self.device)
        for prompt in prompts:
            tokens = _prompted(tokens, prompt)
        mask = _mask(tokens)
        hidden_BSD = tokens.hidden_BSD
        if adapter is not None and self.depth > 0:
            hidden_BSD = add_adapters(hidden_BSD, self.depth - 1, adapter)
        for index in range(self.depth, self.tower.shape.layers):
            hidden_BSD = self.tower.layer(index, hidden_BSD, mask)
            if adapter is not None:
                hidden_BSD = add_adapters(hidden_BSD, index, adapter)
        return Tokens(hidden_BSD, tokens.lengths_B)


def _prompted(tokens: Tokens, prompt_ND: Tensor) -> Tokens:
    """Behind the first token, which some encoders pool from, and before the last, which others do."""
    hidden_BSD = tokens.hidden_BSD
    prompt_BND = prompt_ND.expand(len(hidden_BSD), -1, -1)
    joined = torch.cat([hidden_BSD[:, :1], prompt_BND, hidden_BSD[:, 1:]], dim=1)
    return Tokens(joined, [length + len(prompt_ND) for length in tokens.lengths_B])


def _mask(tokens: Tokens) -> Tensor | None:
    beyond_BS = tokens.beyond_BS
    if beyond_BS is None:
        return None
    mask = torch.zeros(beyond_BS.shape).masked_fill_(beyond_BS, torch.finfo(torch.float32).min)
    return mask[:, None, None, :]
