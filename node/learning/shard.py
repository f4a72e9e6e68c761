"""One task's samples on one device, ready for the backbone."""

from __future__ import annotations

from node.learning.corpus import Corpus, Labels
from node.learning.partition import Indices
from node.model.model import Model, Prepared
from node.plan import TaskSpec

CACHE_BYTES = 256 * 2**20  # kept ready per shard; what is beyond is prepared whenever it is needed
CHUNK = 64  # samples prepared at once


class Shard:
    """Samples by their place in the shard, prepared once and kept as far as memory allows."""

    def __init__(self, corpus: Corpus, indices_N: Indices, model: Model, task: TaskSpec) -> None:
        self.labels_N: Labels = corpus.labels_N[indices_N]
        self._corpus = corpus
        self._indices_N = indices_N
        self._model = model
        self._task = task
        self._kept: dict[int, Prepared] = {}
        self._room = CACHE_BYTES
        for start in range(0, len(indices_N), CHUNK):
            if self._room <= 0:
                break
            self.prepared(list(range(start, min(start + CHUNK, len(indices_N)))))

    def __len__(self) -> int:
        return len(self.labels_N)

    def prepared(self, places: list[int]) -> list[Prepared]:
        missing = [place for place in places if place not in self._kept]
        examples = [self._corpus.example(int(self._indices_N[place])) for place in missing]
        made = self._model.prepare(examples, self._task) if missing else []
        fresh = dict(zip(missing, made, strict=True))
        for place, sample in fresh.items():
            if self._room > 0:
                # Tensors of its own, so that its batch is not kept alive.
                self._kept[place] = {name: tokens.clone() for name, tokens in sample.items()}
                self._room -= sum(tokens.nbytes for tokens in sample.values())
        return [fresh[place] if place in fresh else self._kept[place] for place in places]
