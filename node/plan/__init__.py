"""The plan: what a scenario resolves to, and the one file that every node reads.

Tiers are named; "device" is the lowest. With device-to-device links the tier "cluster" stands for the head
of each cluster, between the devices and their parent. Rounds count from 0.
"""

from node.plan.circulation import Circulation, CirculationChange
from node.plan.cluster import Cluster, Gossip, Turn
from node.plan.limits import Limits
from node.plan.modules import CLUSTER_TIER, Module, Precision, Relay, Tensor
from node.plan.network import Link, LinkKind, Move, Node, Role
from node.plan.policy import Policy
from node.plan.reading import load_plan
from node.plan.robust import Robust, RobustRule
from node.plan.tasks import MODALITIES, SOURCES, Modality, TaskSpec
from node.plan.tuning import Adapters, EncoderLayers, Experts, Lora, Prompts, Tuning
from node.plan.whole import PLAN_FORMAT, Plan, dump_plan
from node.plan.work import ModelSpec, PartitionSpec, TrainingSpec

__all__ = [
    "CLUSTER_TIER",
    "MODALITIES",
    "PLAN_FORMAT",
    "SOURCES",
    "Adapters",
    "Circulation",
    "CirculationChange",
    "Cluster",
    "EncoderLayers",
    "Experts",
    "Gossip",
    "Limits",
    "Link",
    "LinkKind",
    "Lora",
    "Modality",
    "ModelSpec",
    "Module",
    "Move",
    "Node",
    "PartitionSpec",
    "Plan",
    "Policy",
    "Precision",
    "Prompts",
    "Relay",
    "Robust",
    "RobustRule",
    "Role",
    "TaskSpec",
    "Tensor",
    "TrainingSpec",
    "Tuning",
    "Turn",
    "dump_plan",
    "load_plan",
]
