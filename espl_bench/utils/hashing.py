"""Hash a model folder, so that a run can record which weights it used."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from espl_bench.utils import foreign_files

SHOWN_HASH = 12
"""Digits of a hash in a message or a note."""
MODEL_FILES = ("*.safetensors", "config.json", "tokenizer.json")
HUB_COMMIT = "commit on the hub"
"""Name of the one entry in the identity of a model that is named by its hub id."""
LOADED = frozenset({".bin", ".gguf", ".json", ".model", ".pt", ".pth", ".py", ".safetensors", ".tiktoken", ".txt"})
"""Suffixes of the files of a model folder that loading it may read. The chat template is compared among the templates."""


def fingerprint(folder: Path) -> dict[str, Any] | None:
    """Return SHA-256 of a model's weights, configuration and tokenizer, each and together; None if there is no such folder.

    Two folders have the same ``sha256`` exactly if these files have the same names and bytes.
    """
    paths = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    if not paths:
        return None
    try:
        files = {path.name: _sha256(path) for path in paths}
    except OSError:
        return None  # the engine reports the fault
    return {"sha256": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(), "files": files}


def model_identity(model: str) -> Mapping[str, str]:
    """Return what identifies a model: SHA-256 of every file that loading its folder may read, or the commit of a hub id.

    Empty for a model that is on this machine in neither form, e.g. one at an endpoint.
    """
    folder = Path(model)
    if folder.is_dir():
        paths = sorted(path for path in folder.iterdir() if path.suffix in LOADED and path.is_file())
        return {path.name: _sha256(path) for path in paths}
    commit = _hub_commit(model)
    return {} if commit is None else {HUB_COMMIT: commit}


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    """Read a file once until it changes: weights are large."""
    return foreign_files.sha256(path)


def _hub_commit(model: str) -> str | None:
    """Return the commit of a hub id that is in the local cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json")
    except HFValidationError:  # the name of something else
        return None
    return Path(found).parent.name if isinstance(found, str) else None
