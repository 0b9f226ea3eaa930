"""Batched sampling with transformers models: a decode loop of our own instead of ``generate``.

Differences from ``generate``:

1. *Shared prompts are read once.* Rows of a batch with the same prompt (the G rollouts of a group) share one prefill and
   its cache (`hf.decoding.kv_cache`), and prompts with the same beginning (one system message before many problems) share that.
2. *A row's randomness is its own.* Each request's seed names a stream of uniforms, drawn before the loop; tokens come
   from them by inverse CDF. A row draws the same numbers at any position in a batch.
3. *Finished rows leave.* When fewer than three quarters of the rows are still alive, the others are dropped. On a GPU it is fewer than
   half, and only every few steps somebody looks (`hf.decoding.static_cache`).
4. *The log-probabilities are the trainer's.* They are log_softmax(logits / temperature) over the whole vocabulary. Where
   top_p < 1 the token is drawn from the renormalised nucleus, but this is still what is reported: the quantity that the
   trainer recomputes. A greedy row (temperature 0) reports those of temperature 1.

Requests are sorted into one canonical order before they are batched, so results do not depend on the order they arrive in.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espl_bench.engines.hf.decoding.kv_cache import prefill
from espl_bench.engines.hf.reading import attention
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.sampled import CUT, Sampled
from espl_bench.types import SampleRequest, StopReason


@dataclass(slots=True)
class _Rows:
    """The rows of a running batch, B of them; every field is indexed by row."""

    output_B: Tensor
    """Index of the output that the row writes to."""
    length_B1: Tensor
    """Prompt tokens of the row: the position of its first new token."""
    limit_B: Tensor
    """Tokens it may generate."""
    uniform_BT: Tensor
    """In (0, 1], one per token to come."""
    temperature_B1: Tensor
    top_p_B1: Tensor
    greedy_B: Tensor
    alive_B: Tensor

    def select(self, index: Tensor) -> "_Rows":
        return _Rows(*(getattr(self, field.name)[index] for field in fields(self)))


class BatchSampler:
    """Samples from one module tree. Not thread-safe: the engine holds a lock around it."""

    def __init__(self, model: Any, *, eos_ids: frozenset[int], max_batch_tokens: int, reading: Reading, may_replay: bool = False) -> None:
        """Prepare to sample.

        Args:
            model: a causal LM in eval mode (a ``PreTrainedModel``; transformers' types do not pass a strict check).
            eos_ids: ids that end a completion.
            max_batch_tokens: upper bound of rows * (longest prompt + longest completion) of a batch, if it has two rows.
            reading: what the model allows.
            may_replay: its decode steps may be captured and replayed.
        """
        self.model = model
        self.eos_ids = eos_ids
        self._eos = torch.tensor(sorted(eos_ids), device=model.device)
        self._max_batch_tokens = max_batch_tokens
        self._shares_prompts = reading is Reading.SHARED and attention.adopt(model)
        self.replays = may_replay and self._shares_prompts
        """Its decode steps are captured and replayed."""
        self._reading = reading
        self._context: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._last_position = sys.maxsize if self._context is None else self._context - 1
        """Where rows that have ended stay while others go on: a learned embedding has no later position."""

    @torch.inference_mode()
    def sample(self, requests: Sequence[SampleRequest]) -> list[Sampled]:
        """Return one result per request, in order. A prompt that fills the model's context gets zero tokens and LENGTH."""
        results = [CUT] * len(requests)
        for batch in self._batches(requests):
            sampled_B = self._decode([requests[index] for index in batch])
            for index, sampled in zip(batch, sampled_B, strict=True):
                results[index] = sampled
        return results

    def _limit(self, request: SampleRequest) -> int:
        if self._context is None:
            return request.max_tokens
        return min(request.max_tokens, self._context - len(request.prompt_T))

    def _batches(self, requests: Sequence[SampleRequest]) -> Iterator[list[int]]:
        """Yield the indices of the requests of each batch, in the canonical order: similar lengths are adjacent."""
        order = [index for index, request in enumerate(requests) if self._limit(request) > 0]
        order.sort(key=lambda index: _canonical(requests[index]))
        batch: list[int] = []
        prompt = new = 0
        for index in order:
            before = prompt
            prompt, new = max(prompt, len(requests[index].prompt_T)), max(new, self._limit(requests[index]))
            uneven = self._reading is Reading.EQUAL and len(requests[index].prompt_T) != before
            if batch and (uneven or (len(batch) + 1) * (prompt + new) > self._max_batch_tokens):
                yield batch
                batch, prompt, new = [], len(requests[index].prompt_T), self._limit(requests[index])
            batch.append(index)
        if batch:
            yield batch

    def _decode(self, requests_B: Sequence[SampleRequest]) -> list[Sampled]:
        rows = self._rows(requests_B)
        longest = rows.uniform_BT.shape[1]
        prompts_B = [request.prompt_T for request in requests_B]
        logits_BV, memory = prefill(self.model, prompts_B, longest, share=self._shares_prompts, reading=self._reading, replay=self.replays)
        tokens_BT = torch.zeros(len(requests_B), longest, dtype=torch.long, device=logits_BV.device)
        logprobs_BT = torch.zeros(len(requests_B), longest, device=logits_BV.device)
        count_B = torch.zeros(len(requests_B), dtype=torch.long, device=logits_BV.device)
        nucleus, greedy = bool((rows.top_p_B1 < 1).any()), bool(rows.greedy_B.any())
        for t in range(longest):
            logprobs_BV = torch.log_softmax(logits_BV.float() / rows.temperature_B1, dim=-1)
            token_B1 = draw(logprobs_BV, rows.uniform_BT[:, t : t + 1], rows.top_p_B1 if nucleus else None)
            if greedy:
                token_B1 = torch.where(rows.greedy_B[:, None], logits_BV.argmax(-1, keepdim=True), token_B1)
            tokens_BT[rows.output_B, t] = token_B1[:, 0]
            logprobs_BT[rows.output_B, t] = logprobs_BV.gather(-1, token_B1)[:, 0]
            count_B[rows.output_B] += rows.alive_B
            rows.alive_B &= ~torch.isin(token_B1[:, 0], self._eos) & (rows.limit_B > t + 1)
            if t + 1 == longest:
                break
            if (t + 1) % memory.look_every == 0:
                alive = int(rows.alive_B.sum())
                if alive == 0:
                    break
                if memory.sheds(alive, len(rows.alive_B)):
                    index = rows.alive_B.nonzero()[:, 0]
                    rows, token_B1 = rows.select(index), token_B1[index]
                    memory.select(index)
            logits_BV = memory.step(token_B1, (rows.length_B1 + t).clamp(max=self._last_position))
        return self._collect(tokens_BT, logprobs_BT, count_B)

    def _rows(self, requests_B: Sequence[SampleRequest]) -> _Rows:
        device = self.model.device
        limits = [self._limit(request) for request in requests_B]
        temperature_B1 = torch.tensor([[request.temperature] for request in requests_B], device=device)
        return _Rows(
            output_B=torch.arange(len(requests_B), device=device),
            length_B1=torch.tensor([[len(request.prompt_T)] for request in requests_B], device=device),
            limit_B=torch.tensor(limits, device=device),
            uniform_BT=torch.from_numpy(np.stack([uniforms(request.seed, max(limits)) for request in requests_B])).to(device),
            temperature_B1=temperature_B1.where(temperature_B1 > 0, 1.0),
            top_p_B1=torch.tensor([[request.top_p] for request in requests_B], device=device),
            greedy_B=temperature_B1[:, 0] <= 0,
            alive_B=torch.ones(len(requests_B), dtype=torch.bool, device=device),
        )

    def _collect(self, tokens_BT: Tensor, logprobs_BT: Tensor, count_B: Tensor) -> list[Sampled]:
        stopped_B = torch.isin(tokens_BT.gather(1, count_B[:, None] - 1)[:, 0], self._eos)
        return [
            Sampled(tuple(tokens[:count]), tuple(logprobs[:count]), StopReason.STOP if stopped else StopReason.LENGTH)
            for tokens, logprobs, count, stopped in zip(
                tokens_BT.tolist(), logprobs_BT.tolist(), count_B.tolist(), stopped_B.tolist(), strict=True
            )
        ]


def uniforms(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the first ``count`` numbers of a seed's stream, in (0, 1]. ``seed`` is not negative."""
    return np.float32(1.0) - np.random.Generator(np.random.Philox(seed)).random(count, dtype=np.float32)


def draw(logprobs_BV: Tensor, uniform_B1: Tensor, top_p_B1: Tensor | None) -> Tensor:
    """Draw one token per row by inverse CDF.

    With u in (0, 1] the first token whose cumulative probability reaches u * total always has a probability above zero.

    Args:
        logprobs_BV: normalised log-probabilities.
        uniform_B1: in (0, 1].
        top_p_B1: probability mass of the nucleus to draw from, per row; None draws from the whole distribution.

    Returns:
        Token ids, (B, 1).
    """
    probs_BV = logprobs_BV.exp()
    if top_p_B1 is None:
        cdf_BV = probs_BV.cumsum(-1)
        return torch.searchsorted(cdf_BV, uniform_B1 * cdf_BV[:, -1:])
    sorted_BV, ids_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    cdf_BV = sorted_BV.cumsum(-1)
    outside_BV = cdf_BV - sorted_BV >= top_p_B1.clamp(max=1.0)
    outside_BV &= top_p_B1 < 1
    outside_BV[:, 0] = False
    kept_BV = sorted_BV.masked_fill(outside_BV, 0.0).cumsum(-1)
    return ids_BV.gather(-1, torch.searchsorted(kept_BV, uniform_B1 * kept_BV[:, -1:]))


def _canonical(request: SampleRequest) -> tuple[Any, ...]:
    return (
        request.max_tokens,
        len(request.prompt_T),
        request.prompt_T,
        request.seed,
        request.temperature,
        request.top_p,
    )
