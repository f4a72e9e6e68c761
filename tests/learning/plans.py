"""Plans with nothing but devices below a cloud, as far as learning is concerned."""

from typing import Any

from node.model.schema import module_schemas
from node.plan import Limits, ModelSpec, Node, PartitionSpec, Plan, Role, TaskSpec, TrainingSpec


def builtin(name: str, **fields: Any) -> TaskSpec:
    return TaskSpec.model_validate({"name": name, "source": f"builtin:{name}", **fields})


def plan_of(
    *tasks: TaskSpec,
    devices: int = 1,
    partition: PartitionSpec | None = None,
    training: TrainingSpec | None = None,
    seed: int = 0,
    model: ModelSpec | None = None,
) -> Plan:
    model = model or ModelSpec()
    nodes = [Node(id="cloud", role=Role.CLOUD, tier="cloud")]
    nodes += [Node(id=f"d{i}", role=Role.DEVICE, tier="device", parent="cloud") for i in range(devices)]
    return Plan(
        run_id="test",
        scenario="test",
        method="star",
        channel="published",
        seed=seed,
        rounds=1,
        nodes=tuple(nodes),
        links=(),
        modules=module_schemas(model, tasks),
        model=model,
        tasks=tasks,
        partition=partition or PartitionSpec(kind="iid"),
        training=training or TrainingSpec(),
        limits=Limits(),
    )
