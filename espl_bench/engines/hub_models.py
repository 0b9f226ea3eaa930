"""Bring a model from the hub into its cache before a run, with a progress bar, its licence and one-line errors.

The loaders would fetch it too, but silently, and in the middle of opening a run.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from espl_bench.errors import ModelError
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import parse_object
from espl_bench.utils.hub_errors import hub_failures, why_of

LOADED: Final = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Files that loading a model reads."""
NOT_LOADED: Final = ("*/*", "consolidated*")
"""Copies in other formats that repositories hold beside."""
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"


def is_hub_id(model: str) -> bool:
    """Return True if a name can only mean a model on the hub."""
    return not Path(model).is_dir() and not model.startswith((".", "/", "~")) and len(Path(model).parts) <= 2


def is_cached(model: str) -> bool:
    """Return True if the hub's cache has the whole model: configuration, tokenizer, and every file of the weights."""
    return all(_cached(model, file) is not None for file in ("config.json", "tokenizer_config.json")) and _has_weights(model)


def _has_weights(model: str) -> bool:
    index = _cached(model, _INDEX)
    if index is None:
        return _cached(model, _WEIGHTS) is not None
    return all(_cached(model, shard) is not None for shard in _shards(index))


def _shards(index: str) -> Collection[str]:
    record = parse_object(foreign_files.read_bytes(Path(index).resolve()))  # in the cache it is a link
    return set(record.get("weight_map", {}).values())


def _cached(model: str, file: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, file)
    except HFValidationError:
        return None
    return found if isinstance(found, str) else None


def licence_of(model: str) -> str:
    """Return the licence that the model's card states. Raises ModelError if the hub has no such model or cannot be reached."""
    from huggingface_hub import HfApi

    with hub_failures(lambda error: _failure(model, error)):
        info = HfApi().model_info(model, timeout=20.0)
    card: Any = info.card_data
    return str(getattr(card, "license", None) or "not stated by its card")


def fetch_model(model: str, progress: bool) -> None:
    """Bring a model into the hub's cache; what an interrupted fetch left is continued.

    Args:
        model: its hub id.
        progress: whether to draw bars on stderr.

    Raises:
        ModelError: the hub has no such model, cannot be reached, or asks for an access that is not granted.
    """
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if progress else disable_progress_bars)()
    with hub_failures(lambda error: _failure(model, error)):
        hub: Any = huggingface_hub  # its types are partly unknown
        hub.snapshot_download(model, allow_patterns=list(LOADED), ignore_patterns=list(NOT_LOADED))


def _failure(model: str, error: Exception) -> ModelError:
    return ModelError(f"cannot fetch model '{model}' ({why_of(error)}); {without_network()}")


def without_network() -> str:
    """Say how to go on without a hub."""
    return "without: --model FOLDER, or espl-bench model get smollm2 and --model smollm2"
