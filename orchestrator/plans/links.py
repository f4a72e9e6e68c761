"""The links of a method: what the channel model gives, and the scenario's rules on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from deploy.links.profiles import profile, profile_names
from node.plan import Link, LinkKind
from node.routing import Pair
from orchestrator.plans.channel import MODELS, ChannelModel, Radio, noise_w_per_hz, path_gain, rate_bps
from orchestrator.plans.link_table import read_link_table
from orchestrator.plans.propagation import fading_gain, proportional_shares, shadowing_gain, with_share
from orchestrator.plans.scenario import ChannelSpec, LinkRule, Scenario
from orchestrator.plans.topology import DEVICE_TIER, Network

_RADIO_KEYS = ("fading", "rician_k_db", "fading_rounds", "shadowing_db", "shadowing_rounds", "spectrum")
_RULE_FIELDS = ("rate_bps", "delay_s", "jitter_s", "loss", "power_w", "receive_w")


@dataclass(frozen=True)
class Links:
    """Prices any link of a network under one channel model."""

    scenario: Scenario
    network: Network
    channel: str
    model: ChannelModel | None  # None: rates come from the rules alone
    rules: tuple[LinkRule, ...]
    round: int = 0
    # Aggregator -> the devices that send to it at once; None: all of its devices.
    sending: Mapping[str, frozenset[str]] | None = None

    def at(self, round_index: int) -> Links:
        """As they are in this round."""
        return replace(self, round=round_index)

    def cuts(self, rounds: int) -> list[int]:
        """Of so many rounds, those other than the first at which a link may change."""
        found = {rule.from_round for rule in self.rules}
        for every in (self._own.fading_rounds, self._own.shadowing_rounds):
            found |= set(range(0, rounds, every)) if every else set()
        return sorted(r for r in found if 0 < r < rounds)

    def link(self, src: str, dst: str, kind: LinkKind) -> Link | None:
        """None where neither the model nor a rule gives it a rate."""
        found: dict[str, Any] = self._modelled(src, dst, kind)
        for rule in self.rules:
            if rule.from_round <= self.round and self._matches(rule, src, dst):
                if rule.profile is not None:
                    found |= dict(profile(rule.profile).direction(self._upwards(src, dst)))
                found |= {k: v for k in _RULE_FIELDS if (v := getattr(rule, k)) is not None}
        return Link(src=src, dst=dst, kind=kind, **found) if "rate_bps" in found else None

    def needed(self, src: str, dst: str, kind: LinkKind) -> Link:
        link = self.link(src, dst, kind)
        if link is None:
            tiers = f"{{from: {self.network.places[src].tier}, to: {self.network.places[dst].tier}, rate_bps: ...}}"
            why = f"no rate for the {kind.value} {src} -> {dst}; add {tiers}"
            raise self.scenario.error("channel.links", why)
        return link

    def both(self, child: str, parent: str, up: LinkKind, down: LinkKind) -> list[Link]:
        """The way up, and the way down where it is modelled."""
        back = self.link(parent, child, down)
        return [self.needed(child, parent, up)] + ([back] if back else [])

    def _modelled(self, src: str, dst: str, kind: LinkKind) -> dict[str, Any]:
        if self.model is None:
            return {}
        root = self.network.aggregators[0].id
        if root in (src, dst):
            wire = self.model.to_root if dst == root else self.model.from_root
            return vars(wire) if wire else {}
        radio = self.model.radios.get(kind)
        if radio is None:
            return {}
        metres, fading = self.network.distance_m(src, dst), self._drawn(src, dst)
        if metres is None or fading is None:
            return {}
        if self._own.spectrum != "own" and kind is not LinkKind.D2D:
            radio = with_share(radio, kind, self._share(radio, kind, src, dst))
        rate = rate_bps(self.model, radio, metres, self._gain(src, dst, fading))
        drawn = {"power_w": radio.power_w, "receive_w": radio.receive_w}
        return {"rate_bps": rate, "delay_s": radio.delay_s, **drawn}

    def _drawn(self, a: str, b: str) -> float | None:
        """The channel is reciprocal: what fades on the way up fades on the way down."""
        return self.network.fading.get((a, b), self.network.fading.get((b, a)))

    def _share(self, radio: Radio, kind: LinkKind, src: str, dst: str) -> float:
        """Of the server's bandwidth, among all devices that send to it at once, or fetch from it."""
        device, server = (src, dst) if kind is LinkKind.UPLINK else (dst, src)
        active = set(self.network.members(server))
        if kind is LinkKind.UPLINK and self.sending is not None:
            active = {device, *self.sending.get(server, ())}
        if kind is LinkKind.DOWNLINK or self._own.spectrum == "equal":
            return 1 / len(active)
        devices = sorted(active)
        snr_hz = tuple(self._snr_hz(radio, d, server) for d in devices)
        return proportional_shares(snr_hz, radio.bandwidth_hz)[devices.index(device)]

    def _snr_hz(self, radio: Radio, device: str, server: str) -> float:
        metres, drawn = self.network.distance_m(device, server), self._drawn(device, server)
        assert self.model is not None and metres is not None and drawn is not None  # noqa: PT018
        gain = path_gain(self.model, metres, self._gain(device, server, drawn))
        return radio.transmit_w * gain / noise_w_per_hz(self.model)

    @property
    def _own(self) -> ChannelSpec:
        """What the scenario says of propagation and spectrum under its own channel model."""
        own = self.scenario.channel
        return own if own.model == self.channel else ChannelSpec()

    def _gain(self, src: str, dst: str, drawn: float) -> float:
        """Power gain beside path loss, in this round."""
        spec, seed = self._own, self.scenario.seed
        block = self.round // spec.shadowing_rounds if spec.shadowing_rounds else 0
        shadowing = shadowing_gain(seed, src, dst, spec.shadowing_db, block)
        if spec.fading == "drawn":
            return drawn * shadowing
        block = self.round // spec.fading_rounds if spec.fading_rounds else 0
        return shadowing * fading_gain(seed, src, dst, spec.fading, spec.rician_k_db, block)

    def _upwards(self, src: str, dst: str) -> bool:
        """Whether the sender is the one that has the radio of a device: also of two devices, the one that sends."""
        root = self.network.aggregators[0].id
        return dst == root or self.network.places[dst].parent != src != root

    def _matches(self, rule: LinkRule, src: str, dst: str) -> bool:
        there = self._is(rule.from_, src) and self._is(rule.to, dst)
        return there or (rule.both and self._is(rule.from_, dst) and self._is(rule.to, src))

    def _is(self, pattern: str, node: str) -> bool:
        return pattern == self.network.places[node].tier or fnmatchcase(node, pattern)


