"""Three module trees over one set of base weights: trainer, policy, reference.

The trainer's tree carries peft's LoRA modules. Sampling must not wait for it, nor be slowed by peft's forward, so there
are two more trees that share every base parameter with it: the reference (the plain model) and the policy (the plain
model whose linear layers add a *snapshot* of the adapter). Base weights exist once in memory.

The policy's layers compute W x + B' (A x) with B' = (alpha / r) B, as peft does, with less Python overhead. Merging
W + B' A would save the rest, but costs a third copy of the model, and in bfloat16 it rounds small updates away, so that
the sampler would not be the policy that is trained. Measured on a 4 x 128 model on two CPU cores at rank 8 (32): sampling
through peft takes 19 % (34 %) longer than from merged weights, through these layers 4 % (16 %).

Beside base weights of half precision the snapshot has half precision, too. In float32 its products cost 40 % of a decode step on a GPU.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import copy
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from espl_bench.engines.hf.adapter.half_precision import HalfPrecisionLora

ADAPTER = "default"
"""The name that peft gives to an engine's only adapter."""
_HALF = (torch.bfloat16, torch.float16)


def share_weights(model: Any) -> Any:
    """Return a second module tree over the same parameters: no weight is copied, tied weights stay tied."""
    scales = (getattr(parameter, "quant_state", None) for parameter in model.parameters())  # of a base in 4 bits, which its layer has too
    shared = (*model.parameters(), *(scale for scale in scales if scale is not None))
    return copy.deepcopy(model, {id(part): part for part in shared})


def with_adapter(model: Any, rank: int, alpha: float, targets: Sequence[str]) -> Any:
    """Wrap a model by peft: a fresh adapter on the linear layers of these names, float32, without dropout.

    Its weights are drawn from torch's global generator on the CPU; B is zero, so the outputs do not change yet. A model in half precision
    multiplies in it (`hf.adapter.half_precision`).
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType]  # peft only divides it by the rank
        lora_dropout=0.0,
        target_modules=list(targets),
        task_type=TaskType.CAUSAL_LM,
    )
    if model.dtype in _HALF and not getattr(model, "is_quantized", False):
        config._register_custom_module(  # pyright: ignore[reportPrivateUsage]  # documented, and marked as experimental
            {nn.Linear: HalfPrecisionLora}
        )
    with warnings.catch_warnings():  # peft asks for an attribute that transformers is renaming
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        with _of_no_known_type(model):
            return get_peft_model(model, config)


@contextmanager
def _of_no_known_type(model: Any) -> Generator[None]:
    """Keep peft from deciding by the name of a model's type.

    It would turn dense layers into targets among fused experts where an old version of the type had a layer of that name, and refuse
    others. Our targets were seen at work in this model (`hf.adapter.reach`).
    """
    config = model.config
    known = config.model_type
    config.model_type = ""
    try:
        yield
    finally:
        config.model_type = known


class AdaptedLinear(nn.Module):
    """A linear layer plus a fixed low-rank update. For inference only."""

    def __init__(self, base: Any, lora: LoraLayer) -> None:
        super().__init__()
        self.base = base
        self.snapshot(lora)

    @property
    def weight(self) -> Tensor:
        """Return the base weight, for models that look at its dtype or device."""
        weight: Tensor = self.base.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """Return the base bias."""
        bias: Tensor | None = self.base.bias
        return bias

    def snapshot(self, lora: LoraLayer) -> None:
        """Copy the adapter's weights as they are now, in the dtype that they are multiplied in."""
        dtype = self.weight.dtype if self.weight.dtype in _HALF else torch.float32
        with torch.no_grad():
            self.down = _weight(lora.lora_A).t().to(dtype, copy=True)  # (in, rank)
            self.up = (_weight(lora.lora_B).t() * lora.scaling[ADAPTER]).to(dtype)  # (rank, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        rows = x.reshape(-1, x.shape[-1])
        y: Tensor = self.base(rows)
        if self.down.dtype in _HALF:
            y = y.addmm_(rows @ self.down, self.up)
        else:
            y = torch.addmm(y.float(), rows.float() @ self.down, self.up).to(y.dtype)
        return y.view(*x.shape[:-1], -1)


def attach_adapter(plain: nn.Module, trained: Any) -> None:
    """Give a copy made by `share_weights` the adapter of ``trained``, the same model wrapped by peft."""
    for name, lora in _lora_layers(trained).items():
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, AdaptedLinear(plain.get_submodule(name), lora))


def sync_adapter(adapted: nn.Module, trained: Any) -> None:
    """Bring the snapshots of an adapted copy up to date."""
    for name, lora in _lora_layers(trained).items():
        layer = adapted.get_submodule(name)
        assert isinstance(layer, AdaptedLinear)
        layer.snapshot(lora)


def _weight(adapters: nn.ModuleDict) -> Tensor:
    weight = adapters[ADAPTER].weight
    assert isinstance(weight, Tensor)
    return weight.float()


def _lora_layers(trained: Any) -> dict[str, LoraLayer]:
    return {name: module for name, module in trained.get_base_model().named_modules() if isinstance(module, LoraLayer)}
