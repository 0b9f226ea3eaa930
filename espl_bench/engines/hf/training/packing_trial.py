"""Find out by trying whether another layout of micro-batches gives a model's log-probabilities and gradients."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import random
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from espl_bench.engines.hf.reading.forward import FAILURES, TOLERANCE
from espl_bench.engines.hf.training.micro_batch import MicroBatch, Packing
from espl_bench.errors import first_line
from espl_bench.types import Datum

_GRADIENT_GAP = {torch.float32: 1e-3}
"""Norm of the difference of two gradients that rounding can explain, as a part of the gradient's."""
_HALF_GAP = 0.2
"""In half precision. Of small models in bfloat16 that were tried, rounding moved the gradient by up to 0.12, where it turns the choice of
an expert, else by 0.02; a mask that shows every token moved it by 0.3 to 0.8."""


def disagreement(
    tried: Packing, known: Packing, log_probabilities: Callable[[MicroBatch], Tensor], parameters: Collection[Tensor], model: Any
) -> str | None:
    """Return None if a packing gives what a known one gives, in several micro-batches of different lengths, else what is wrong.

    Args:
        tried: the packing in question.
        known: one that the model was seen to read well.
        log_probabilities: computes those of a micro-batch's targets, with gradients.
        parameters: what is trained.
        model: a peft model.
    """
    data = _trajectories(model.get_input_embeddings().weight.shape[0])
    expected_N, slope = _read(known, data, log_probabilities, parameters, model.device)
    try:
        found_N, other = _read(tried, data, log_probabilities, parameters, model.device)
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return f"{type(error).__name__}: {first_line(error)}"
    gap = (found_N - expected_N).abs().mean() / max(1.0, float(expected_N.abs().max()))
    turn = (slope - other).norm() / slope.norm().clamp(min=1e-12)
    if gap <= TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]) and turn <= _GRADIENT_GAP.get(model.dtype, _HALF_GAP):
        return None
    return f"its log-probabilities are {float(gap):.2g} off, relative to the largest, and its gradient {float(turn):.2g}"


def _read(
    pack: Packing,
    data: list[Datum],
    log_probabilities: Callable[[MicroBatch], Tensor],
    parameters: Collection[Tensor],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities by trajectory and token, and the gradient of their sum, flat."""
    read: list[Tensor] = []
    slopes: list[Tensor] = []
    for group in (data[:4], data[4:]):
        for batch in pack(group, lambda: 4_096, device):
            logprobs_N = log_probabilities(batch)
            found = torch.autograd.grad(logprobs_N.sum(), tuple(parameters), allow_unused=True, materialize_grads=True)
            slopes.append(torch.cat([slope.flatten() for slope in found]))
            read.append(logprobs_N.detach())
    return torch.cat(read), torch.stack(slopes).sum(0)


def _trajectories(vocabulary: int) -> list[Datum]:
    """Return two groups on prompts with a common beginning, and longer ones."""
    rng = random.Random(0)

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(count))

    beginning = words(90)
    made: list[Datum] = []
    for prompt_tokens, said_tokens in ((9, 5), (9, 5), (14, 7), (14, 7), (60, 40), (60, 40), (80, 50)):
        prompt, said = beginning + words(prompt_tokens), words(said_tokens)
        mask = (False,) * len(prompt) + (True,) * len(said)
        made.append(Datum(prompt + said, mask, (0.0,) * len(mask), 1.0, 1.0))
    return made
