"""What the children of an aggregator push: updates of the round that is open, snapshots that were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from hffm.v1.payload_pb2 import PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest

from node.aggregation import Apart, Collection, Drift, Update, collection_for
from node.errors import BusyError, PayloadLate, PayloadRefused
from node.payload import Payload, Values
from node.plan import Circulation, Module
from node.roles.admission import check_manifest
from node.roles.held import Held
from node.roles.member import Member
from node.roles.regrouping import Regrouping
from node.waiting import Change
from node.wire.family import Family
from node.wire.landing import Key, Partial, key_of
from node.wire.transfer import Outgoing


class Submissions:
    """The `Receiver` of one aggregator: checks, refuses, and adds up."""

    def __init__(self, member: Member, family: Family) -> None:
        self._member = member
        self._family = family
        self._plan = member.plan
        self._me = member.node.id
        self._tier = member.node.tier
        self._log = member.log
        self.regrouping: Regrouping | None = None  # of the cluster below, if there is one
        self.sums: dict[str, Collection] = {}  # of the round that is open, or was last
        self._drifts: dict[str, Drift] = {}  # of modules whose result is the weighted mean
        self.arrived = Change()
        self._open_round: int | None = None  # whose updates are taken now
        self._taken: set[Key] = set()
        self._asked_round: int | None = None  # whose snapshots are taken now
        self._snapshots: dict[Key, Outgoing] = {}

    @property
    def circulation(self) -> Circulation:
        return self._member.circulation

    @property
    def held(self) -> dict[str, Held]:
        return self._member.held

    # -- what the aggregator says -------------------------------------------------------------------------

    def restore(self, taken: Iterable[Key]) -> None:
        self._taken = set(taken)

    def kept(self) -> tuple[Key, ...]:
        """Updates that are in the modules: pushed again, they are not counted again."""
        return tuple(sorted(self._taken))

    def open(self, round_index: int) -> None:
        self.forget()
        self._open_round = round_index
        self._taken = {key for key in self._taken if key.round >= self._member.finished}

    def close(self) -> None:
        self._open_round = None

    def forget(self) -> None:
        """What has come, when it is combined or given up."""
        self.sums, self._drifts = {}, {}

    def drift(self, module: str, mean: Values) -> Apart | None:
        """How far the updates are from their mean; None where another rule has combined them."""
        drift = self._drifts.get(module)
        return drift.around(mean) if drift is not None else None

    def ask_for_snapshots(self, round_index: int) -> None:
        self._asked_round, self._snapshots = round_index, {}

    def snapshots(self) -> list[Outgoing]:
        """Those that came; no more are taken."""
        found, self._asked_round, self._snapshots = list(self._snapshots.values()), None, {}
        return found

    # -- payloads in --------------------------------------------------------------------------------------

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if peer not in self._family.children:
            raise PayloadRefused(f"'{peer}' is no child of '{self._me}' in the plan")
        if manifest.purpose == PURPOSE_SNAPSHOT:
            return self._admit_snapshot(manifest, peer)
        if manifest.purpose != PURPOSE_UPDATE:
            raise PayloadRefused(f"'{peer}' may push updates and snapshots here, nothing else")
        if manifest.sender != peer:
            raise PayloadRefused(f"'{peer}' may not push as '{manifest.sender}'")
        if manifest.attempt or manifest.step:
            raise PayloadRefused("attempts and iterations are of exchanges among devices: leave them 0")
        module = check_manifest(self._plan, manifest, self._entitled(peer, manifest.round))
        self._check_weight(manifest, peer)
        if not manifest.size_bytes:
            raise PayloadRefused(f"module '{module.name}': an empty update: send none instead")
        if key_of(manifest) in self._taken:
            return module
        if manifest.round != self._open_round:
            self._refuse_out_of_turn(manifest, peer)
        if not self.circulation.due(module, self._tier, manifest.round):
            raise PayloadRefused(f"module '{module.name}' is not averaged here in round {manifest.round}")
        return module

    def _refuse_out_of_turn(self, manifest: Manifest, peer: str) -> NoReturn:
        now = "no round is open" if self._open_round is None else f"round {self._open_round} is open"
        what = f"update of round {manifest.round} from '{peer}'"
        if manifest.round > max(self._member.finished, self._open_round or -1):
            raise BusyError(f"{what} is early: {now}")
        why = f"{what} is late: {now}"
        self._log.emit("discarded", round=manifest.round, child=peer, module=manifest.module, reason=why)
        raise PayloadLate(why)

    def land(self, manifest: Manifest, module: Module, peer: str) -> Partial:
        return Partial(manifest, module)

    def _admit_snapshot(self, manifest: Manifest, peer: str) -> Module:
        if self._asked_round is None:
            raise PayloadLate(f"'{peer}' sends a snapshot that was not asked for")
        if manifest.attempt or manifest.step or manifest.round != self._asked_round:
            raise PayloadRefused(f"the snapshot asked for is that of round {self._asked_round}")
        below = self._plan.subtree(peer)
        if manifest.sender not in below:
            raise PayloadRefused(f"'{manifest.sender}' is not below '{peer}'")
        return check_manifest(self._plan, manifest, [d.id for d in self._plan.devices])

    def _entitled(self, peer: str, round_index: int) -> list[str]:
        """Devices whose training may be in an update that this child pushes."""
        if self.regrouping is not None:
            cluster = self.regrouping.at(round_index)
            if cluster.head == peer:
                return cluster.members
        return self._plan.subtree(peer)

    def exclude(self, peer: str, reason: str) -> None:
        self._family.exclude(peer, reason)

    def _check_weight(self, manifest: Manifest, peer: str) -> None:
        """Against the samples that the child has declared; a head speaks for others, a consensus comes near."""
        child = self._family.children[peer]
        speaks_for_others = self._entitled(peer, manifest.round) != self._plan.subtree(peer)
        if speaks_for_others or not child.ready or any(c.gossip is not None for c in self._plan.clusters):
            return
        if manifest.weight > (most := child.samples.get(manifest.module, 0)):
            raise PayloadRefused(
                f"module '{manifest.module}': weight {manifest.weight:g}, and '{peer}' has declared {most} samples"
            )

    def taken(self, key: Key) -> bool:
        return key in self._taken or key in self._snapshots

    def has_from(self, module: str, devices: Iterable[str]) -> bool:
        """Whether the training of one of these is in the sum of the round that is open."""
        return module in self.sums and self.sums[module].has_any(devices)

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        if manifest.purpose == PURPOSE_SNAPSHOT:
            payload = Payload(self._member.modules[manifest.module], values)
            self._snapshots[key_of(manifest)] = Outgoing(manifest, payload)
            return
        if manifest.round != self._open_round:
            self._refuse_out_of_turn(manifest, peer)
        if manifest.module not in self.sums:
            self._begin(self._member.modules[manifest.module])
        total = self.sums[manifest.module]
        if self._is_repeated(manifest, total):
            what = (
                f"round {manifest.round}: module '{manifest.module}' had come from the head before '{peer}'"
            )
            self._log.emit("warning", message=f"{what}, and counts once")
        else:
            update = Update(values, manifest.weight, tuple(manifest.contributors))
            total.add(update)
            if (drift := self._drifts.get(manifest.module)) is not None:
                drift.add(update)
        self._taken.add(key_of(manifest))
        self.arrived.happened()

    def _is_repeated(self, manifest: Manifest, total: Collection) -> bool:
        """Whether a head that was lost meanwhile had delivered this module before it died."""
        regrouped = self.regrouping is not None and self.regrouping.attempt > 0
        return regrouped and total.has_any(manifest.contributors)

    def _begin(self, module: Module) -> None:
        before = self.held[module.name].values
        self.sums[module.name] = collection_for(module, self._tier, before, len(self._family.children))
        if module.rule_at(self._tier) == "mean":
            self._drifts[module.name] = Drift(before)

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        return self._member.offer(module, sha256, peer)
