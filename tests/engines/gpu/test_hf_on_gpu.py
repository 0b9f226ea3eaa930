"""Engine hf on an accelerator: what its tests show on the CPU holds there too."""

from pathlib import Path

import pytest
import torch
from engine_calls import data, sample, sample_reference, wait
from engines_fixtures import make_model
from hf_calls import load, requests, train, trainer

from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training.tree_packing import as_trees
from espl_bench.errors import DeviceMemoryError
from espl_bench.types import SampleRequest, StopReason

pytestmark = pytest.mark.gpu

FLOAT32_GAP, BFLOAT16_GAP = 1e-3, 5e-2
"""Mean |log-probability difference| between sampler and trainer. TF32 is off by default, so float32 is nearly exact."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def engine(folder: Path, device: str) -> HfEngine:
    return load(folder, "float32", device=device)


@pytest.mark.parametrize(("dtype", "gap"), [("float32", FLOAT32_GAP), ("bfloat16", BFLOAT16_GAP)])
def test_sampler_and_trainer_agree_before_and_after_training(folder: Path, device: str, dtype: str, gap: float) -> None:
    engine = load(folder, dtype, device=device)
    asked = requests()
    for _ in range(3):
        metrics = train(engine, data(asked, sample(engine, asked)))
        assert metrics["logprob_gap"] < gap
        assert metrics["ratio_mean"] == pytest.approx(1, abs=2 * gap)


def test_seeds_decide_and_alone_is_as_together(engine: HfEngine) -> None:
    asked = requests()
    together = sample(engine, asked)
    assert sample(engine, asked) == together
    assert len({completion.tokens_T for completion in together}) > 1
    for request, completion in zip(asked, together, strict=True):
        assert sample(engine, [request])[0].tokens_T == completion.tokens_T


def test_an_end_id_ends_a_completion(engine: HfEngine) -> None:
    asked = [SampleRequest((2, 7, 8, 4), seed, 64, 1.0) for seed in range(64)]
    completions = sample(engine, asked)
    ended = [completion for completion in completions if completion.stop_reason is StopReason.STOP]
    assert ended, "none of 64 completions of a random model ended"
    assert all(1 not in completion.tokens_T[:-1] for completion in completions)
    assert all(len(completion.tokens_T) == 64 for completion in completions if completion.stop_reason is StopReason.LENGTH)


def test_training_changes_the_policy_and_never_the_reference(engine: HfEngine) -> None:
    asked = requests()
    before, base = sample(engine, asked), sample_reference(engine, asked)
    assert before == base
    for _ in range(3):
        train(engine, data(asked, sample(engine, asked)))
    assert sample(engine, asked) != before
    assert sample_reference(engine, asked) == base


def test_a_checkpoint_goes_to_the_cpu_and_back(folder: Path, device: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    asked = requests()
    trained = load(folder, "float32", device=device)
    rollouts = data(asked, sample(trained, asked))
    train(trained, rollouts)
    wait(trained.save(tmp_path / "first"))
    on_cpu = load(folder, "float32", device="cpu")
    wait(on_cpu.load(tmp_path / "first"))
    wait(on_cpu.save(tmp_path / "second"))
    back = load(folder, "float32", device=device)
    wait(back.load(tmp_path / "second"))
    expected = wait(trained.score(rollouts, reference=False))
    for engine in (on_cpu, back):
        for ours, theirs in zip(wait(engine.score(rollouts, reference=False)), expected, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-3)
    first, second = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second
    after = [train(engine, rollouts)["grad_norm"] for engine in (trained, back)]
    assert after[0] == pytest.approx(after[1], rel=1e-3), "the optimiser's state came along"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_without_padding_is_the_step_on_the_cpu(tmp_path: Path, device: str, dtype: str, checkpointing: bool) -> None:
    folder = make_model(tmp_path, width=64)  # heads as wide as the smallest that FlexAttention takes
    engine, exact = load(folder, dtype, device=device, gradient_checkpointing=checkpointing), load(folder, "float32", device="cpu")
    if device == "cuda":
        assert trainer(engine)._pack is as_trees, "the trial found that it agrees"
    for count in (12, 60, 30):
        asked = requests(count)
        rollouts = data(asked, sample(exact, asked))
        ours, theirs = (train(each, rollouts, lr=0.0) for each in (engine, exact))
        bound = 1e-3 if dtype == "float32" else 5e-2
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=bound)
        assert ours["entropy"] == pytest.approx(theirs["entropy"], rel=bound)


def test_micro_batches_grow_to_the_memory_and_shrink_where_a_step_does_not_fit(folder: Path, device: str) -> None:
    if device != "cuda":
        pytest.skip("only CUDA tells its free memory")
    engine = load(make_wide(folder), "float32", device=device)
    budget = trainer(engine)._budget
    asked = [SampleRequest((2, 7, 8, 4), seed, 200, 1.0) for seed in range(256)]
    rollouts = data(asked, sample(engine, asked))
    first = budget.tokens
    whole = train(engine, rollouts, lr=0.0)
    assert budget.tokens > first
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 512 * 2**20) / total)
    try:
        assert train(engine, rollouts, lr=0.0)["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_compiled_layers_take_the_steps_of_plain_ones(tmp_path: Path, device: str) -> None:
    folder = make_model(tmp_path, width=64)
    plain, compiled = load(folder, "float32", device=device), load(folder, "float32", device=device, compile_layers=True)
    for count in (12, 30):
        asked = requests(count)
        rollouts = data(asked, sample(plain, asked))
        assert train(compiled, rollouts, lr=1e-3) == pytest.approx(train(plain, rollouts, lr=1e-3), rel=1e-3, abs=1e-4)


def test_too_little_memory_is_one_line_and_the_engine_lives_on(folder: Path, device: str) -> None:
    if device != "cuda":
        pytest.skip("only CUDA limits a process's memory")
    engine = load(make_wide(folder), "float32", device=device, token_budget=1_000_000)
    asked = [SampleRequest((2, 7, 8, 4), seed, 200, 1.0) for seed in range(256)]
    rollouts = data(asked, sample(engine, asked))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64 * 2**20) / total)
    try:
        with pytest.raises(DeviceMemoryError, match="does not fit into the memory of cuda"):
            train(engine, rollouts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert train(engine, rollouts[:4])["grad_norm"] > 0


def make_wide(folder: Path) -> Path:
    """A model whose activations for a large micro-batch need some hundred MiB."""
    return make_model(folder.parent / "wide", layers=4, width=256, context=1_024)
