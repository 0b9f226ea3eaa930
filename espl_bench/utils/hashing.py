"""Hash a model folder, so that a run can record which weights it used."""

import hashlib
import json
from pathlib import Path
from typing import Any

from espl_bench.utils import atomic_io

SHOWN_HASH = 12
"""Digits of a hash in a message or a note."""
MODEL_FILES = ("*.safetensors", "config.json", "tokenizer.json")


def fingerprint(folder: Path) -> dict[str, Any] | None:
    """Return SHA-256 of a model's weights, configuration and tokenizer, each and together; None if there is no such folder.

    Two folders have the same ``sha256`` exactly if these files have the same names and bytes.
    """
    paths = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    if not paths:
        return None
    try:
        files = {path.name: atomic_io.sha256(path) for path in paths}
    except OSError:
        return None  # the engine reports the fault
    return {"sha256": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(), "files": files}
