"""From a YAML file to a checked Scenario. All that can be wrong with it ends in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node.errors import ScenarioError
from node.plan import TaskSpec
from orchestrator.plans.complaints import complaint
from orchestrator.plans.methods import parse_method
from orchestrator.plans.scenario import Origin, Scenario
from orchestrator.plans.yaml12 import YamlError, parse

_MAX_BYTES = 1_000_000  # a scenario is some dozens of lines; more is another file by mistake


def load_scenario(path: Path) -> Scenario:
    """Reads and checks a scenario. Raises ScenarioError: one line with the file, the key and the remedy."""
    try:
        text = _text(path)
        data, lines = parse(text)
    except YamlError as error:
        place = f"{path}:{error.line}" if error.line else str(path)
        raise ScenarioError(f"{place}: {error}") from error
    origin = Origin(str(path), lines, text)
    if not isinstance(data, dict):
        kind = "is empty" if data is None else "is not a mapping of keys to values"
        raise origin.error("", f"{kind}; start from deploy/scenarios/quickstart.yaml")
    try:
        scenario = Scenario.model_validate_json(json.dumps(_absolute(data, path.parent)), strict=True)
    except ValidationError as error:
        raise origin.error(*complaint(error, data, Scenario.model_json_schema())) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise origin.error("", f"a value that is neither text, number, list nor mapping ({error})") from error
    scenario._origin = origin
    _check(scenario)
    return scenario


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ScenarioError(f"{path}: larger than {_MAX_BYTES} bytes; is it a scenario?")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text; a scenario is a YAML file") from error
    except OSError as error:
        why = f"cannot read the scenario: {error.strerror}"
        raise ScenarioError(f"{path}: {why}; examples are in deploy/scenarios") from error


def _absolute(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with file names made absolute: they are written relative to the scenario."""
    found = dict(data)
    if isinstance(tasks := found.get("tasks"), list):
        found["tasks"] = [_with_paths(task, ("annotations", "images", "folder"), folder) for task in tasks]
    if isinstance(channel := found.get("channel"), dict):
        found["channel"] = _with_paths(channel, ("table",), folder)
    model = found.get("model")
    if isinstance(model, dict) and _is_local(model.get("backbone"), folder):
        found["model"] = _with_paths(model, ("backbone",), folder)
    return found


def _is_local(backbone: Any, folder: Path) -> bool:
    """A path, rather than builtin:* or the name of a model on the hub ("owner/name")."""
    if not isinstance(backbone, str) or backbone.startswith("builtin:"):
        return False
    return backbone.startswith((".", "/", "~")) or (folder / backbone).is_dir()


def _with_paths(record: Any, keys: tuple[str, ...], folder: Path) -> Any:
    if not isinstance(record, dict):
        return record
    paths = {k: record[k] for k in keys if isinstance(record.get(k), str)}
    return {**record, **{k: str((folder / Path(v).expanduser()).resolve()) for k, v in paths.items()}}


def _check(scenario: Scenario) -> None:
    """What one field cannot know of another."""
    for key, names in (("methods", scenario.methods), ("published", tuple(scenario.published))):
        for i, name in enumerate(names):
            try:
                parse_method(name)
            except ValueError as error:
                raise scenario.error(f"{key}[{i}]" if key == "methods" else key, str(error)) from error
            if name in names[:i]:
                raise scenario.error(f"{key}[{i}]", f"method '{name}' is listed twice; remove one")
    _check_files(scenario)
    channel = scenario.channel
    if channel.model == "published" and channel.model_fields_set - {"model"}:
        key = min(channel.model_fields_set - {"model"})
        raise scenario.error(f"channel.{key}", "the published constants are fixed; use model: physical")


def _check_files(scenario: Scenario) -> None:
    for i, task in enumerate(scenario.tasks):
        key = f"tasks[{i}]"
        if task.name in [t.name for t in scenario.tasks[:i]]:
            raise scenario.error(f"{key}.name", f"two tasks are named '{task.name}'; rename one")
        if task.source == "dataset":
            _check_dataset(scenario, key, task)
            continue
        for part, path in (("annotations", task.annotations), ("images", task.images)):
            if task.source.startswith("builtin:"):
                if path is not None:
                    raise scenario.error(
                        f"{key}.{part}", f"source {task.source} reads no files; remove the key"
                    )
            elif path is None:
                raise scenario.error(f"{key}.{part}", f"missing; source {task.source} reads it from disk")
            elif part == "images" and not Path(path).is_dir():
                raise scenario.error(
                    f"{key}.{part}", f"no folder '{path}'; unpack the images there or correct it"
                )
            elif part == "annotations" and not Path(path).is_file():
                raise scenario.error(f"{key}.{part}", f"no file '{path}'; put it there or correct the path")
    backbone = scenario.model.backbone
    if backbone.startswith("/") and not Path(backbone).is_dir():
        raise scenario.error(
            "model.backbone", f"no folder '{backbone}'; write a hub name or builtin:tiny-vilt"
        )


def _check_dataset(scenario: Scenario, key: str, task: TaskSpec) -> None:
    if task.folder is None or not Path(task.folder).is_dir():
        why = f"no folder '{task.folder}'" if task.folder else "missing"
        raise scenario.error(f"{key}.folder", f"{why}; name what `save_to_disk` wrote")
    if "answer" not in task.columns or not task.modalities:
        why = "name the column of the answer and one of text, image or series"
        raise scenario.error(f"{key}.columns", why)
