"""The comparison as a person and a script see it."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from orchestrator.cost.pricing import price
from orchestrator.plans.resolve import resolve
from orchestrator.record.summary import Published, Summary, summarize
from orchestrator.report.labels import labels
from orchestrator.report.notes import footnotes, headline
from orchestrator.report.show import comparison, show_comparison
from orchestrator.report.table import rows, spreads
from tests.orchestrator.scenarios import shipped
from tests.orchestrator.streams import Stream


def compared(name: str, rounds: int, **more: Any) -> list[Summary]:
    loaded = shipped(name)
    plans = [resolve(loaded, method) for method in loaded.methods]
    return [summarize(p, Stream(p).play(rounds), price(p), **more) for p in plans]


@pytest.fixture(scope="module")
def quickstart() -> list[Summary]:
    return compared("quickstart", 4)


@pytest.fixture(scope="module")
def study() -> list[Summary]:
    return compared("case-study", 2, published=Published(latency_s=12.1, energy_j=387.2, accuracy=0.3789))


def test_rows_for_scripts(quickstart: list[Summary]) -> None:
    found = json.loads(json.dumps(rows(quickstart), allow_nan=False))
    assert [r["method"] for r in found] == list(shipped("quickstart").methods)
    for row in found:
        assert {"modelled", "measured", "measured_transfers", "wall", "published"} <= row["latency_s"].keys()
        assert {"modelled", "measured", "compute", "downlink", "source", "published"} <= row[
            "energy_j"
        ].keys()
        assert row["latency_s"]["measured"] == pytest.approx(row["latency_s"]["measured_transfers"] + 1)
        assert row["accuracy"]["local"] == row["accuracy"]["aggregated"] == 0.5
        assert row["accuracy"]["baseline"] == pytest.approx(0.2)
        assert row["accuracy"]["rounds"] == [2, 3]  # the longest period, for every row
        assert row["rounds"] == 4
        assert row["complete_period"]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_nothing_is_wider_than_the_page_and_nothing_is_left_out(study: list[Summary], width: int) -> None:
    lines = comparison(study, width)
    assert max(len(text) for _, text in lines) <= width
    text = "\n".join(line for _, line in lines)
    heads = "published modelled transfers measured wall compute local aggregated guess rounds 37.89 387.20"
    for said in ("seconds per round", "joules per round", "accuracy, %", *heads.split()):
        assert said in text


def test_rows_stand_under_their_heads(quickstart: list[Summary]) -> None:
    lines = comparison(quickstart, 120)
    head = next(text for what, text in lines if what == "head")
    row = next(text for what, text in lines if what == "row")
    ends = [m.end() for m in re.finditer(r"\S+", head)][1:]
    assert [m.end() for m in re.finditer(r"\S+", row)][1:] == ends


def test_the_headline_says_what_was_in_force(quickstart: list[Summary]) -> None:
    words = "quickstart · channel physical · links paced · energy from model · no TLS: loopback only"
    assert headline(quickstart) == words


def test_notes_say_which_figure_is_which(study: list[Summary]) -> None:
    found = dict(footnotes(study))
    assert found["hf-fm-8"] == "2 rounds of a period of 8: what comes later is not measured"
    assert "6 MB" in found["padding"]
    assert "1/200" in found["edge-only"]
    assert "CPU time" in found["measured"]


def test_answers_that_were_priced_and_not_sent_are_explained(quickstart: list[Summary]) -> None:
    assert "answers" not in dict(footnotes(quickstart))
    plan = resolve(shipped("quickstart"), "hf-fm-2")
    events = [e for e in Stream(plan).play(4) if e.get("purpose") != "aggregate"]
    found = summarize(plan, events, price(plan))
    assert "sent none" in dict(footnotes([found]))["answers"]


def test_links_that_were_not_shaped_are_named() -> None:
    plan = resolve(shipped("quickstart"), "star").model_copy(update={"links_backend": "none"})
    found = [summarize(plan, Stream(plan).play(1))]
    assert "not as the modelled links" in dict(footnotes(found))["links none"]
    assert "links none" in headline(found)


def test_a_run_without_rounds_has_dashes() -> None:
    plan = resolve(shipped("quickstart"), "star")
    whole, empty = summarize(plan, Stream(plan).play(1)), summarize(plan, [])
    text = [line for what, line in comparison([whole, empty], 120) if what == "row"]
    assert text[1].split()[-1] == "0"
    assert "–" in text[1]
    assert comparison([empty], 120)


def test_small_figures_keep_two_digits() -> None:
    plan = resolve(shipped("quickstart"), "star")
    links = tuple(x.model_copy(update={"rate_bps": 1e10, "delay_s": 0.0}) for x in plan.links)
    fast = plan.model_copy(update={"links": links})
    found = comparison([summarize(fast, Stream(fast).play(1), price(fast))], 120)
    assert re.search(r"0\.\d{4}\b", next(line for what, line in found if what == "row"))


def test_labels_tell_runs_apart() -> None:
    plan = resolve(shipped("quickstart"), "star")
    one, other = (summarize(plan.model_copy(update={"seed": s}), []) for s in (1, 2))
    assert labels([one]) == ["star"]
    assert labels([one, other]) == ["star, seed 1", "star, seed 2"]
    assert labels([one, one]) == ["star", "star #2"]


def test_names_cannot_write_to_the_terminal() -> None:
    plan = resolve(shipped("quickstart"), "star").model_copy(
        update={"method": "\x1b[31mred\nline" + "x" * 100, "scenario": "\x1b]0;title\x07"}
    )
    text = "\n".join(line for _, line in comparison([summarize(plan, Stream(plan).play(1))], 80))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert max(map(len, text.splitlines())) <= 80


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_on_a_terminal_only(
    quickstart: list[Summary], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    terminal, plain = Terminal(), io.StringIO()
    show_comparison(quickstart, terminal)
    show_comparison(quickstart, plain)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "hf-fm+d2d-2" in plain.getvalue()
    show_comparison(quickstart)
    assert capsys.readouterr().out == plain.getvalue()


def test_poor_encodings(quickstart: list[Summary]) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    show_comparison(quickstart, out)
    out.flush()
    assert b"-----" in raw.getvalue()


def test_seeds_of_a_method_are_one_line_with_their_spread() -> None:
    """The mean and the sample's standard deviation; a run that is given twice is not taken for two seeds."""
    loaded = shipped("quickstart")
    right = {3: 2, 4: 5, 5: 8}  # of ten questions, by seed
    runs = []
    for seed, count in right.items():
        for method in ("star", "hf-fm-2"):
            plan = resolve(loaded.model_copy(update={"seed": seed}), method)

            def score(node: str, task: str, r: int, when: str, count: int = count) -> tuple[int, int]:
                return count, 10

            runs.append(summarize(plan, Stream(plan, score=score).play(2), price(plan)))
    lines = [text for what, text in comparison(runs, 120) if what == "row"]
    assert {line.split("  ")[0] for line in lines} == {"star (3 seeds)", "hf-fm-2 (3 seeds)"}
    assert any("50.0 ± 30.0" in line for line in lines)
    assert dict(footnotes(runs))["±"] == "mean and standard deviation over seeds 3, 4, 5"
    one = spreads(runs)[0]
    assert one["seeds"] == [3, 4, 5]
    assert one["accuracy.local"] == pytest.approx(
        {"mean": 0.5, "standard_deviation": 0.3, "least": 0.2, "most": 0.8}
    )
    again = [text for what, text in comparison([runs[0], runs[0]], 120) if what == "row"]
    assert not any("±" in line for line in again)
