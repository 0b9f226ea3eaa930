"""A base in 4 bits, by bitsandbytes: a quarter of the memory of bfloat16, and slightly other weights.

The matrices of the layers are held as NF4 (QLoRA, arXiv 2305.14314) with scales that are quantised too, 4.13 bits a weight, and become the
compute dtype when they are used. Embeddings, output layer, norms and the adapter stay as they are. An adapter learns on the quantised
weights, and its file is the same as any other's.

bitsandbytes is an extra, and imported only here and by peft: it takes some seconds.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false
# (bitsandbytes is an optional package)

from typing import Any

import torch
from transformers import AutoConfig, BitsAndBytesConfig

from espl_bench.errors import UsageError, first_line, unknown
from espl_bench.utils.model_folder import NO_CODE

KINDS = ("nf4",)
"""Names of ways to hold a base in 4 bits."""


def loading_arguments(model: str, kind: str | None, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return arguments of ``from_pretrained`` that put a base on the device in 4 bits; none for a kind of None.

    Raises:
        UsageError: there is no such kind, bitsandbytes is missing or cannot compute on the device, or the model is quantised already.
    """
    if kind is None:
        return {}
    if kind not in KINDS:
        raise unknown("quantisation", kind, KINDS)
    if getattr(AutoConfig.from_pretrained(model, **NO_CODE), "quantization_config", None) is not None:
        raise UsageError(f"model '{model}' is stored quantised; leave --train-quantization out")
    _require_kernels(kind, device)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": settings, "device_map": {"": str(device)}}


def keep_differentiable(model: Any) -> None:
    """Keep a base in 4 bits in the form that gradients pass through.

    On a CPU with AVX512-BF16, bitsandbytes would rewrite a layer's weights when it is first read without gradients, in place and in
    bfloat16, for a kernel that has no derivative: what is trained afterwards would get none through that layer, without an error.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _require_kernels(kind: str, device: torch.device) -> None:
    """Quantise a few numbers and read them back. Raises UsageError if that cannot be done."""
    try:
        from bitsandbytes import functional
    except ImportError as error:
        raise UsageError(
            f"--train-quantization {kind} needs bitsandbytes ({first_line(error)}); install it with: pip install 'espl-bench[quantized]'"
        ) from error
    try:
        functional.dequantize_4bit(*functional.quantize_4bit(torch.ones(64, 64, device=device), quant_type=kind))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise UsageError(
            f"bitsandbytes cannot compute in 4 bits on {device} ({first_line(error)}); "
            "leave --train-quantization out, or train on another device (--train-device)"
        ) from error
