"""Edits as a model writes them: what `parse_edits` reads."""

import json
from collections.abc import Sequence

from espl_bench.evolution.operators.edits import Edit, Merge, Modify, Remove


def render_edits(edits: Sequence[Edit]) -> str:
    return json.dumps([_record(edit) for edit in edits], ensure_ascii=False)


def _record(edit: Edit) -> dict[str, str | list[str]]:
    record: dict[str, str | list[str]] = {"op": edit.op}
    if isinstance(edit, Merge):
        record["ids"] = [f"G{number}" for number in edit.ids]
    elif isinstance(edit, Modify | Remove):
        record["id"] = f"G{edit.id}"
    if not isinstance(edit, Remove):
        record["principle"] = edit.principle
    if edit.evidence:
        record["evidence"] = edit.evidence
    return record
