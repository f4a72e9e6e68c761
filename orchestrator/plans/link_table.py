"""Link tables: files of rules for links, such as those that were measured on a real network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from node.errors import RunFolderError
from node.plan import Plan
from orchestrator.plans.scenario import LinkRule, Scenario
from orchestrator.plans.yaml12 import YamlError, parse
from orchestrator.record.events import Transfer

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
    rate_bps, delay_s = _fit([t.bytes for t in transfers], [t.seconds for t in transfers])
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
    }


def _fit(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds = delay + 8 bytes / rate, by least squares where sizes differ enough to tell the two apart."""
    if max(sizes) > 1.5 * min(sizes):
        slope, delay = np.polyfit(sizes, seconds, 1)
        if slope > 0 and delay >= 0:
            return 8 / float(slope), float(delay)
    return float(np.median([8 * size / took for size, took in zip(sizes, seconds, strict=True)])), 0.0


def table_text(rows: Sequence[Row], origin: str) -> str:
    """A file for `channel: {model: table, table: FILE}`."""
    lines = [f"# Measured rates and delays of {origin}.", "links:"]
    for row in rows:
        rule = {
            "rate_bps": f"{row['measured_rate_bps']:.0f}",
            "delay_s": f"{max(0.0, row['measured_delay_s']):.6f}",
            "power_w": f"{row['power_w']:g}",
        }
        ends = f"from: {_quoted(row['src'])}, to: {_quoted(row['dst'])}"
        lines.append(f"  - {{{ends}, {', '.join(f'{k}: {v}' for k, v in rule.items())}}}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """As YAML: names may look like numbers."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
