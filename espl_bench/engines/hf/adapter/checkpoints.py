"""The embedded engine's checkpoint: three files in a folder.

``adapter_model.safetensors`` and ``adapter_config.json`` are peft's own format, so ``PeftModel.from_pretrained`` and other
servers read them; ``optimizer.safetensors`` holds Adam's moments by parameter name. No pickle, and no RNG state, since
training draws no random numbers.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from espl_bench.engines.hf.adapter.lora_views import ADAPTER
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.errors import CheckpointError
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import parse_object

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OPTIMIZER = "optimizer.safetensors"

_MUST_MATCH = ("r", "lora_alpha", "target_modules")


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Write the adapter alone into an existing folder."""
    write_adapter(trainer.model, folder)


def write_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapter of a model into an existing folder."""
    save_file(_adapter(model), folder / WEIGHTS, metadata={"format": "pt"})
    model.peft_config[ADAPTER].save_pretrained(str(folder))


def save(trainer: Trainer, folder: Path) -> None:
    """Write adapter and optimiser into an existing folder."""
    save_adapter(trainer, folder)
    state = trainer.optimizer.state
    moments = {
        f"{moment}/{name}": tensor.contiguous()
        for name, parameter in trainer.parameters.items()
        for moment, tensor in state.get(parameter, {}).items()
    }
    save_file(moments, folder / OPTIMIZER)


def load(trainer: Trainer, folder: Path) -> None:
    """Restore what `save` wrote; training then continues bit for bit. Nothing changes unless all three files are sound.

    Raises:
        CheckpointError: a file is missing, broken, or belongs to another model or adapter.
    """
    weights = _read_adapter(trainer.model, folder)
    moments = _read(folder / OPTIMIZER)
    stepped = {key.partition("/")[2] for key in moments}
    expected = {
        f"{moment}/{name}": torch.zeros(()) if moment == "step" else parameter
        for name, parameter in trainer.parameters.items()
        for moment in ("step", "exp_avg", "exp_avg_sq")
        if name in stepped  # what has had no gradient yet has no moments: all before the first step, then experts that no token chose
    }
    _check_shapes(moments, expected, folder / OPTIMIZER)
    set_peft_model_state_dict(trainer.model, weights)
    trainer.optimizer.state.clear()
    for key, tensor in moments.items():
        moment, _, name = key.partition("/")
        parameter = trainer.parameters[name]
        trainer.optimizer.state[parameter][moment] = tensor.to(parameter.device)


def load_weights(trainer: Trainer, folder: Path) -> None:
    """Take the adapter of a checkpoint, to be trained from a fresh optimiser. Raises CheckpointError as `load`."""
    load_adapter(trainer.model, folder)
    trainer.optimizer.state.clear()


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Give a model the adapter of a checkpoint. Raises CheckpointError as `load`."""
    set_peft_model_state_dict(model, _read_adapter(model, folder))


def _read_adapter(model: PeftModel, folder: Path) -> dict[str, Tensor]:
    """Read the weights of an adapter that fits the model. Raises CheckpointError."""
    _check_config(model, folder / CONFIG)
    weights = _read(folder / WEIGHTS)
    _check_shapes(weights, _adapter(model), folder / WEIGHTS)
    return weights


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}


def _check_config(model: PeftModel, path: Path) -> None:
    try:
        saved = parse_object(foreign_files.read_record(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; resume from an older checkpoint") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON; resume from an older checkpoint") from error
    own = model.peft_config[ADAPTER].to_dict()
    for key in _MUST_MATCH:
        theirs, ours = saved.get(key), own[key]
        if _plain(theirs) != _plain(ours):
            raise CheckpointError(f"{path} has {key} = {theirs}, the engine {ours}; load it with the run's own settings")


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, (set, list)) else value


def _read(path: Path) -> dict[str, Tensor]:
    try:
        foreign_files.require_file(path)
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}; resume from an older checkpoint") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); resume from an older checkpoint") from error


def _check_shapes(loaded: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    if {name: tensor.shape for name, tensor in loaded.items()} != {name: tensor.shape for name, tensor in expected.items()}:
        raise CheckpointError(f"{path} does not fit the model; load it with the base model and LoRA rank it was saved with")
