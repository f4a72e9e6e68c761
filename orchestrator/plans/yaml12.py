"""YAML as people expect it: the core schema of YAML 1.2 (`on` is text, 4e6 a number), no key twice, and the
line of every key. PyYAML's own schema is YAML 1.1."""

from __future__ import annotations

import re
from typing import Any

import yaml

_MAX_KEYS = 50_000  # a hundred bytes of nested aliases can stand for billions of values


class YamlError(ValueError):
    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(" ".join(why.split()))
        self.line = line


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
# YAML 1.2.2, section 10.3.2, "Tag Resolution"
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


def parse(text: str) -> tuple[Any, dict[str, int]]:
    """The value of a document, and the line of each key path such as `tasks[0].name`."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[str, int] = {}
        _walk(node, "", lines, [])
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = f"not YAML: {error.problem or error.context}; check the indentation and quotes here"
        raise YamlError(why, mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(
            f"not YAML: {error or type(error).__name__}; a scenario is plain YAML text"
        ) from error
    finally:
        loader.dispose()


def _walk(node: yaml.Node, path: str, lines: dict[str, int], above: list[yaml.Node]) -> None:
    """Notes the lines; refuses a key that is written twice and an alias that contains itself."""
    if any(node is other for other in above):
        raise YamlError("an alias that contains itself; write the value out", node.start_mark.line + 1)
    if len(lines) > _MAX_KEYS:
        raise YamlError(
            "aliases of aliases make it too large; write the values out", node.start_mark.line + 1
        )
    above = [*above, node]
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[f"{path}[{i}]"] = item.start_mark.line + 1
            _walk(item, f"{path}[{i}]", lines, above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen and name != "<<":
                raise YamlError(
                    f"key '{name}' is written twice (also on line {seen[name]}); remove one", line
                )
            seen[name] = line
            below = f"{path}.{name}" if path else name
            lines[below] = line
            _walk(value, below, lines, above)
