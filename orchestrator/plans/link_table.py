"""Link tables: files of rules for links, such as those that were measured on a real network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from node.errors import RunFolderError
from node.plan import Plan
from orchestrator.plans.scenario import LinkRule, Scenario
from orchestrator.plans.yaml12 import YamlError, parse
from orchestrator.record.events import Transfer
from orchestrator.record.streaming import busy_s

Row = dict[str, Any]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")
    links: tuple[LinkRule, ...]


def read_link_table(scenario: Scenario) -> tuple[LinkRule, ...]:
    """The rules of the scenario's `channel.table`. Raises ScenarioError."""
    path = scenario.channel.table
    if path is None:
        return ()
    remedy = "write one with `hffm links measure --out`"
    try:
        data, _ = parse(Path(path).read_text(encoding="utf-8"))
        return _Table.model_validate(data, strict=False).links
    except OSError as error:
        why = f"cannot read '{path}': {error.strerror}; {remedy}"
    except ValidationError as error:
        first = error.errors()[0]
        why = f"'{path}': {'.'.join(map(str, first['loc'])) or 'whole file'}: {first['msg']}; {remedy}"
    except (YamlError, UnicodeDecodeError) as error:
        why = f"'{path}' is no YAML ({error}); {remedy}"
    raise scenario.error("channel.table", why)


def rows_of_transfers(plan: Plan, transfers: Iterable[Transfer]) -> list[Row]:
    """Rate and delay of each link that something was sent over, from what the nodes have logged of it."""
    seen: dict[tuple[str, str], list[Transfer]] = {}
    for transfer in transfers:
        if transfer.bytes > 0 and transfer.seconds > 0:
            seen.setdefault((transfer.src, transfer.dst), []).append(transfer)
    if not seen:
        raise RunFolderError(f"run '{plan.run_id}' has logged no transfers; let it run a round")
    return [_row(plan, src, dst, found) for (src, dst), found in sorted(seen.items())]


def _row(plan: Plan, src: str, dst: str, transfers: Sequence[Transfer]) -> Row:
    together = list(_together(transfers))
    sizes, seconds = [sum(t.bytes for t in each) for each in together], [busy_s(each) for each in together]
    rate_bps, delay_s = _fit(sizes, seconds)
    link = plan.link(src, dst)
    return {
        "src": src,
        "dst": dst,
        "kind": transfers[0].link,
        "bytes": sum(t.bytes for t in transfers),
        "transfers": len(transfers),
        "measured_rate_bps": rate_bps,
        "measured_delay_s": delay_s,
        "power_w": link.power_w if link else 0.0,
        "receive_w": link.receive_w if link else 0.0,
    }


def _together(transfers: Iterable[Transfer]) -> Iterator[list[Transfer]]:
    """Those that shared the link at a time count as one."""
    group: list[Transfer] = []
    for t in sorted(transfers, key=lambda t: t.t):
        if group and t.t >= max(k.t + k.seconds for k in group):
            yield group
            group = []
        group.append(t)
    yield group


def _fit(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds = delay + 8 bytes / rate, by least squares where sizes differ enough to tell the two apart."""
    if max(sizes) > 1.5 * min(sizes):
        slope, delay = np.polyfit(sizes, seconds, 1)
        if slope > 0 and delay >= 0:
            return 8 / float(slope), float(delay)
    return float(
        np.median([8 * size / max(took, 1e-9) for size, took in zip(sizes, seconds, strict=True)])
    ), 0.0


def table_text(rows: Sequence[Row], origin: str) -> str:
    """A file for `channel: {model: table, table: FILE}`."""
    lines = [
        f"# Measured rates and delays of {origin}.",
        "# Rates are of payload: links paced keep them as they are, netem and tbf take 4.6 % of them for headers.",
        "links:",
    ]
    for row in rows:
        rule = {
            "rate_bps": f"{row['measured_rate_bps']:.0f}",
            "delay_s": f"{max(0.0, row['measured_delay_s']):.6f}",
            "power_w": f"{row['power_w']:g}",
            "receive_w": f"{row['receive_w']:g}",
        }
        ends = f"from: {_quoted(row['src'])}, to: {_quoted(row['dst'])}"
        lines.append(f"  - {{{ends}, {', '.join(f'{k}: {v}' for k, v in rule.items())}}}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """As YAML: names may look like numbers."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
