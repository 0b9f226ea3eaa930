"""Which weights of a model an adapter reaches, found out by watching it read.

An adapter takes the place of a linear layer, so it acts only where the model *calls* that layer. Experts that are kept in one tensor of
three dimensions are no layers. A kernel that is handed a layer's weight goes round the layer. A tower for pictures is not called by
text. A router may be a linear layer that returns more than a product, and a layer that only ranks tokens passes no gradient on. None
of this depends on what a model or a layer is called.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers.cache_utils import DynamicCache
from transformers.pytorch_utils import Conv1D

from espl_bench.engines.hf.reading.forward import forward
from espl_bench.errors import ModelError

_LINEAR = (nn.Linear, Conv1D)
MATRIX = 2
"""Dimensions of the smallest weights that count: biases, norms and scales are vectors."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The linear layers to adapt, and what this means for the model's weights, embeddings and output layer aside."""

    targets: tuple[str, ...]
    """Full names."""
    share: float
    """Part of the weights that lies in these layers."""
    fixed: tuple[str, ...]
    """Kinds of matrices that no adapter reaches, the largest first."""


def survey(model: Any, name: str, words: Sequence[int], *, caches: bool) -> Reach:
    """Watch a model read a few tokens, with and without a cache.

    Args:
        model: a causal LM in eval mode that can be read.
        name: for messages.
        words: some ordinary ids of its tokenizer.
        caches: whether it is sampled with a cache.

    Raises:
        ModelError: no linear layer can be adapted.
    """
    output = model.get_output_embeddings()
    linear = {path: module for path, module in model.named_modules() if isinstance(module, _LINEAR) and module is not output}
    watch = _Watch(linear)
    ids = torch.tensor([[words[index % len(words)] for index in range(4)]], device=model.device)
    with ExitStack() as hooks:
        for path, module in linear.items():
            hooks.callback(module.register_forward_pre_hook(watch.entering(path)).remove)
            hooks.callback(module.register_forward_hook(watch.leaving(path)).remove)
        with watch:
            watch.learn(_read(model, ids, None))
        if caches:
            with torch.no_grad(), watch:
                cache = DynamicCache(config=model.config)
                _read(model, ids, cache)
                _read(model, ids[:, :1], cache, ids.shape[1])
    kinds = {kind(path) for path in watch.learning}  # a few tokens do not call every expert
    targets = tuple(path for path in linear if kind(path) in kinds - watch.other)
    if not targets:
        raise ModelError(f"model '{name}' has no linear layer that an adapter reaches; use another model")
    return _reach(model, targets)


def kind(path: str) -> str:
    """Return a name with ``*`` for numbers: layers and experts that differ by their numbers are of one kind."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", path)


def _read(model: Any, ids: Tensor, cache: DynamicCache | None, start: int = 0) -> Tensor:
    position_1T = start + torch.arange(ids.shape[1], device=ids.device)[None]
    seen_1L = torch.ones(1, start + ids.shape[1], dtype=torch.long, device=ids.device)
    return forward(model, ids, seen_RL=seen_1L, position_RT=position_1T, cache=cache, keep=ids.shape[1])


def _reach(model: Any, targets: tuple[str, ...]) -> Reach:
    """Count the weights that have an adapter, and name the kinds of those that have none."""
    ends = [layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]
    outside = {id(weight) for weight in ends}
    outside |= {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    adapted = {f"{path}.weight" for path in targets}
    counted = {path: weight for path, weight in model.named_parameters() if id(weight) not in outside}
    fixed = {path: weight for path, weight in counted.items() if path not in adapted and weight.squeeze().dim() >= MATRIX}
    share = sum(_size(counted[path]) for path in adapted) / sum(_size(weight) for weight in counted.values())
    return Reach(targets, round(share, 4), _kinds(fixed))


def _kinds(fixed: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Name kinds by what is behind the number of their layer, most weights first."""
    sizes: dict[str, int] = {}
    for path, weight in fixed.items():
        layer = kind(path).removesuffix(".weight")
        short = layer.partition(".*.")[2] or layer
        sizes[short] = sizes.get(short, 0) + _size(weight)
    return tuple(sorted(sizes, key=lambda name: (-sizes[name], name)))


def _size(weight: Tensor) -> int:
    """Count the weights of a tensor, in which several may be packed into one number (`hf.quantization`)."""
    packed: Any = getattr(weight, "quant_state", None)
    return weight.numel() if packed is None else math.prod(packed.shape)


def _is_product(module: Any, inputs: tuple[Any, ...], result: Any) -> bool:
    rows, columns = (module.nx, module.nf) if isinstance(module, Conv1D) else (module.in_features, module.out_features)
    if not isinstance(result, Tensor) or not inputs or not isinstance(inputs[0], Tensor):
        return False
    return inputs[0].shape[-1] == rows and result.shape == (*inputs[0].shape[:-1], columns)


class _Watch(TorchFunctionMode):
    """Notes which layers are called, and whose weights are computed with outside a call of their layer."""

    def __init__(self, linear: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._linear = linear
        self._owner = {id(module.weight): path for path, module in linear.items()}
        self._inside: list[str] = []
        self._called: dict[str, Tensor] = {}
        """A zero that was added to what a layer returned, by the layer: its gradient says whether the layer matters."""
        self.learning: set[str] = set()
        """Layers that were called, returned a product of their inputs' shape, and pass a gradient on."""
        self.other: set[str] = set()
        """Kinds of layers that an adapter would not, or not rightly, reach."""

    def entering(self, path: str) -> Any:
        """Return a hook before a layer's forward."""

        def hook(module: Any, inputs: tuple[Any, ...]) -> None:
            self._inside.append(path)

        return hook

    def leaving(self, path: str) -> Any:
        """Return a hook behind a layer's forward."""

        def hook(module: Any, inputs: tuple[Any, ...], result: Any) -> Tensor | None:
            self._inside.pop()
            if not _is_product(module, inputs, result):
                self.other.add(kind(path))
                return None
            if not torch.is_grad_enabled():
                return None
            zero = self._called.setdefault(path, torch.zeros_like(result, requires_grad=True))
            return result + zero if zero.shape == result.shape else None

        return hook

    def learn(self, logits: Tensor) -> None:
        """Note which of the layers that were called have passed a gradient on to these logits."""
        various = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype).view_as(logits)
        gradients: Any = torch.autograd.grad((logits * various).sum(), list(self._called.values()), allow_unused=True)
        self.learning = {path for path, gradient in zip(self._called, gradients, strict=True) if gradient is not None}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Note weights among the arguments of what computes a tensor."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            used = (self._owner.get(id(value)) for value in (*args, *(kwargs or {}).values()))
            self.other |= {kind(path) for path in used if path is not None and path not in self._inside}
        return result
