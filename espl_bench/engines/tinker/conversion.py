"""Convert the project's types to Tinker's and back. Pure: no request is made.

Differences from the embedded engine:

1. *Temperature.* The service's trainer does not divide logits by it, and the sampler's log-probabilities are those of temperature 1
   (read in SkyRL; agreed with the trainer's to 1e-3 in the tests). At another temperature both still agree, but they are not the
   log-probabilities the tokens were drawn with.
2. *Seeds* are sent with 31 bits.
3. *Entropy* of a token's distribution does not come back. Its estimate is the mean of -log p over the sampled tokens.
4. *Reduction.* The hosted service sums the loss over tokens, as the embedded engine does. SkyRL's JAX server divides each sequence's by
   its length and averages over sequences. The reported loss is the sum, computed here.
"""

import math
from collections.abc import Mapping, Sequence

import tinker
import torch

from espl_bench.engines.engine import AdamParams
from espl_bench.errors import EngineError
from espl_bench.learning.correction import off_policy_metrics, rollout_sums
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import mismatch, summed_loss
from espl_bench.types import Completion, Datum, SampleRequest, StopReason

SEED_BITS = 31
STOP_REASONS = {"stop": StopReason.STOP, "length": StopReason.LENGTH}
GRAD_NORM = "grad_norm"
LOSSES = ("importance_sampling", "ppo", "cispo")
"""Losses that a service computes."""
"""Suffix of the metric's name for the gradient norm, where a service reports it (SkyRL: ``skyrl.ai/grad_norm``)."""


def sampling_params(request: SampleRequest, stops: Sequence[int], limit: int) -> tinker.SamplingParams:
    """Convert one request: sample until one of the `stops` or for `limit` tokens."""
    return tinker.SamplingParams(
        max_tokens=limit,
        seed=request.seed % 2**SEED_BITS,
        stop=list(stops),
        temperature=request.temperature,
        top_p=request.top_p,
    )


def completion(sequence: tinker.SampledSequence, text: str) -> Completion:
    """Convert one sampled sequence. Raises EngineError if it comes without a log-probability for every token."""
    tokens_T, logprobs_T = tuple(sequence.tokens), tuple(sequence.logprobs or ())
    if len(tokens_T) != len(logprobs_T):
        raise EngineError(f"the service returned {len(logprobs_T)} log-probabilities for {len(tokens_T)} tokens; it cannot be trained with")
    return Completion(tokens_T, logprobs_T, text, STOP_REASONS[sequence.stop_reason])


def wire_datum(datum: Datum) -> tinker.Datum:
    """Convert one trajectory: T - 1 positions that predict the next token, with zero advantage where it was not sampled."""
    weights_T = [datum.advantage_at(t) if sampled else 0.0 for t, sampled in enumerate(datum.mask_T)]
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(list(datum.tokens_T[:-1])),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData(data=list(datum.tokens_T[1:]), dtype="int64", shape=[len(datum.tokens_T) - 1]),
            "logprobs": tinker.TensorData(data=list(datum.logprobs_T[1:]), dtype="float32", shape=[len(datum.tokens_T) - 1]),
            "advantages": tinker.TensorData(data=weights_T[1:], dtype="float32", shape=[len(datum.tokens_T) - 1]),
        },
    )


def loss_config(loss: LossSpec) -> dict[str, float] | None:
    """Return the clip bounds, for a loss that has any."""
    if loss.name == "importance_sampling":
        return None
    return {"clip_low_threshold": loss.clip_low, "clip_high_threshold": loss.clip_high}


def adam_params(adam: AdamParams) -> tinker.AdamParams:
    """Convert the settings of one optimiser step."""
    return tinker.AdamParams(
        learning_rate=adam.lr, beta1=adam.beta1, beta2=adam.beta2, eps=adam.eps, weight_decay=0.0, grad_clip_norm=adam.grad_clip
    )


def metrics(
    data: Sequence[Datum], outputs: Sequence[Mapping[str, tinker.TensorData]], optimiser: Mapping[str, float] | None, loss: LossSpec
) -> dict[str, float]:
    """Compute the embedded engine's metrics from the trainer's log-probabilities; ``grad_norm`` only where the service reports it.

    Raises:
        EngineError: log-probabilities are missing, or are not finite: the step that was made with them is worth nothing.
    """
    logprobs: list[float] = []
    for datum, output in zip(data, outputs, strict=True):
        row_logprobs = list(output["logprobs"].data) if "logprobs" in output else []
        if len(row_logprobs) != len(datum.tokens_T) - 1:
            raise EngineError(f"the service returned {len(row_logprobs)} log-probabilities of {len(datum.tokens_T) - 1} trained positions")
        logprobs += [value for value, sampled in zip(row_logprobs, datum.mask_T[1:], strict=True) if sampled]
    if not all(math.isfinite(value) for value in logprobs):
        raise EngineError("the service trained on log-probabilities that are not finite; lower the learning rate")
    sampled = [(datum, t) for datum in data for t in range(1, len(datum.tokens_T)) if datum.mask_T[t]]
    logprobs_N = torch.tensor(logprobs, dtype=torch.float64)
    sampler_N = torch.tensor([datum.logprobs_T[t] for datum, t in sampled], dtype=torch.float64)
    advantages_N = torch.tensor([datum.advantage_at(t) for datum, t in sampled], dtype=torch.float64)
    row_N = torch.tensor([row for row, datum in enumerate(data) for sampled in datum.mask_T[1:] if sampled])
    grad_norm = next((value for key, value in (optimiser or {}).items() if key.endswith(GRAD_NORM)), None)
    return {
        "loss": summed_loss(logprobs_N, sampler_N, advantages_N, loss).item(),
        **({} if grad_norm is None else {"grad_norm": grad_norm}),
        **mismatch(logprobs_N, sampler_N, -logprobs_N, loss),
        **off_policy_metrics(logprobs_N, sampler_N, rollout_sums(logprobs_N - sampler_N, row_N), loss),
        "skipped_steps": 0.0,
    }
