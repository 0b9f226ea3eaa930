"""A bound that was asked for stays; one that adapts is lowered where a step does not fit, and the step is taken again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample
from engines_fixtures import make_model
from hf_calls import load, requests, train, trainer

from espl_bench.engines.adapter_spec import MICRO_BATCH
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training.token_budget import TokenBudget
from espl_bench.errors import DeviceMemoryError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_on_a_cpu_nothing_adapts() -> None:
    assert (TokenBudget(None, CPU).tokens, TokenBudget(70, CPU).tokens, TokenBudget(70, CUDA).tokens) == (MICRO_BATCH, 70, 70)
    assert not TokenBudget(None, CPU).lower()
    assert not TokenBudget(70, CUDA).lower()


def test_it_is_halved_as_far_as_makes_sense() -> None:
    budget = TokenBudget(None, CUDA)  # no CUDA call before the first micro-batch
    bounds = [budget.tokens]
    while budget.lower():
        bounds.append(budget.tokens)
    assert bounds == [MICRO_BATCH // 2**power for power in range(5)]


def limited(engine: HfEngine, tokens: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let forwards of more tokens run out of memory; return the sizes of the micro-batches that were begun."""
    one = trainer(engine)
    backward, begun = one._backward, list[int]()

    def bounded(batch: Any, spec: Any) -> Any:
        begun.append(batch.tokens)
        if batch.tokens > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return backward(batch, spec)

    monkeypatch.setattr(one, "_backward", bounded)
    return begun


def test_a_step_that_does_not_fit_is_taken_in_smaller_micro_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(tmp_path)
    usual, tight = load(folder, token_budget=100_000), load(folder)
    asked = requests(60)
    rollouts = data(asked, sample(usual, asked), advantages=(0.3, -0.2, 0.1))
    budget = TokenBudget(None, CUDA)
    monkeypatch.setattr(budget, "_bytes_per_token", 1.0)
    monkeypatch.setattr("espl_bench.engines.hf.training.token_budget._free", lambda _device: 1_500)
    trainer(tight)._budget = budget
    begun = limited(tight, 300, monkeypatch)
    assert train(tight, rollouts) == pytest.approx(train(usual, rollouts), rel=1e-4, abs=1e-5), "nothing of the failed attempt is left"
    assert begun[0] > 300 and all(tokens <= 300 for tokens in begun[-3:])


def test_a_bound_that_was_asked_for_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(make_model(tmp_path), token_budget=1_000)
    asked = requests(12)
    rollouts = data(asked, sample(engine, asked))
    limited(engine, 5, monkeypatch)
    with pytest.raises(DeviceMemoryError, match="lower --token-budget"):
        train(engine, rollouts)
