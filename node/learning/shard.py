"""One task's samples on one device, ready for the backbone."""

from __future__ import annotations

from torch import Tensor

from node.learning.corpus import Corpus, Labels
from node.learning.partition import Indices
from node.model.frozen import FrozenVilt

CACHE_BYTES = 256 * 2**20  # kept ready per shard; what is beyond is prepared whenever it is needed
CHUNK = 64  # samples prepared at once


class Shard:
    """Samples by their place in the shard, prepared once and kept as far as memory allows."""

    def __init__(self, corpus: Corpus, indices_N: Indices, frozen: FrozenVilt) -> None:
        self.labels_N: Labels = corpus.labels_N[indices_N]
        self._corpus = corpus
        self._indices_N = indices_N
        self._frozen = frozen
        self._kept: dict[int, Tensor] = {}
        self._room = CACHE_BYTES
        for start in range(0, len(indices_N), CHUNK):
            if self._room <= 0:
                break
            self.tokens(list(range(start, min(start + CHUNK, len(indices_N)))))

    def __len__(self) -> int:
        return len(self.labels_N)

    def tokens(self, places: list[int]) -> list[Tensor]:
        """Each sample's tokens [S_i, D] after the first layer."""
        missing = [place for place in places if place not in self._kept]
        examples = [self._corpus.example(int(self._indices_N[place])) for place in missing]
        made = (
            self._frozen.prepare([e.question for e in examples], [e.image for e in examples])
            if missing
            else []
        )
        fresh = dict(zip(missing, made, strict=True))
        for place, tokens in fresh.items():
            if self._room > 0:
                self._kept[place] = tokens.clone()  # of its own, so that its batch is not kept alive
                self._room -= tokens.nbytes
        return [fresh[place] if place in fresh else self._kept[place] for place in places]
