"""Reading plan files."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from node.errors import PlanError
from node.plan.whole import Plan


def load_plan(path: Path) -> Plan:
    """Reads a plan file. Raises PlanError, naming the file, the key and the remedy."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        why = f"cannot read the plan: {error.strerror}; write one with `hffm plan`"
        raise PlanError(f"{path}: {why}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(whole file)"
        raise PlanError(f"{path}: {key}: {first['msg']}; write the plan anew with `hffm plan`") from error
