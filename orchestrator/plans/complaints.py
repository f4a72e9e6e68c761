"""What pydantic found wrong with a scenario, as one sentence with the key and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

_WANTED = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "finite_number": "must be a finite number",
}


def complaint(error: ValidationError, data: Any, schema: dict[str, Any]) -> tuple[str, str]:
    """Key path and sentence of the most telling problem: a misspelt key before the key that it leaves missing."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda e: e["type"] not in ("extra_forbidden", "union_tag_invalid"))
    loc = first["loc"]
    key = key_path(loc, data)
    kind, context, value = first["type"], first.get("ctx", {}), first.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(loc[:-1], schema)
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys are {', '.join(known)}"
        return key, f"unknown key; {hint}"
    if kind == "missing":
        return key, "missing; add the key"
    if kind == "union_tag_not_found":
        return f"{key}.kind", "missing; write kind: drawn or kind: tree"
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        wanted = str(context.get("expected_tags", "")).replace(", ", " or ") or context["expected"]
        return (
            f"{key}.kind" if kind == "union_tag_invalid" else key
        ), f"must be {wanted}, not {_shown(context.get('tag', value))}"
    if kind == "value_error":
        return key, f"{context['error']}; it is {_shown(value)}"
    limit = _limit(kind, context)
    wanted = limit or _WANTED.get(kind) or first["msg"][:1].lower() + first["msg"][1:]
    return key, f"{wanted}, not {_shown(value)}"


def key_path(loc: Sequence[str | int], data: Any) -> str:
    """`tasks[0].name`, without the names of alternatives that pydantic puts in between."""
    path = ""
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(data, dict) and (part in data or last):
            path += f".{part}" if path else str(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path += f"[{part}]"
            data = data[part]
    return path


def _limit(kind: str, context: dict[str, Any]) -> str | None:
    signs = {"greater_than": ("gt", "more than"), "greater_than_equal": ("ge", "at least"),
             "less_than": ("lt", "less than"), "less_than_equal": ("le", "at most")}  # fmt: skip
    if kind in signs:
        key, words = signs[kind]
        return f"must be {words} {context[key]}"
    if kind == "too_short":
        return f"needs at least {context['min_length']} entry"
    if kind == "string_pattern_mismatch":
        return "must be a name of letters, digits, dots, dashes, plus signs or underscores"
    return None


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(loc: Sequence[str | int], schema: dict[str, Any]) -> list[str]:
    """The keys allowed at a place, found by walking the JSON schema along the path."""
    definitions = schema.get("$defs", {})
    node = schema

    def settle(here: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in here or "allOf" in here:
            here = definitions[here["$ref"].rsplit("/", 1)[1]] if "$ref" in here else here["allOf"][0]
        return here

    for part in loc:
        node = settle(node)
        mapping = node.get("discriminator", {}).get("mapping", {})
        if part in mapping:
            node = {"$ref": mapping[part]}
        elif isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part, {})
    return sorted(settle(node).get("properties", {}))
