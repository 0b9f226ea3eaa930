"""Load a model and its tokenizer from a folder or hub id; every failure becomes a one-line error."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.quantization import keep_differentiable, loading_arguments
from espl_bench.errors import ModelError, UsageError, first_line, unknown
from espl_bench.utils.model_folder import NO_CODE, ONLY_SAFETENSORS, refusal_of, refuse_unsafe

SMALL = 5_000_000
"""Models with fewer parameters than this run fastest on one thread."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str | None, *, tiny: bool = False) -> torch.device:
    """Return the device of that name; without one the fastest: cuda, else mps, else cpu, and cpu for a tiny model.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None:
        if tiny:
            return torch.device("cpu")
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        return torch.device(next(device for device, there in available.items() if there))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without cuda asserts
        raise UsageError(f"device '{name}' cannot be used ({first_line(error)}); leave it out to have one chosen") from error
    return device


def pick_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Return the dtype of that name; without one bfloat16 on cuda, else float32.

    Raises:
        UsageError: weights cannot be held in that dtype.
    """
    if name is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise unknown("dtype", name, DTYPES)
    return DTYPES[name]


def require_determinism(device: torch.device) -> None:
    """Make every operation on the CPU add in a fixed order, so that a resumed run equals an unbroken one bit for bit.

    By default the gradients of gathers are summed in the order in which threads finish. Other devices are left alone: CUDA
    would need a workspace setting, and some of its kernels have no deterministic form.
    """
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  # untyped; filling costs time for nothing


def limit_threads(model: Any) -> int | None:
    """Make a small model on the CPU compute with one thread per operation, unless OMP_NUM_THREADS is set.

    Returns:
        The number of threads, or None where torch decides.

    Its operations take less time than distributing them does, especially since rollouts, reflections and weight updates run in
    different Python threads, each with helpers of its own. Measured on the lab model (0.9 M parameters) on two cores: see
    benchmarks/loop.py and the README.
    """
    if model.device.type == "cpu" and model.num_parameters() < SMALL and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
        return 1
    return None


def load_base(model: str, adapter: AdapterSpec, device: torch.device, dtype: str | None = None) -> tuple[Any, Any]:
    """Load the frozen base of an adapter onto a device, in eval mode, and its tokenizer. Raises as `load_model`.

    Args:
        model: folder or hub id.
        adapter: says whether the base is held in 4 bits.
        device: where it is trained.
        dtype: name; None: as `pick_dtype` chooses.

    Raises:
        UsageError: the base cannot be held in that way.
    """
    held = pick_dtype(dtype, device)
    with _naming(model):
        arguments = loading_arguments(model, adapter.quantization, held, device)
    plain, tokenizer = load_model(model, held, arguments)
    if adapter.quantization is None:
        plain.to(device)
    else:
        keep_differentiable(plain)
    plain.requires_grad_(False).eval()
    return plain, tokenizer


def load_model(model: str, dtype: torch.dtype, arguments: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, Any]:
    """Load the causal LM and the tokenizer of a local folder or hub id; both untyped, as transformers' types are not strict.

    Args:
        model: folder or hub id.
        dtype: of the weights.
        arguments: further ones of ``from_pretrained`` (`hf.quantization`).

    Raises:
        ModelError: there is no such folder or hub id, or it cannot be loaded, also because it would run code or unpickle.
    """
    transformers_logging.disable_progress_bar()
    with _naming(model):
        tokenizer = AutoTokenizer.from_pretrained(model, **NO_CODE)
        pair: Any = AutoModelForCausalLM.from_pretrained(
            model, dtype=dtype, output_loading_info=True, **NO_CODE, **ONLY_SAFETENSORS, **arguments
        )
        loaded, report = pair
    if missing := sorted(report["missing_keys"]):  # transformers would draw them at random
        raise ModelError(f"model '{model}' lacks {len(missing)} weights, e.g. {missing[0]}; use a complete causal language model")
    return loaded, tokenizer


def load_tokenizer(model: str) -> Any:
    """Load the tokenizer alone. Raises ModelError as `load_model`."""
    with _naming(model):
        return AutoTokenizer.from_pretrained(model, **NO_CODE)


@contextmanager
def _naming(model: str) -> Generator[None]:
    """Turn what goes wrong inside the block into one line about the model, and refuse what would run code before it."""
    folder = Path(model)
    if not folder.is_dir() and (model.startswith((".", "/", "~")) or len(folder.parts) > 2):
        raise ModelError(f"model folder '{model}' does not exist; give a folder with a config.json, or a hub id")
    refuse_unsafe(model)
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if refusal := refusal_of(model, error):
            raise ModelError(refusal) from error
        remedy = "check the folder's files" if folder.is_dir() else "check the hub id and the network, or give a local folder"
        raise ModelError(f"cannot load model '{model}': {first_line(error)}; {remedy}") from error


def stored_dtype(model: str) -> torch.dtype:
    """Return the dtype that the weights of a local folder or hub id are stored in; float32 if its configuration does not say."""
    dtype = getattr(AutoConfig.from_pretrained(model, **NO_CODE), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end an assistant turn, by the generation config and by the tokenizer."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*several, tokenizer.eos_token_id) if token is not None)


def ordinary_ids(model: Any, tokenizer: Any, count: int = 64) -> tuple[int, ...]:
    """Return some ids of ordinary words, spread over the vocabulary: none that is special or was added, as those of pictures are."""
    size = min(len(tokenizer), model.get_input_embeddings().weight.shape[0])
    added = set(tokenizer.added_tokens_decoder)
    plain = [token for token in range(size) if token not in added]
    return tuple(plain[:: max(1, len(plain) // count)]) or (0,)
