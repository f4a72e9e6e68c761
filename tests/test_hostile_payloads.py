"""A hundred thousand hostile payloads and manifests: see tests/fuzz.py. And no way in for code in data."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.errors import HffmError
from node.plan import dump_plan, load_plan
from tests.fuzz import PLAN, fuzz
from tests.test_house import FLOORS, ROOT, python_files

EXAMPLES, TRIES = 500, 220


def test_no_payload_and_no_manifest_gets_past_the_errors():
    found: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.integers(0, 2**64))
    def tried(seed: int) -> None:
        found.update(fuzz(TRIES, seed))

    tried()
    print(f"{found.total()} payloads and manifests tried: {dict(sorted(found.items()))}")
    assert found.total() >= 100_000
    # The mutations reach every kind of answer, so that none of the checks was passed by.
    assert min(found["file taken"], found["file PayloadCorrupt"], found["file PayloadRefused"]) > 1000
    assert min(found["manifest taken"], found["manifest PayloadRefused"], found["manifest BusyError"]) > 1000


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damage_to_a_plan_gets_past_the_errors(tmp_path: Path, data: st.DataObject):
    """A plan, or a PlanError in one line."""
    text = dump_plan(PLAN)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = start + data.draw(st.integers(0, 40))
        part = data.draw(
            st.sampled_from(["", "null", "-1", "1e999", "[]", "{}", '"x"', "9" * 5000, "[" * 5000, "\ud800"])
        )
        text = text[:start] + part + text[end:]
    file = tmp_path / "plan.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    refused = ""
    try:
        load_plan(file)
    except HffmError as error:
        refused = str(error)
    assert "\n" not in refused


LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
CALLS = {"eval", "exec", "torch.load", "np.load", "numpy.load", "yaml.load", "yaml.unsafe_load"}


@pytest.mark.parametrize("package", FLOORS[1:])
def test_nothing_that_is_read_can_run_code(package):
    """Safetensors, JSON and YAML's safe loader only: never pickle, under whichever name."""
    for path in python_files(package):
        place, tree = path.relative_to(ROOT), ast.parse(path.read_text())
        for item in ast.walk(tree):
            if isinstance(item, ast.Import):
                assert not LOADERS & {alias.name.split(".")[0] for alias in item.names}, place
            elif isinstance(item, ast.ImportFrom):
                assert (item.module or "").split(".")[0] not in LOADERS, place
            elif isinstance(item, ast.Call):
                name = ast.unparse(item.func)
                assert name not in CALLS, place
                assert all(k.arg != "allow_pickle" for k in item.keywords), place
