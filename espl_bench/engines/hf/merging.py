"""Merge a trained adapter into its base model: one ordinary model, whose weights are W + (alpha / r) B A."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.chat import HfChat
from espl_bench.engines.hf import model_loading
from espl_bench.engines.hf.adapter import checkpoints, lora_views
from espl_bench.engines.hf.examination import examine
from espl_bench.errors import ModelError
from espl_bench.types import Message

LARGEST_GAP = 1e-3
"""Largest difference of a log-probability, in nats, that rounding may make when the adapter is merged in float32."""


def export_weights(
    model: str, checkpoint: Path, spec: AdapterSpec, probe: Sequence[Message], adapter_out: Path, model_out: Path, base: str
) -> float:
    """Write the adapter as peft loads it, and the merged model with its tokenizer as transformers does. Weights are safetensors.

    Args:
        model: folder or hub id of the base model.
        checkpoint: folder with the adapter.
        spec: rank and scale of the adapter.
        probe: a conversation that both models read, so that a wrong merge is found.
        adapter_out: an existing empty folder.
        model_out: an existing empty folder.
        base: the name by which the adapter refers to its base model.

    Returns:
        The largest difference of a log-probability between base with adapter and merged weights, in nats, before these are rounded to
        the base model's own dtype.

    Raises:
        ModelError: the base model cannot be loaded, or merging changed what it computes.
        CheckpointError: the adapter is damaged, or belongs to another model.
    """
    plain, tokenizer = model_loading.load_model(model, torch.float32)
    stored = model_loading.stored_dtype(model)
    plain.requires_grad_(False).eval()
    targets = examine(plain, model, model_loading.ordinary_ids(plain, tokenizer)).targets
    ids = HfChat(tokenizer, model_loading.eos_ids(plain, tokenizer), model).encode(probe)
    adapted = lora_views.with_adapter(plain, spec.rank, spec.alpha, targets)
    checkpoints.load_adapter(adapted, checkpoint)
    adapted.peft_config[lora_views.ADAPTER].base_model_name_or_path = base
    checkpoints.write_adapter(adapted, adapter_out)
    before = _read(adapted, ids)
    merged = adapted.merge_and_unload()
    gap = (_read(merged, ids) - before).abs().max().item()
    if not gap <= LARGEST_GAP:
        raise ModelError(f"merging the adapter into {model} changed log-probabilities by {gap:.2g} nats; serve the two side by side")
    merged.to(stored).save_pretrained(model_out)
    tokenizer.save_pretrained(model_out)
    return gap


@torch.inference_mode()
def _read(model: Any, ids: Sequence[int]) -> torch.Tensor:
    return torch.log_softmax(model(input_ids=torch.tensor([list(ids)])).logits.float(), dim=-1)
