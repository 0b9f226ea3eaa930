"""A base model whose layers are divided among processes, with an adapter that each of them has in full.

Every process ("rank") calls the functions here at the same time. Rank 0 loads the model into main memory and examines it there; the others
know its shape only. Then one layer after another goes onto the devices, sent by rank 0, and FSDP2 keeps a part of it on each: no device
holds more than its part and one whole layer. When a layer is read, forwards or backwards, its parts are gathered, and dropped again.

Embeddings and output layer are small beside the layers and stay whole on every device, so that log-probabilities are computed from the
output layer as on one device (`hf.training.chunked_logprobs`). FSDP2 leaves them and the adapter alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoConfig, AutoModelForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf import model_loading
from espl_bench.engines.hf.adapter import lora_views
from espl_bench.engines.hf.examination import Examination, examine
from espl_bench.errors import EsplError, ModelError, first_line
from espl_bench.utils.model_folder import NO_CODE

Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class Found:
    """What rank 0 found out about a model when it loaded it."""

    examination: Examination
    eos_ids: frozenset[int]
    dtype: torch.dtype
    tensors: tuple[tuple[str, torch.Size, torch.dtype], ...]
    """Name, shape and dtype of every parameter and buffer, the adapter's included."""


def open_sharded(model: str, adapter: AdapterSpec, device: torch.device, mesh: DeviceMesh) -> tuple[Any, Found]:
    """Return a peft model of which this rank holds its part, and what was found out about it.

    Args:
        model: a local folder or a hub id.
        adapter: what is trained.
        device: of this rank.
        mesh: of all ranks.

    Raises:
        ModelError: the model cannot be loaded or examined, or not be divided. All ranks raise the same.
    """
    adapted: Any = None
    verdict: Found | EsplError | None = None
    dtype = model_loading.pick_dtype(None, device)
    if distributed.get_rank() == 0:
        try:
            adapted, verdict = _load(model, adapter, dtype)
        except EsplError as error:  # the others wait for it
            verdict = error
    found = _from_first(verdict)
    if isinstance(found, EsplError):
        raise found
    assert found is not None
    if adapted is None:
        adapted = _shape(model, adapter, found)
    _require_same(model, _tensors(adapted) == found.tensors)
    _divide(model, adapted, device, mesh)
    return adapted, found


def _load(model: str, adapter: AdapterSpec, dtype: torch.dtype) -> tuple[Any, Found]:
    """Load a model into main memory, examine it, and give it an adapter: the one that any engine draws from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(adapter.seed)
        plain, tokenizer = model_loading.load_model(model, dtype)
        plain.requires_grad_(False).eval()
        examination = examine(plain, model, model_loading.ordinary_ids(plain, tokenizer))
        eos_ids = model_loading.eos_ids(plain, tokenizer)
        adapted = lora_views.with_adapter(plain, adapter.rank, adapter.alpha, examination.targets)
    return adapted, Found(examination, eos_ids, dtype, _tensors(adapted))


def _shape(model: str, adapter: AdapterSpec, found: Found) -> Any:
    """Build the same model without any weights."""
    try:
        config = AutoConfig.from_pretrained(model, **NO_CODE)
        with torch.device("meta"):
            plain: Any = AutoModelForCausalLM.from_config(config, dtype=found.dtype, **NO_CODE)
            plain.requires_grad_(False).eval()
            return lora_views.with_adapter(plain, adapter.rank, adapter.alpha, found.examination.targets)
    except (OSError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(f"model '{model}' cannot be divided among devices ({first_line(error)}); train it on one device") from error


def _tensors(adapted: Any) -> tuple[tuple[str, torch.Size, torch.dtype], ...]:
    named = (*adapted.named_parameters(), *adapted.named_buffers())
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in named)


def _require_same(model: str, same: bool) -> None:
    """Raise ModelError on every rank if the model has not the same tensors on one of them."""
    verdicts = [True] * distributed.get_world_size()
    distributed.all_gather_object(verdicts, same)
    if not all(verdicts):
        raise ModelError(
            f"model '{model}' cannot be divided among devices (its weights are not those of its class); train it on one device"
        )


def _divide(model: str, adapted: Any, device: torch.device, mesh: DeviceMesh) -> None:
    """Put the layers onto the devices, a part of each on each, and everything else whole."""
    base = adapted.get_base_model()
    layers = _layers(base)
    shared = len({id(p) for layer in layers for p in layer.parameters()}) < sum(len(list(layer.parameters())) for layer in layers)
    if not layers or shared:
        raise ModelError(f"model '{model}' cannot be divided among devices (it has no layers of its own); train it on one device")
    for layer in layers:
        _receive(layer, device, skipped=frozenset())
        trained = {parameter for parameter in layer.parameters() if parameter.requires_grad}
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    _receive(adapted, device, skipped=frozenset(id(module) for layer in layers for module in layer.modules()))
    fully_shard(base.base_model, mesh=mesh, ignored_params=set(base.parameters()))  # the layers gather ahead of each other
    with torch.no_grad():  # FSDP2 keeps the buffers of the first reading, and those of inference mode take no gradients
        base(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device), use_cache=False)


def _layers(base: Any) -> list[nn.Module]:
    """Return the layers that transformers says a device should hold whole; none is inside another."""
    kinds: set[str] = set(base._no_split_modules or ())
    layers: list[nn.Module] = []
    inside: set[int] = set()
    for module in base.modules():
        if type(module).__name__ in kinds and id(module) not in inside:
            layers.append(module)
            inside |= {id(part) for part in module.modules()}
    return layers


def _receive(part: Any, device: torch.device, *, skipped: frozenset[int]) -> None:
    """Give every rank the tensors of a part of the model from rank 0, on its device. Tied weights stay tied.

    Args:
        part: a module.
        device: of this rank.
        skipped: ids of modules inside it that are left alone.
    """
    received: dict[int, tuple[Tensor, Tensor]] = {}
    for module, name, tensor in list(_owned(part, skipped)):
        if id(tensor) not in received:
            sent = torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.detach().to(device).contiguous()
            distributed.broadcast(sent, 0)
            trains = tensor.requires_grad
            received[id(tensor)] = tensor, nn.Parameter(sent, trains) if isinstance(tensor, nn.Parameter) else sent
        setattr(module, name, received[id(tensor)][1])


def _owned(part: nn.Module, skipped: frozenset[int]) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for module in part.modules():
        if id(module) not in skipped:
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                yield module, name, tensor


def _from_first(fact: Fact) -> Fact:
    """Return rank 0's value on every rank."""
    carried: Sequence[Fact] = [fact]
    distributed.broadcast_object_list(carried, 0)  # pyright: ignore[reportArgumentType]  # it takes a list of anything
    return carried[0]
