"""Local training of a device against a plain loop of PyTorch on the same model, samples and batches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from node.learning.learner import Learner
from node.learning.partition import deal_task
from node.learning.sources import open_corpus
from node.model.adapters import attach_adapters
from node.model.backbone import local_folder
from node.plan import Plan
from node.randomness import generator
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from tests.benchmarks.contest import contest, table
from tests.benchmarks.vilt_b32 import make_folder

DEVICE = "device-0"
SCENARIO = """
name: training
seed: 1
methods: [star]
topology: {{kind: tree, tiers: [cloud], fanout: [2]}}
channel: {{model: table, links: [{{from: "*", to: "*", rate_bps: 1e9, power_w: 1}}]}}
tasks: [{{name: art, source: builtin:art, answers: 10, samples_per_answer: {samples}}}]
partition: {{kind: iid}}
model: {{backbone: "{backbone}"}}
training: {{batch_size: 8}}
"""


def section(turns: int, say: Callable[[str], None]) -> str:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "vilt-b32")
        for name, backbone, samples in (
            ("builtin:tiny-vilt", "builtin:tiny-vilt", 100),
            ("ViLT-B/32", folder + "/vilt-b32", 8),
        ):
            plan = _plan(Path(folder), backbone, samples)
            ours, plain = _ours(plan), _plain(plan)
            outcome = contest({"hffm": ours, "plain loop": plain}, turns, say)
            each = (f"{outcome.typical(who, 'steps_per_s'):.1f}" for who in ("hffm", "plain loop"))
            rows.append([name, *each, outcome.ratio("hffm", "plain loop", "steps_per_s")])
    about = (
        "Adapters and a head, AdamW, batches of 8, one epoch, one thread, fp32. The plain loop has its images and "
        "words prepared in memory as tensors; both are given the same samples in the same order."
    )
    head = ["backbone", "hffm steps/s", "plain loop steps/s", "hffm over plain"]
    return "\n\n".join(["## Local training", about, table(head, rows)])


def _plan(folder: Path, backbone: str, samples: int) -> Plan:
    scenario = folder / "training.yaml"
    scenario.write_text(SCENARIO.format(backbone=backbone, samples=samples))
    return resolve(load_scenario(scenario), "star")


def _ours(plan: Plan) -> Callable[[], Mapping[str, float]]:
    learner = Learner(plan, plan.devices[0].id)
    modules = {m.name: _initial(m) for m in plan.modules}
    steps = -(-sum(learner.train_samples.values()) // plan.training.batch_size)

    def run() -> Mapping[str, float]:
        began = time.perf_counter()
        learner.train(modules, 0)
        return {"steps_per_s": steps / (time.perf_counter() - began)}

    return run


def _initial(module: Any) -> np.ndarray:
    parts = [
        generator(0, module.name, t.name).normal(0, t.init_std, t.size) if t.init_std else np.zeros(t.size)
        for t in module.tensors
    ]
    return np.concatenate(parts).astype(np.float32)


def _plain(plan: Plan) -> Callable[[], Mapping[str, float]]:
    """As one would write it: transformers' model, adapters by hooks, a linear head, AdamW over the parameters."""
    from transformers import ViltModel, ViltProcessor

    where = str(local_folder(plan.model.backbone) or plan.model.backbone)
    load: Any = ViltModel
    vilt = load.from_pretrained(where).eval()
    vilt.requires_grad_(False)
    bottleneck = plan.module("adapter")
    assert bottleneck is not None
    width = vilt.config.hidden_size
    narrow = next(t.shape[0] for t in bottleneck.tensors if t.name.endswith("down.weight"))
    attach_adapters(vilt, narrow)
    task = plan.tasks[0]
    corpus = open_corpus(task, plan.seed)
    mine = deal_task(plan, task, corpus.labels_N).train[0]
    make: Any = ViltProcessor
    processor = make.from_pretrained(where)
    examples = [corpus.example(int(i)) for i in mine]
    inputs = [processor(images=e.image, text=e.text, return_tensors="pt") for e in examples]
    head = nn.Linear(width, len(corpus.answers))
    trained = [p for p in vilt.parameters() if p.requires_grad] + list(head.parameters())
    labels_N = torch.from_numpy(np.asarray(corpus.labels_N[mine]))
    size = plan.training.batch_size

    def run() -> Mapping[str, float]:
        optimizer = torch.optim.AdamW(trained, lr=plan.training.learning_rate)
        order = (
            generator(plan.seed, plan.devices[0].id, 0, "batches", task.name).permutation(len(mine)).tolist()
        )
        began = time.perf_counter()
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            loss = nn.functional.cross_entropy(head(_pooled(vilt, inputs, batch)), labels_N[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"steps_per_s": -(-len(order) // size) / (time.perf_counter() - began)}

    return run


def _pooled(vilt: Any, inputs: list[Any], batch: list[int]) -> torch.Tensor:
    """Texts of different lengths are padded, as the processor does for a batch."""
    words = [inputs[i]["input_ids"][0] for i in batch]
    ids = nn.utils.rnn.pad_sequence(words, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(w) for w in words], batch_first=True)
    pixels = torch.cat([inputs[i]["pixel_values"] for i in batch])
    found: torch.Tensor = vilt(input_ids=ids, attention_mask=mask, pixel_values=pixels).pooler_output
    return found


if __name__ == "__main__":
    print(section(3, print))
