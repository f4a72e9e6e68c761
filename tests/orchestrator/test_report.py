"""The page: whole, self-contained, and safe with names that are not ours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from node.errors import RunFolderError
from node.plan import Cluster, Plan
from orchestrator.cost.pricing import price
from orchestrator.record.folder import RunRecord
from orchestrator.record.runs import Run, load_run
from orchestrator.report.figures import spread
from orchestrator.report.page import write_report
from orchestrator.report.palette import strokes
from tests.orchestrator.streams import Stream, link, module, plan

EVIL = "</style></title><script>alert('$x^{')</script>"


def small(method: str = "hf-fm+d2d-2", seed: int = 1, prefix: str = "") -> Plan:
    a, h, edge = f"{prefix}a", f"{prefix}h", "edge"
    links = [
        link(a, h, "d2d", 0.1), link(h, a, "d2d", 0.2), link(h, edge, "uplink", 0.5),
        link(edge, "cloud", "backhaul", 0.7), link(a, edge, "uplink", 0.3),
    ]  # fmt: skip
    cluster = Cluster(parent=edge, head=h, edges=((a, h),))
    modules = [
        module("adapter", 250, cluster=1, edge=2, cloud=2),
        module(f"head/{prefix}t", 25, task=f"{prefix}t", edge=2),
    ]
    parents = {edge: "cloud", a: edge, h: edge}
    return plan(parents, links, modules, clusters=[cluster], method=method, tasks=(f"{prefix}t",), seed=seed,
                scenario=f"{prefix}s")  # fmt: skip


def recorded(folder: Path, of: Plan, warning: str = "") -> Run:
    with RunRecord.create(folder, of, {"scenario": warning}) as record:
        for event in Stream(of).play(4):
            record.event(event)
        if warning:
            record.event({"t": 1.0, "node": "cloud", "kind": "warning", "message": warning})
            record.event({"t": 1.0, "node": "cloud", "kind": "lost", "child": warning, "reason": warning})
        record.add_module("cloud", "adapter", b"x")
        record.finish(modelled=price(of))
    return load_run(folder)


class Tags(HTMLParser):
    """Collects tags and what they refer to; complains about those that do not close in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("hostile")
    run = recorded(base / "run", small(method=f"{EVIL}-2", prefix=EVIL.replace("/", "|")), warning=EVIL)
    return write_report([run], base / "out")


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    runs = [recorded(tmp_path / m, small(m)) for m in ("hf-fm+d2d-2", "star")]
    page = write_report(runs, tmp_path / "out")
    assert page == tmp_path / "out/report.html"
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.names.count("svg") == 4
    assert tags.names.count("img") == 2
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in tags.references)
    assert not re.search(r"url\((?!#)|@import", text)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "report.html", "accuracy.png", "latency.png", "energy.png", "links.png", "topology-star.png",
        "topology-hf-fm+d2d-2.png",
    }  # fmt: skip
    for png in (tmp_path / "out").glob("*.png"):
        assert png.read_bytes().startswith(b"\x89PNG")
    for said in (
        "Comparison",
        "seconds per round",
        "hf-fm+d2d-2",
        "CPU time",
        "question alone",
        "var(--ink)",
    ):
        assert said in text
    assert str(tmp_path) not in text


def test_ids_in_the_page_are_its_own(tmp_path: Path) -> None:
    page = write_report([recorded(tmp_path / "run", small())], tmp_path / "out").read_text(encoding="utf-8")
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', page))
    assert used <= ids


def test_hostile_names_stay_text(hostile: Path) -> None:
    page = hostile.read_text(encoding="utf-8")
    tags = Tags(page)
    assert "script" not in tags.names
    assert not tags.handlers
    assert tags.names.count("style") == page.count("<style")
    assert "&lt;script&gt;" in page


def test_hostile_names_do_not_leave_the_folder(hostile: Path) -> None:
    pictures = sorted(p.name for p in hostile.parent.glob("topology-*.png"))
    assert len(pictures) == 1
    assert re.fullmatch(r"topology-[A-Za-z0-9+._-]+\.png", pictures[0])


def test_seeds_of_one_method_are_one_line(tmp_path: Path) -> None:
    runs = [recorded(tmp_path / str(seed), small(seed=seed)) for seed in (1, 2, 3)]
    page = write_report(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert "hf-fm+d2d-2 (3 seeds)" in page
    assert "hf-fm+d2d-2, seed 2" in page


def test_a_run_that_was_broken_off(tmp_path: Path) -> None:
    with RunRecord.create(tmp_path / "run", small()) as record:
        for event in Stream(small()).play(1)[:4]:
            record.event(event)
    run = load_run(tmp_path / "run", allow_incomplete=True)
    assert "incomplete" in write_report([run], tmp_path / "out").read_text(encoding="utf-8")


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", small())
    (tmp_path / "out").write_text("")
    with pytest.raises(RunFolderError, match="cannot write the report"):
        write_report([run], tmp_path / "out")
    with pytest.raises(RunFolderError, match="no runs"):
        write_report([], tmp_path / "out")


def test_methods_keep_their_colours() -> None:
    alone = strokes(["star", "hf-fm-2"])
    among = strokes(
        ["hf-fm+d2d-2", "hf-fm-2", "star", "hf-fm-8", "edge-only", "edge-only+d2d", "hf-fm+d2d-8"]
    )
    assert alone["star"] == among["star"]
    assert alone["hf-fm-2"] == among["hf-fm-2"]
    assert len({s.colour for s in among.values()}) == 7
    assert among["hf-fm-8"].dash != among["hf-fm-2"].dash


def test_labels_do_not_overlap() -> None:
    found = spread([0.5, 0.5, 0.99, 0.51, 1.0], 0.05)
    assert all(b - a > 0.0499 for a, b in zip(sorted(found), sorted(found)[1:], strict=False))
    assert max(found) <= 1.0001
    assert found[2] < found[4]
    assert spread([], 0.05) == []
