"""The model of one device: a frozen backbone, and in it what this device trains.

Modules that a device does not hold are simply not there: the backbone is as it was without them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from node.model.backbone import BackboneShape, Encoder, local_folder, model_shape
from node.model.example import Example
from node.model.heads_schema import head_name
from node.model.lora import inject_lora, injected_name
from node.model.mixture import mix, shares
from node.model.mixture_schema import GATE, expert_name
from node.model.parameters import FlatParameters
from node.model.placement import CPU
from node.model.schema import Flat, tensor_views
from node.model.stack import Stack
from node.model.tower import Backbone, Encoded
from node.model.tuning_schema import first_trained_layer, module_name, prompt_tensor
from node.plan import Adapters, EncoderLayers, Lora, ModelSpec, Module, TaskSpec

Prepared = dict[str, Tensor]  # by encoder: a sample's tokens [S, D] below everything that is trained


class Model:
    """Raises ModelError where the backbone cannot be loaded."""

    def __init__(
        self,
        spec: ModelSpec,
        tasks: Sequence[TaskSpec],
        modules: Collection[Module],
        device: torch.device = CPU,
    ) -> None:
        """`modules`: those that this device holds. `device`: where it computes, see placement.py."""
        self.device = device
        self._spec = spec
        self._held = {module.name: module for module in modules}
        shape = model_shape(spec, tasks)
        self._backbone = load_backbone(spec.backbone, shape)
        self._inject_lora(shape.encoders)
        towers = self._backbone.towers
        self._backbone.root.to(device)
        self._stacks = {tower.shape.name: Stack(tower, self._depth(tower.shape), device) for tower in towers}
        self._bound: Mapping[str, FlatParameters] = {}
        self._bases: dict[str, Flat] = {}  # of the layers that are trained: the backbone's own weights

    # -- what is trained in it ----------------------------------------------------------------------------

    def parameters(self, name: str, values_P: Flat, *, trained: bool = True) -> FlatParameters:
        """One module, ready to be bound."""
        module = self._held[name]
        base_P = self._weights(module) if self._is_encoder(name) else None
        return FlatParameters(module, values_P, base_P, trained=trained, device=self.device)

    def bind(self, parameters: Mapping[str, FlatParameters]) -> None:
        """From now on the model computes with these; those that were bound before are forgotten."""
        self._bound = parameters
        for name, one in parameters.items():
            if name.split("/")[0] == "lora":
                for tensor, leaf in one.tensors.items():
                    self._put(injected_name(tensor), leaf)
            elif self._is_encoder(name):
                for tensor, leaf in one.tensors.items():
                    self._put(tensor, leaf)

    def tensors(self, name: str) -> Mapping[str, Tensor] | None:
        """Of a module; None if it is not there."""
        bound = self._bound.get(name)
        return None if bound is None else bound.tensors

    # -- from samples to what heads read ------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], task: TaskSpec) -> list[Prepared]:
        """All that training needs of each sample, so that it is computed only once."""
        parts = {e.name: self._stacks[e.name].prepare(examples) for e in self._used(task)}
        return [{name: tokens[i] for name, tokens in parts.items()} for i in range(len(examples))]

    def encode(self, prepared: Sequence[Prepared], task: TaskSpec) -> Encoded:
        encoded = self._encode(prepared, task)
        gate = self.tensors(GATE)
        if gate is None:
            return encoded
        experts = {i: found for i in self.experts if (found := self.tensors(expert_name(i))) is not None}
        return Encoded(mix(encoded.pooled_BP, gate, experts), encoded.memory)

    @property
    def experts(self) -> list[int]:
        """Those that this device holds."""
        count = self._spec.experts.count if self._spec.experts else 0
        return [index for index in range(count) if expert_name(index) in self._held]

    def expert_shares(self, prepared: Sequence[Prepared], task: TaskSpec) -> Tensor | None:
        """How much each held expert counts for each sample [B, E]; None without a gate."""
        gate = self.tensors(GATE)
        if gate is None or not self.experts:
            return None
        return shares(self._encode(prepared, task).pooled_BP, gate, self.experts)

    def head(self, task: TaskSpec) -> Mapping[str, Tensor]:
        return self._bound[head_name(task.name)].tensors

    def _encode(self, prepared: Sequence[Prepared], task: TaskSpec) -> Encoded:
        tokens = {
            e.name: self._stacks[e.name].run(
                [sample[e.name] for sample in prepared],
                self.tensors(module_name("adapters", e)),
                self._prompts(e, task),
            )
            for e in self._used(task)
        }
        return self._backbone.finish(tokens)

    def _prompts(self, encoder: Encoder, task: TaskSpec) -> list[Tensor]:
        found = []
        for name in (module_name("prompts", encoder), f"prompt/{task.name}"):
            tensors = self.tensors(name)
            if tensors is not None and prompt_tensor(encoder.name) in tensors:
                found.append(tensors[prompt_tensor(encoder.name)])
        return found

    def _used(self, task: TaskSpec) -> list[Encoder]:
        """The encoders that a task's samples have something for."""
        encoders = self._backbone.shape.encoders
        return [e for e in encoders if e.modality is None or e.modality in task.modalities]

    # -- putting it together ------------------------------------------------------------------------------

    def _depth(self, encoder: Encoder) -> int:
        """How many layers nothing that is trained here contributes to."""
        depth = encoder.layers
        for tuning in self._spec.tunings:
            if isinstance(tuning, Adapters) and module_name("adapters", encoder) in self._held:
                depth = min(depth, 1)  # the first adapter stands behind the first layer
            elif isinstance(tuning, EncoderLayers) and module_name("encoder", encoder) in self._held:
                depth = min(depth, first_trained_layer(encoder, tuning))
            elif isinstance(tuning, Lora) and module_name("lora", encoder) in self._held:
                depth = 0
        prompts = any(name.split("/")[0] == "prompt" for name in self._held)
        return 0 if prompts else depth

    def _inject_lora(self, encoders: Sequence[Encoder]) -> None:
        for tuning in self._spec.tunings:
            if isinstance(tuning, Lora):
                adapted = [e for e in encoders if module_name("lora", e) in self._held]
                if adapted:
                    inject_lora(self._backbone.root, adapted, tuning)

    def _is_encoder(self, name: str) -> bool:
        return name.split("/")[0] == "encoder"

    def _weights(self, module: Module) -> Flat:
        """The backbone's own values of the tensors of a module, before anything was bound to it."""
        if module.name not in self._bases:
            base_P = np.empty(module.size, np.float32)
            for name, view in tensor_views(module, base_P):
                owner, leaf = self._owner(name)
                view[...] = getattr(owner, leaf).detach().cpu().numpy()
            self._bases[module.name] = base_P
        return self._bases[module.name]

    def _put(self, name: str, parameter: nn.Parameter) -> None:
        owner, leaf = self._owner(name)
        setattr(owner, leaf, parameter)

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        """Where a weight is; PEFT puts a layer of its own around those that LoRA adapts."""
        path, _, leaf = name.rpartition(".")
        owner = self._backbone.root.get_submodule(path)
        if not hasattr(owner, leaf) or hasattr(owner, "base_layer"):
            owner = owner.get_submodule("base_layer")
        return owner, leaf


def load_backbone(backbone: str, shape: BackboneShape) -> Backbone:
    """Imports only what this kind of backbone needs."""
    where = str(local_folder(backbone) or backbone)
    if len(shape.encoders) == 1:
        from node.model.vilt import ViltBackbone

        return ViltBackbone(where, shape)
    from node.model.clip import ClipBackbone

    return ClipBackbone(where, shape)
