"""Over a large vocabulary the training step is the same, and never holds all logits."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from engines_fixtures import make_model, make_tokenizer
from peft import PeftModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training import chunked_logprobs
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum

VOCABULARY = 96
"""Of the tiny model."""
LOSS = default_loss("importance_sampling")
ADAM = AdamParams(lr=1e-3)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that bends its logits after the output layer."""
    folder = tmp_path_factory.mktemp("capped")
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.2,
        final_logit_softcapping=2.0,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        Gemma2ForCausalLM(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def load(folder: Path) -> HfEngine:
    return HfEngine.from_pretrained(folder, AdapterSpec(rank=4, alpha=8.0, seed=0, device="cpu"))


def rollouts(count: int = 12, sampled: int = 20) -> list[Datum]:
    """Groups of three on one prompt each, of several lengths and temperatures."""
    rng = random.Random(0)
    found = []
    for group in range(count // 3):
        prompt = tuple(rng.randrange(5, 95) for _ in range(rng.randint(4, 20)))
        for _ in range(3):
            said = tuple(rng.randrange(5, 95) for _ in range(rng.randint(2, sampled)))
            mask = (False,) * len(prompt) + (True,) * len(said)
            logprobs = (0.0,) * len(prompt) + (-4.5,) * len(said)
            found.append(Datum(prompt + said, mask, logprobs, rng.uniform(-1, 1), (1.0, 0.7)[group % 2]))
    return found


def train(engine: HfEngine, data: list[Datum]) -> dict[str, float]:
    return dict(asyncio.run(engine.train_step(data, LOSS, ADAM)))


def trainer(engine: HfEngine) -> Any:
    assert engine._parts is not None
    return engine._parts.trainer


def in_pieces(monkeypatch: pytest.MonkeyPatch, tokens: int = 5) -> None:
    monkeypatch.setattr(chunked_logprobs, "PIECE", tokens * VOCABULARY)


@pytest.mark.parametrize("model", ["llama", "capped"])
def test_pieces_take_the_step_of_the_whole(model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = request.getfixturevalue(model)
    whole = load(folder)
    in_pieces(monkeypatch)
    pieces = load(folder)
    for _ in range(2):
        assert train(pieces, rollouts()) == pytest.approx(train(whole, rollouts()), rel=1e-4, abs=1e-5)
    for name, weights in trainer(whole).parameters.items():
        assert torch.allclose(weights, trainer(pieces).parameters[name], atol=1e-5)
    for datum in rollouts():
        assert trainer(pieces).score([datum])[0] == pytest.approx(trainer(whole).score([datum])[0], abs=1e-5)


def test_only_a_model_whose_logits_are_its_output_layers_gives_it_away(llama: Path, capped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(load(llama))._vocabulary._head is None, "a small vocabulary is one piece"
    in_pieces(monkeypatch)
    assert trainer(load(llama))._vocabulary._head is not None
    assert trainer(load(capped))._vocabulary._head is None


class _Largest(TorchDispatchMode):
    """Logits in the largest tensor of logits that any operation made, forward or backward."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = (leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
        self.found = max([self.found, *(tensor.numel() for tensor in tensors if tensor.shape[-1:] == (VOCABULARY,))])
        return out


def test_no_tensor_of_all_tokens_times_the_vocabulary_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llama = make_model(tmp_path, width=16)  # nothing else in it is as wide as the vocabulary
    data = rollouts(30, sampled=60)
    sampled = sum(sum(datum.mask_T) for datum in data)
    whole = load(llama)
    in_pieces(monkeypatch, tokens=20)
    pieces = load(llama)
    largest = []
    for engine in (whole, pieces):
        with _Largest() as watched:
            trainer(engine).step(data, LOSS, ADAM)
        largest.append(watched.found)
    assert largest[0] >= sampled * VOCABULARY
    assert largest[1] <= 20 * VOCABULARY


def test_a_checkpoint_is_the_same_without_the_output_layer(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch)
    engine, fresh = load(llama), load(llama)
    train(engine, rollouts())
    asyncio.run(engine.save(tmp_path))
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), str(tmp_path))
    asyncio.run(fresh.load(tmp_path))
    assert train(fresh, rollouts()) == train(engine, rollouts())
