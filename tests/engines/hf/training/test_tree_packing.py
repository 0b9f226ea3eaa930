"""One sequence without padding is read as padded rows are, whatever tree the trajectories form."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checked import present
from engine_calls import data, sample
from engines_fixtures import make_model
from hf_calls import load, requests, train, trainer
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from trajectories import forest

from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training.micro_batch import Packing
from espl_bench.engines.hf.training.packing import reading_whole, sharing_prompts
from espl_bench.engines.hf.training.packing_trial import disagreement
from espl_bench.engines.hf.training.tree_packing import BLOCK, Ancestry, TreeBatch, as_trees

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), context=1_024)


def laid_out(folder: Path, pack: Packing, **settings: Any) -> HfEngine:
    engine = load(folder, **settings)
    trainer(engine)._pack = pack
    return engine


@pytest.mark.parametrize("budget", [1, 300, 100_000])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_is_that_of_padded_rows(folder: Path, budget: int, checkpointing: bool) -> None:
    padded = load(folder, token_budget=100_000)
    tree = laid_out(folder, as_trees, token_budget=budget, gradient_checkpointing=checkpointing)
    for seed in range(2):
        rollouts = forest(seed)
        assert train(tree, rollouts, lr=1e-3) == pytest.approx(train(padded, rollouts, lr=1e-3), rel=1e-4, abs=1e-5)
    for name, weights in trainer(padded).parameters.items():
        assert torch.allclose(weights, trainer(tree).parameters[name], atol=1e-5)


def test_every_token_stands_once(folder: Path) -> None:
    engine = load(folder)
    asked = requests(12)
    rollouts = data(asked, sample(engine, asked))
    [tree], [padded] = (list(pack(rollouts, lambda: 100_000, CPU)) for pack in (as_trees, sharing_prompts))
    prompts = {datum.tokens_T[: datum.mask_T.index(True) - 1] for datum in rollouts}
    different = sum(map(len, prompts)) + sum(sum(datum.mask_T) for datum in rollouts)
    assert tree.tokens == -(-different // BLOCK) * BLOCK, "nothing is read twice, and only the last block is filled up"
    assert sorted(tree.targets.target_N.tolist()) == sorted(padded.targets.target_N.tolist())


def trees(seed: int) -> TreeBatch:
    [batch] = as_trees(forest(seed), lambda: 100_000, CPU)
    return batch


@pytest.mark.parametrize("seed", range(6))
def test_blocks_are_those_of_the_mask(seed: int) -> None:
    ancestry = trees(seed).ancestry
    tokens = len(ancestry.node_T)
    blocks = ancestry.blocks()
    every = create_block_mask(blocks.mask_mod, None, None, tokens, tokens, device="cpu", BLOCK_SIZE=BLOCK)
    assert torch.equal(blocks.to_dense(), every.to_dense())
    assert shown(blocks) == shown(every), "and the same ones are full"
    ours, theirs = torch.randn(2, 1, 2, tokens, 16, generator=torch.Generator().manual_seed(seed)).unbind()
    sparse = flex_attention(ours, theirs, ours, block_mask=blocks)
    assert torch.allclose(sparse, scaled_dot_product_attention(ours, theirs, ours, attn_mask=ancestry.dense()), atol=1e-5)


def shown(blocks: BlockMask) -> list[list[list[int]]]:
    """Return the partial and the full blocks of each row of blocks."""
    kinds = ((blocks.kv_num_blocks, blocks.kv_indices), (present(blocks.full_kv_num_blocks), present(blocks.full_kv_indices)))
    rows = range(blocks.kv_num_blocks.shape[-1])
    return [[sorted(index[0, 0, row, : count[0, 0, row]].tolist()) for count, index in kinds] for row in rows]


def test_the_trial_finds_a_layout_that_says_something_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = trainer(load(folder))

    def fault(pack: Packing = as_trees) -> str:
        return disagreement(pack, sharing_prompts, tried._log_probabilities, tried.parameters.values(), tried.model) or ""

    assert (fault(), fault(reading_whole)) == ("", "")
    dense = Ancestry.dense
    monkeypatch.setattr(Ancestry, "dense", lambda self: dense(self) | torch.ones_like(dense(self)).tril())
    assert "gradient" in fault(), "every token sees all before it"

    def refuse(self: Ancestry) -> torch.Tensor:
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(Ancestry, "dense", refuse)
    assert fault() == "RuntimeError: no kernel for this device"
