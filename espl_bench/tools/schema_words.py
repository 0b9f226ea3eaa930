"""What a JSON Schema says in words, and values that fit it: an example for the policy, and a probe for a chat template.

Words and values are made for what tools commonly declare; a schema that says more is still checked in full (`json_schema.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

ANYTHING: Final = "any JSON value"
DEEPEST: Final = 4
"""Levels of nesting that words and values go down."""
_HOPS: Final = 16
"""Maximum references that lead from one to the next."""
_PLURALS: Final = {word: f"{word}s" for word in ("string", "integer", "number", "boolean", "object")}
_CHOICES: Final = ("anyOf", "oneOf", "allOf")


def part_of(root: Any, keys: Sequence[str]) -> Any:
    """Return the part of a schema that keys lead to."""
    for key in keys:
        root = cast(list[Any], root)[int(key)] if isinstance(root, list) else root[key]
    return root


def resolved(schema: Any, root: Any) -> Mapping[str, Any]:
    """Follow a schema's references inside the whole; what leads nowhere says nothing."""
    for _ in range(_HOPS):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            break
        pointer = str(cast(Mapping[str, Any], schema)["$ref"])
        if not leads_somewhere(pointer, root):
            return {}
        schema = part_of(root, _keys(pointer))
    return cast(Mapping[str, Any], schema) if isinstance(schema, Mapping) else {}


def leads_somewhere(pointer: str, root: Any) -> bool:
    """Return True if a reference as ``#/$defs/Place`` names a part of the whole."""
    try:
        part_of(root, _keys(pointer))
    except (KeyError, IndexError, ValueError, TypeError):
        return False
    return True


def _keys(pointer: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def _kind(schema: Mapping[str, Any]) -> str | list[Any] | None:
    return schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else None)


def in_words(schema: Any, root: Any, depth: int = DEEPEST) -> str:
    """Describe the values of a schema in a few words: ``list of strings``, ``one of "a", "b"``, ``object {page: integer}``."""
    schema = resolved(schema, root)
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if isinstance(schema.get("enum"), list):
        return f"one of {', '.join(json.dumps(value, ensure_ascii=False) for value in schema['enum'])}"
    if choices := next((schema[key] for key in _CHOICES if schema.get(key)), None):
        return " or ".join(dict.fromkeys(in_words(choice, root, depth) for choice in choices))
    match _kind(schema):
        case list() as kinds:
            return " or ".join(in_words({**schema, "type": kind}, root, depth) for kind in kinds)
        case "array":
            return _list_in_words(schema, root, depth)
        case "object":
            return _object_in_words(schema, root, depth)
        case str() as kind:
            return kind
        case _:
            return ANYTHING


def _list_in_words(schema: Mapping[str, Any], root: Any, depth: int) -> str:
    if depth == 0 or not isinstance(schema.get("items"), Mapping):
        return "list"
    items = in_words(schema["items"], root, depth - 1)
    return f"list of {_PLURALS.get(items, items)}"


def _object_in_words(schema: Mapping[str, Any], root: Any, depth: int) -> str:
    properties = schema.get("properties")
    if depth == 0 or not isinstance(properties, Mapping) or not properties:
        return "object"
    required = schema.get("required", ())
    fields = [
        f"{name}: {in_words(part, root, depth - 1)}{'' if name in required else ', optional'}"
        for name, part in cast(Mapping[str, Any], properties).items()
    ]
    return f"object {{{'; '.join(fields)}}}"


@dataclass(frozen=True, slots=True)
class Leaves:
    """The values that stand for each kind."""

    text: str
    texts: tuple[str, ...]
    """For a list of texts."""
    integer: int
    number: float
    every: bool
    """Whether objects have their optional fields too."""


EXAMPLE: Final = Leaves("…", ("…",), 1, 1.5, every=False)
PROBE: Final = Leaves('the "7",\nü: {1}', ("8", "it's [a], b", ""), 17, 2.5, every=True)


def instance(schema: Any, root: Any, leaves: Leaves, depth: int = DEEPEST) -> Any:
    """Return a value of a schema's shape. Bounds and patterns are not looked at."""
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if choices := next((schema[key] for key in _CHOICES if schema.get(key)), None):
        return instance(choices[0], root, leaves, depth)
    kind = _kind(schema)
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "integer":
            return leaves.integer
        case "number":
            return leaves.number
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            items = [] if depth == 0 else [instance(schema.get("items"), root, leaves, depth - 1)]
            return list(leaves.texts) if items == [leaves.text] else items
        case "object":
            return _object(schema, root, leaves, depth)
        case _:
            return leaves.text


def _object(schema: Mapping[str, Any], root: Any, leaves: Leaves, depth: int) -> dict[str, Any]:
    properties = cast(Mapping[str, Any], schema.get("properties") or {})
    required = schema.get("required", ())
    wanted = [name for name in properties if depth > 0 and (leaves.every or name in required)]
    return {name: instance(properties[name], root, leaves, depth - 1) for name in wanted}
