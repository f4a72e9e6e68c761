"""The house: imports go down, and the stubs are those of the contract."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import TABLE

ROOT = Path(__file__).parent.parent
# Ground floor first; within node, what may import what is the order of this list.
FLOORS = ["hffm", "node", "deploy", "orchestrator"]
ROOMS = {
    "node": [
        *(
            "errors",
            "randomness",
            "waiting",
            "log",
            "plan",
            "security",
            "gate",
            "routing",
            "precision",
            "payload",
            "sensors",
            "meter",
            "aggregation",
        ),
        *("model", "learning", "wire", "roles", "__main__"),
    ],
    "orchestrator": ["cost", "policy", "record", "plans", "run", "report", "commands", "cli"],
}


def python_files(package: str) -> list[Path]:
    return [p for p in (ROOT / package).rglob("*.py") if "_pb2" not in p.name]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.Import):
            found |= {alias.name for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.module:
            found |= {f"{item.module}.{alias.name}" for alias in item.names} | {item.module}
    return found


@pytest.mark.parametrize("package", FLOORS[1:])
def test_imports_only_go_down(package):
    above = FLOORS[FLOORS.index(package) + 1 :]
    for path in python_files(package):
        climbing = {name for name in imports(path) if name.split(".")[0] in above}
        assert not climbing, f"{path.relative_to(ROOT)} imports {climbing}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_only_import_rooms_below(package):
    rooms = ROOMS[package]
    for path in python_files(package):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in rooms, f"{path}: a new room: say in this test where it stands"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] in rooms:
                assert rooms.index(parts[1]) <= rooms.index(room), f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("grpc", ["node/wire"]),
        ("torch", ["node/model", "node/learning", "deploy/launch/nursery.py"]),
        ("transformers", ["node/model", "node/learning"]),
        ("subprocess", ["deploy", "orchestrator/run/standing.py"]),
    ],
)
def test_foreign_worlds_stay_in_one_package(library, allowed):
    for package in FLOORS[1:]:
        for path in python_files(package):
            place = path.relative_to(ROOT).as_posix()
            if library in {name.split(".")[0] for name in imports(path)}:
                assert place.startswith(tuple(allowed)), f"{place} imports {library}"


def test_stubs_are_generated_from_the_contract(tmp_path):
    protos = sorted((ROOT / "proto/hffm/v1").glob("*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *outputs]
    subprocess.run([*command, *map(str, protos)], check=True)
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.py*"))
    kept = sorted(
        p.relative_to(ROOT / "proto")
        for p in (ROOT / "proto").rglob("*_pb2*.py*")
        if "__pycache__" not in str(p)
    )
    assert made == kept
    for name in made:
        assert (tmp_path / name).read_bytes() == (ROOT / "proto" / name).read_bytes(), (
            f"{name}: run `make proto`"
        )


def test_commands_start_without_torch():
    heavy = "{'torch', 'transformers'}"
    code = f"import sys, orchestrator.cli, node.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_error_is_documented():
    rows = [
        line.split("|")
        for line in (ROOT / "docs/errors.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    written = {row[1].strip(): (row[2].strip(), row[3].strip()) for row in rows[1:]}
    known = {kind.__name__: (str(code), status) for kind, (code, status) in TABLE.items()}
    assert written == known
    assert all(row[4].strip() for row in rows)