def links_under(scenario: Scenario, network: Network, channel: str) -> Links:
    """Raises ScenarioError for a channel model that this topology cannot have."""
    spec = scenario.channel
    rules = (*read_link_table(scenario), *spec.links) if channel == spec.model else ()
    found = Links(scenario, network, channel, _adjusted(scenario, channel), rules)
    if channel != "table" and not network.fading:
        why = f"'{channel}' needs places, which only kind: drawn has; write model: table and channel.links"
        raise scenario.error("channel.model", why)
    radio_keys = set(_RADIO_KEYS) & spec.model_fields_set
    if spec.model == "table" and radio_keys:
        key = min(radio_keys)
        raise scenario.error(f"channel.{key}", "a table has no radio; use model: physical, or remove the key")
    if spec.fading_rounds and spec.fading in ("drawn", "none"):
        why = f"fading: {spec.fading} is the same in all rounds; write fading: rayleigh or rician"
        raise scenario.error("channel.fading_rounds", why)
    for i, rule in enumerate(rules, len(spec.links) - len(rules)):  # negative: of the table
        key = "channel.table" if i < 0 else f"channel.links[{i}]"
        for end, pattern in (("from", rule.from_), ("to", rule.to)):
            if not any(found._is(pattern, node) for node in network.places):
                tiers = ", ".join((DEVICE_TIER, *reversed(network.tiers)))
                why = f"'{pattern}' is neither a tier ({tiers}) nor a node; correct it"
                raise scenario.error(key if i < 0 else f"{key}.{end}", why)
        if rule.profile is not None and rule.profile not in profile_names():
            why = f"no profile '{rule.profile}'; there are {', '.join(profile_names())}"
            raise scenario.error(f"{key}.profile", why)
    return found


def _adjusted(scenario: Scenario, channel: str) -> ChannelModel | None:
    """The channel model with the scenario's own constants in it."""
    model, spec = MODELS.get(channel), scenario.channel
    if model is None or spec.model != channel:
        return model
    radios = dict(model.radios)
    for kind, own in (
        (LinkKind.UPLINK, spec.uplink),
        (LinkKind.DOWNLINK, spec.downlink),
        (LinkKind.D2D, spec.d2d),
    ):
        if kind in radios:
            radios[kind] = replace(radios[kind], **own.model_dump(exclude_none=True))
    return replace(model, radios=radios)


def channels_of(scenario: Scenario, network: Network) -> list[str]:
    """The channel models under which this topology can be priced."""
    found = [scenario.channel.model, *(MODELS if network.fading else ())]
    return sorted(set(found), key=["published", "physical", "table"].index)


def seconds_of(links: Iterable[Link], payload_bytes: float) -> dict[Pair, float]:
    """What a payload takes on each link, for routing."""
    return {(link.src, link.dst): link.seconds(payload_bytes) for link in links}
