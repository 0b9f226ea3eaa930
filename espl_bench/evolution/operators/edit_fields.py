"""The vocabulary of the wire format: which JSON objects are edits, their field names, and how labels are read.

Models vary the words more than the structure, so all aliases are in one table here, and the typed edits
(:mod:`espl_bench.evolution.operators.edits`) see canonical fields only.
"""

import json
from collections.abc import Sequence
from typing import Final, get_args

from espl_bench.evolution.operators.lenient_json import FoundObject, JsonObject, JsonValue
from espl_bench.prompts.principle_text import OpName

_ALIASES: Final = {
    "op": ("op", "operation", "option", "type"),
    "principle": ("principle", "content", "text", "experience"),
    "id": ("id", "modified_from"),
    "ids": ("ids", "merged_from"),
    "evidence": ("evidence",),
}
_WRAPPERS: Final = frozenset({"operations", "edits"})


def proposals(objects: Sequence[FoundObject]) -> list[JsonObject]:
    """Return the objects that represent edits, with canonical field names.

    A wrapper such as ``{"operations": [...]}`` is unwrapped; objects inside an edit (evidence, say) are part of that edit. Null fields are
    left out, unknown ones too.
    """
    found_proposals: list[JsonObject] = []
    covered = 0
    for found_object in objects:
        if found_object.start < covered:
            continue
        fields = _canonical(found_object.value)
        if _names_operation(fields) or not _is_wrapper(found_object.value):
            found_proposals.append(fields)
            covered = found_object.end
    return found_proposals


def _canonical(value: JsonObject) -> JsonObject:
    """Keep the known fields under canonical names; of several aliases the first in the table that is not null."""
    by_key = {key.strip().lower(): item for key, item in value.items() if item is not None}
    fields: JsonObject = {}
    for name, aliases in _ALIASES.items():
        present = [by_key[alias] for alias in aliases if alias in by_key]
        if present:
            fields[name] = present[0]
    return fields


def _names_operation(fields: JsonObject) -> bool:
    op = fields.get("op")
    return isinstance(op, str) and op.strip().lower() in get_args(OpName)


def _is_wrapper(value: JsonObject) -> bool:
    """Return whether an object only holds others: it has a wrapper's name, or an object or a list of objects as a value."""
    return any(key.strip().lower() in _WRAPPERS or _holds_object(item) for key, item in value.items())


def _holds_object(item: JsonValue) -> bool:
    return isinstance(item, dict) or (isinstance(item, list) and any(isinstance(inner, dict) for inner in item))


def id_labels(value: JsonValue) -> list[str]:
    """Split a single id or a list of ids into labels; ``"G1, G2"`` gives two. Other text is kept whole: it may quote a principle."""
    labels: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        text = item if isinstance(item, str) else json.dumps(item)
        parts = text.split(",")
        labels.extend(parts if any(id_number(part) is not None for part in parts) else [text])
    return labels


def id_number(label: str) -> int | None:
    """Parse ``G3``, ``[G3]``, `` g3 `` or ``3`` as 3; None for anything that is not an id."""
    bare = label.strip().removeprefix("[").removesuffix("]").strip()
    digits = bare[1:] if bare[:1] in {"G", "g"} else bare
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 6 else None
