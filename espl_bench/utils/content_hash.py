"""Hash what a record says, so that a change of it by hand is found."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel


def content_sha256(record: BaseModel, leaving_out: dict[str, Any]) -> str:
    """Return the SHA-256 of a record's fields.

    A field at its default says nothing, so that a later version's fields change no hash.

    Args:
        record: any record.
        leaving_out: fields that follow from the others, as pydantic's `exclude` takes them.
    """
    said = record.model_dump(mode="json", by_alias=True, exclude=leaving_out, exclude_defaults=True)
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()
