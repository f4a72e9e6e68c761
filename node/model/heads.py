"""Heads: choosing an answer, or generating it word by word.

Shape suffixes: B samples, A answers, L words of a text and one more, V words and one more, S tokens looked at,
w width of the decoder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from node.model.heads_schema import LONGEST_TEXT
from node.model.tower import Encoded
from node.plan import TaskSpec

Tensors = Mapping[str, Tensor]
_NONE = -100  # a place behind the end of a text, which F.cross_entropy leaves out


class Head(Protocol):
    def loss(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        """Mean over the samples; `labels_B` are places of the right answers."""

    def right(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        """[B]: which samples are answered right, to the letter."""


def make_head(task: TaskSpec, answers: Sequence[str]) -> Head:
    words = task.vocabulary_size
    return Choosing() if words is None else Generating(answers, words)


class Choosing:
    """One linear layer."""

    def loss(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        return F.cross_entropy(self._logits(encoded, tensors), labels_B)

    def right(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        return self._logits(encoded, tensors).argmax(1) == labels_B

    def _logits(self, encoded: Encoded, tensors: Tensors) -> Tensor:
        return F.linear(encoded.pooled_BP, tensors["weight"], tensors["bias"])


class Generating:
    """One layer of a transformer decoder that looks at the encoders' tokens and at what is pooled of them.

    Its words are the `words` most frequent of the answers (of equally frequent ones, by name); others are left out.
    """

    def __init__(self, answers: Sequence[str], words: int) -> None:
        counts = Counter(word for answer in answers for word in answer.split())
        chosen = sorted(counts, key=lambda word: (-counts[word], word))[:words]
        ids = {word: index for index, word in enumerate(sorted(chosen))}
        self._mark = words  # begins and ends a text
        self._texts_AL = torch.full((len(answers), LONGEST_TEXT + 1), _NONE)
        for row, answer in enumerate(answers):
            spelled = [ids[word] for word in answer.split() if word in ids][:LONGEST_TEXT]
            self._texts_AL[row, : len(spelled) + 1] = torch.tensor([*spelled, self._mark])
        self._longest = int((self._texts_AL != _NONE).sum(1).max())

    def loss(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        wanted_BL = self._texts(labels_B)
        given_BL = F.pad(wanted_BL[:, :-1], (1, 0), value=self._mark)
        given_BL = given_BL.masked_fill(given_BL == _NONE, self._mark)
        logits_BLV = self._logits(encoded, given_BL, tensors)
        return F.cross_entropy(logits_BLV.flatten(0, 1), wanted_BL.flatten(), ignore_index=_NONE)

    def right(self, encoded: Encoded, labels_B: Tensor, tensors: Tensors) -> Tensor:
        wanted_BL = self._texts(labels_B)
        made_BL = self._generate(encoded, tensors)
        return ((made_BL == wanted_BL) | (wanted_BL == _NONE)).all(1)

    def _texts(self, labels_B: Tensor) -> Tensor:
        return self._texts_AL.to(labels_B.device)[labels_B, : self._longest]

    def _generate(self, encoded: Encoded, tensors: Tensors) -> Tensor:
        """The likeliest word after the other."""
        given_BL = torch.full((len(encoded.pooled_BP), 1), self._mark)
        for _ in range(self._longest):
            next_B = self._logits(encoded, given_BL, tensors)[:, -1].argmax(-1)
            given_BL = torch.cat([given_BL, next_B[:, None]], dim=1)
        return given_BL[:, 1:]

    def _logits(self, encoded: Encoded, given_BL: Tensor, tensors: Tensors) -> Tensor:
        """[B, L, V], for the words that follow each of those given."""
        length = given_BL.shape[1]
        x_BLw = tensors["word"][given_BL] + tensors["place"][:length]
        later_LL = torch.ones(length, length, dtype=torch.bool).triu(1)
        normal = _normal(x_BLw)
        keys, values = (F.linear(normal, tensors[f"self.{part}"]) for part in ("key", "value"))
        x_BLw = x_BLw + _attend(normal, keys, values, later_LL, tensors, "self")
        keys, values, beyond = _memory(encoded, tensors)
        x_BLw = x_BLw + _attend(_normal(x_BLw), keys, values, beyond, tensors, "cross")
        inner = F.relu(F.linear(_normal(x_BLw), tensors["forward.up"]))
        x_BLw = x_BLw + F.linear(inner, tensors["forward.down"])
        return F.linear(_normal(x_BLw), tensors["word"], tensors["bias"])


def _normal(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _attend(
    x_BLw: Tensor, keys_BSw: Tensor, values_BSw: Tensor, hidden: Tensor, tensors: Tensors, name: str
) -> Tensor:
    """`hidden`: what is not looked at, [L, S] or [B, 1, S]."""
    queries = F.linear(x_BLw, tensors[f"{name}.query"])
    seen = F.scaled_dot_product_attention(queries, keys_BSw, values_BSw, attn_mask=~hidden)
    return F.linear(seen, tensors[f"{name}.out"])


def _memory(encoded: Encoded, tensors: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values [B, S, w] and where there is only padding [B, 1, S]."""
    parts: list[tuple[str, Tensor, Tensor | None]] = [("pooled", encoded.pooled_BP[:, None], None)]
    parts += [(name, tokens.hidden_BSD, tokens.beyond_BS) for name, tokens in encoded.memory.items()]
    found = []
    for kind in ("key", "value"):
        found.append(
            torch.cat([F.linear(x, tensors[f"memory.{name}.{kind}"]) for name, x, _ in parts], dim=1)
        )
    masks = [torch.zeros(x.shape[:2], dtype=torch.bool) if m is None else m for _, x, m in parts]
    return found[0], found[1], torch.cat(masks, dim=1)[:, None]
