"""LoRA products in half precision, with the adapter's own weights in float32.

peft's layer casts its input to the adapter's dtype. Where the base is in bfloat16 and the adapter in float32, every adapted layer then
keeps a float32 copy of its input for the backward pass, and multiplies without tensor cores. `HalfPrecisionLora` rounds the adapter's
weights instead, once per forward, and adds the update into the base layer's output. It keeps the layer's input, which is there anyway,
and one row of ``rank`` numbers per token. Gradients arrive in half precision and are added up in float32.

A base in float32 keeps peft's own forward, bit for bit.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class HalfPrecisionLora(lora.Linear):
    """A linear layer of peft's with one adapter, without dropout."""

    def forward(self, x: Tensor, *args: Any, **others: Any) -> Tensor:
        """Map (…, in) to (…, out) in the dtype of the input."""
        base: Any = self.get_base_layer()
        if self.disable_adapters or self.merged or type(base) is not nn.Linear:
            return super().forward(x, *args, **others)
        [name] = self.active_adapters
        down_RI, up_OR = (adapters[name].weight.to(x.dtype) for adapters in (self.lora_A, self.lora_B))
        return _AdaptedProduct.apply(x, base.weight, base.bias, down_RI, up_OR, self.scaling[name])


class _AdaptedProduct(torch.autograd.Function):
    """W x + b + s B (A x), where only x, A and B take gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, down_RI: Tensor, up_OR: Tensor, scale: float) -> Tensor:
        rows_NI = x.reshape(-1, x.shape[-1])
        low_NR = rows_NI @ down_RI.t()
        out_NO = linear(rows_NI, weight_OI, bias_O).addmm_(low_NR, up_OR.t(), alpha=scale)
        ctx.save_for_backward(x, weight_OI, low_NR, down_RI, up_OR)
        ctx.scale = scale
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator hides the names
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight_OI, low_NR, down_RI, up_OR = ctx.saved_tensors
        out_NO = gradients[0].reshape(-1, weight_OI.shape[0])
        slope_NR = (out_NO @ up_OR).mul_(ctx.scale)
        back = None
        if ctx.needs_input_grad[0]:
            back = (out_NO @ weight_OI).addmm_(slope_NR, down_RI).view(x.shape)
        down = slope_NR.t() @ x.reshape(-1, x.shape[-1])
        up = (out_NO.t() @ low_NR).mul_(ctx.scale)
        return back, None, None, down, up, None
