"""State folders: what is written last is read again, whatever happens to the files, and the disk does not fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from node.errors import ClockError, StateError
from node.log import NodeLog
from node.plan import Plan
from node.roles.held import Held
from node.roles.journal import Journal, Kept, Progress
from node.roles.life import live
from node.wire.book import EventBook
from tests.federation import make_plan, module

STAR = {"cloud": None, "d0": "cloud", "d1": "cloud"}
MODULE = module("adapter", 500, cloud=1)


@pytest.fixture
def plan() -> Plan:
    return make_plan(STAR, {"cloud": "cloud"}, (MODULE,))


def held(number: int) -> dict[str, Held]:
    values = np.full(500, number, np.float32)
    return {"adapter": Held(MODULE, values, number, 3.0, ("d0", "d1"))}


def journal(folder: Path, plan: Plan, said: list[str] | None = None) -> Journal:
    log = NodeLog("cloud", lambda event: said.append(event["message"]) if said is not None else None)
    return Journal(folder, plan, "cloud", log)


def written(folder: Path, plan: Plan, rounds: int) -> None:
    book = journal(folder, plan)
    for number in range(rounds):
        book.write(Kept(held(number), Progress(finished=number)))
    book.close()


def last(folder: Path, plan: Plan, said: list[str] | None = None) -> int:
    book = journal(folder, plan, said)
    found = book.read()
    book.close()
    assert found is not None
    assert found.held["adapter"].values[0] == found.progress.finished
    assert found.held["adapter"].contributors == ("d0", "d1")
    return found.progress.finished


def test_the_last_record_is_read_again_and_old_files_go(tmp_path, plan):
    written(tmp_path, plan, 9)
    assert last(tmp_path, plan) == 8
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert len(list((tmp_path / "modules").iterdir())) == 2


@pytest.mark.parametrize("damage", ["torn", "flipped", "no module", "torn module", "empty"])
def test_a_damaged_record_costs_one_round_and_is_named(damage, tmp_path, plan):
    written(tmp_path, plan, 3)
    record = max(tmp_path.glob("*.json"))
    digest = record.read_text().split('"sha256":"')[1][:64]
    if damage == "torn":
        os.truncate(record, record.stat().st_size - 7)
    elif damage == "flipped":
        record.write_bytes(record.read_bytes().replace(b'"finished":2', b'"finished":9'))
    elif damage == "empty":
        os.truncate(record, 0)
    elif damage == "no module":
        (tmp_path / "modules" / f"{digest}.safetensors").unlink()
    else:
        os.truncate(tmp_path / "modules" / f"{digest}.safetensors", 100)
    said: list[str] = []
    assert last(tmp_path, plan, said) == 1
    assert record.name in said[0]
    assert "the record before it is used" in said[0]
    written(tmp_path, plan, 1)
    assert last(tmp_path, plan) == 0


def test_a_folder_of_nothing_but_damage_is_refused(tmp_path, plan):
    written(tmp_path, plan, 2)
    for record in tmp_path.glob("*.json"):
        record.write_text("{")
    book = journal(tmp_path, plan)
    with pytest.raises(StateError, match="none of its 2 records is whole"):
        book.read()
    book.close()


def test_a_folder_is_of_one_plan_one_node_and_one_process(tmp_path, plan, monkeypatch):
    monkeypatch.setattr("node.roles.journal._DYING_S", 0.1)
    written(tmp_path, plan, 1)
    other = journal(tmp_path, plan.replace(seed=99))
    with pytest.raises(StateError, match="another run"):
        other.read()
    with pytest.raises(StateError, match="another process uses it"):
        journal(tmp_path, plan)
    other.close()
    # Other addresses are the same plan: a run may be resumed elsewhere.
    nodes = tuple(n.model_copy(update={"address": "127.0.0.1:1"}) for n in plan.nodes)
    assert last(tmp_path, plan.replace(nodes=nodes)) == 0


_FILL = """
import sys
from pathlib import Path
from node.errors import StateError
from tests.roles.test_journal import held, journal, last
from tests.federation import make_plan
from tests.roles.test_journal import MODULE, STAR
from node.roles.journal import Kept, Progress
plan = make_plan(STAR, {"cloud": "cloud"}, (MODULE,))
folder = Path(sys.argv[1])
book = journal(folder, plan)
book.write(Kept(held(0), Progress(finished=0)))
try:
    (folder / "ballast").write_bytes(bytes(1 << 20))
except OSError:
    pass
try:
    book.write(Kept(held(1), Progress(finished=1)))
except StateError as error:
    book.close()
    print(error, "| code", error.exit_code, "| kept", last(folder, plan))
"""


def test_a_full_disk_is_said_and_the_last_record_stays(tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("no mount namespaces here: a full disk cannot be tried")
        pytest.skip("no mount namespaces here: a full disk cannot be tried")
    (tmp_path / "fill.py").write_text(_FILL)
    command = f"mount -t tmpfs -o size=64k none {tmp_path}/disk && {sys.executable} {tmp_path}/fill.py $0"
    (tmp_path / "disk").mkdir()
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, f"{tmp_path}/disk"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert "No space left on device; make room on the disk" in done.stdout, done.stderr
    assert "| code 25 | kept 0" in done.stdout


def test_an_unusable_folder_and_an_impossible_clock_are_said(tmp_path, plan, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="Not a directory"):
        journal(tmp_path / "file/state", plan)
    monkeypatch.setattr(time, "time", lambda: 86400.0)
    with pytest.raises(ClockError, match="1970-01-02"):
        live(plan, "cloud", NodeLog("cloud")).send(None)


def test_a_book_of_events_has_each_once_and_outlives_a_torn_line(tmp_path):
    file = tmp_path / "events.jsonl"
    first = EventBook(file)
    for line in ('{"node":"a","life":"x","seq":1}', '{"node":"a","life":"x","seq":1}', "no event"):
        first.add(line)
    first.sync()
    first.close()
    with file.open("a") as lines:
        lines.write('{"node":"a","li')
    second = EventBook(file)
    second.add('{"node":"a","life":"x","seq":1}')
    second.add('{"node":"a","life":"x","seq":2}')
    second.add('{"node":"a","life":"y","seq":1}')
    second.close()
    assert file.read_text().splitlines() == [
        '{"node":"a","life":"x","seq":1}',
        '{"node":"a","life":"x","seq":2}',
        '{"node":"a","life":"y","seq":1}',
    ]
