"""What a model from elsewhere may bring: JSON, text and safetensors. Never code that would run, never a pickle.

A folder is examined before any library opens it, since libraries differ in what they run or unpickle unasked. What only a library can
tell (a hub id, a class that it does not know) it refuses itself, as `NO_CODE` is passed to every loader; `refusal_of` says so in one line.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.errors import ModelError
from espl_bench.utils.foreign_files import ANY_BYTES
from espl_bench.utils.named_files import read_named, require_named

NO_CODE: Final = {"trust_remote_code": False}
"""Arguments of everything that loads a model, a configuration or a tokenizer. Without it libraries ask on the terminal."""
ONLY_SAFETENSORS: Final = {"use_safetensors": True}
"""Arguments of everything that loads weights."""
PICKLED: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
"""Suffixes of weights that would be unpickled."""
_CLASSES: Final = {"modules.json": ("type", "sentence_transformers."), "config.json": ("activation_function", "torch.nn.")}
"""Files of an embedder with a key whose dotted value is imported, and what may be."""
_MAX_BYTES: Final = {".json": 2**28, ".jinja": 2**24, ".txt": 2**28, ".model": 2**28, ".tiktoken": 2**28}
"""Most bytes of what a library reads whole into memory, by suffix. The largest tokenizers have 40 MB."""
_TEMPLATES: Final = "additional_chat_templates"
"""Folder in which a model may have several chat templates."""


def refuse_unsafe(model: str) -> None:
    """Raise ModelError, in one line, if a local folder brings code that a library would run, or only pickled weights."""
    folder = Path(model)
    if not folder.is_dir():
        return
    for place in _places(model, folder):
        for path in sorted(place.iterdir()):
            _refuse_special(model, path)
        files = sorted(path for path in place.iterdir() if path.is_file())
        for path in files:
            _check_json(model, path)
        pickled = [path for path in files if path.suffix in PICKLED]
        if pickled and not any(path.suffix == ".safetensors" for path in files):
            raise ModelError(_pickled(model, pickled[0].relative_to(folder).as_posix()))


def refusal_of(model: str, error: BaseException) -> str | None:
    """Return one line for a library's refusal to run code or to read a pickle; None for any other error."""
    text = str(error)
    if "trust_remote_code" in text or "custom code" in text:
        return f"model '{model}' brings code of its own{_named_code(model)}, which is never run; use one that the installed version knows"
    if not Path(model).is_dir() and "model.safetensors" in text and "pytorch_model.bin" in text:
        return _pickled(model, "another form")
    return None


def _pickled(model: str, file: str) -> str:
    return f"model '{model}' has its weights in {file} and not in safetensors, and other forms are not read; convert them to safetensors"


def _named_code(model: str) -> str:
    folder = Path(model)
    if not folder.is_dir():
        return ""
    names = [path.name for path in sorted(folder.glob("*.json")) if "auto_map" in _object(path)]
    return f" (auto_map in {names[0]})" if names else ""


def _refuse_special(model: str, path: Path) -> None:
    """Refuse what is neither file nor folder, and what is too large to be what it is called. The hub's cache is made of links."""
    if path.is_dir() or not path.exists():  # a file that a link does not lead to is missing, which the library reports
        return
    try:
        require_named(path, _MAX_BYTES.get(path.suffix, ANY_BYTES))
    except OSError as error:
        raise ModelError(f"model '{model}': {path.name} is not read ({error.strerror or error}); put a sound copy in its place") from error


def _places(model: str, folder: Path) -> Iterator[Path]:
    """Yield the folders that loading reads: the model's own, and those of an embedder's modules."""
    yield folder
    if (folder / _TEMPLATES).is_dir():
        yield folder / _TEMPLATES
    modules = _json(folder / "modules.json")
    for key, value in _pairs(modules):
        if key == "path" and isinstance(value, str) and value:
            if ".." in Path(value).parts or Path(value).is_absolute():
                raise ModelError(f"model '{model}' names a folder outside of itself ({value[:60]!r} in modules.json); use another")
            place = folder / value
            if place.is_dir():
                yield place
                yield from sorted(path for path in place.iterdir() if path.is_dir())


def _check_json(model: str, path: Path) -> None:
    """Refuse references to code, to other models and to pickles in one file."""
    if path.name == "adapter_config.json":
        raise ModelError(f"model '{model}' is an adapter of another model, which {path.name} names; merge both, or name the base model")
    if path.name.endswith(".index.json"):
        for file in _values(_object(path).get("weight_map")):
            if not file.endswith(".safetensors") or "/" in file or "\\" in file:
                raise ModelError(_pickled(model, repr(file[:100])))
    if path.name not in ("config.json", "modules.json"):
        return
    imported, root = _CLASSES[path.name]
    for key, value in _pairs(_json(path)):
        text = value if isinstance(value, str) else ""
        brings_kernel = key.endswith("attn_implementation") and ("/" in text or ":" in text)
        brings_class = key == imported and "." in text and not text.startswith(root)
        if brings_kernel or brings_class:
            raise ModelError(f"model '{model}' names code of its own ({text[:60]!r} in {path.name}), which is never run; use another")


def _json(path: Path) -> object:
    """Return a file's JSON; None if it is none, which the library reports."""
    try:
        return json.loads(read_named(path))  # as libraries read it, so that nothing means something to them and not to us
    except (OSError, ValueError, RecursionError):
        return None


def _object(path: Path) -> dict[str, Any]:
    value = _json(path)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _values(value: object) -> list[str]:
    return [str(item) for item in cast(dict[str, object], value).values()] if isinstance(value, dict) else []


def _pairs(value: object) -> Iterator[tuple[str, object]]:
    """Yield every key with its value, at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key, inner in cast(dict[str, object], item).items():
                yield key, inner
                waiting.append(inner)
        elif isinstance(item, list):
            waiting.extend(cast(list[object], item))
