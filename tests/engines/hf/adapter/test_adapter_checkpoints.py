from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import adapter, load, one_line, requests, same, train
from peft import PeftModel
from transformers import AutoModelForCausalLM

from espl_bench.errors import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_training_continues_from_a_checkpoint_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    unbroken, resumed = load(folder), load(folder, seed=9)
    asked = requests()
    rollouts = data(asked, sample(unbroken, asked))
    train(unbroken, rollouts)
    wait(unbroken.save(tmp_path))
    train(resumed, rollouts)  # moments of its own, to be forgotten
    wait(resumed.load(tmp_path))
    for _ in range(2):
        assert sample(unbroken, asked) == sample(resumed, asked)
        assert train(unbroken, rollouts) == train(resumed, rollouts)
    assert same(adapter(unbroken), adapter(resumed))


def test_a_checkpoint_from_before_the_first_step_resets_the_optimiser(folder: Path, tmp_path: Path) -> None:
    fresh, used = load(folder), load(folder)
    asked = requests()
    rollouts = data(asked, sample(fresh, asked))
    wait(fresh.save(tmp_path))
    train(used, rollouts)
    wait(used.load(tmp_path))
    assert train(fresh, rollouts) == train(used, rollouts)
    assert same(adapter(fresh), adapter(used))


def test_peft_reads_the_adapter(folder: Path, tmp_path: Path) -> None:
    engine = load(folder)
    asked = requests(temperature=0.0)
    train(engine, data(requests(), sample(engine, requests())))
    wait(engine.save(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors",
    ]  # fmt: skip
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), str(tmp_path))
    for request, completion in zip(asked, sample(engine, asked), strict=True):
        ids = torch.tensor([request.prompt_T])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        assert completion.tokens_T == tuple(out[0, len(request.prompt_T) :].tolist())


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_damaged_checkpoint_is_refused_whole(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    engine = load(folder)
    asked = requests()
    train(engine, data(asked, sample(engine, asked)))
    wait(engine.save(tmp_path))
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "cut" else b"\xff" * 200)
    other = load(folder)
    before = adapter(other)
    with pytest.raises(CheckpointError) as caught:
        wait(other.load(tmp_path))
    one_line(caught.value, name)
    assert same(before, adapter(other))


@pytest.mark.parametrize("settings", [{"rank": 2}, {"alpha": 3.0}])
def test_a_checkpoint_of_another_adapter_is_refused(folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    wait(load(folder).save(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        wait(load(folder, **settings).load(tmp_path))
    one_line(caught.value, "adapter_config.json")


def test_a_checkpoint_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    wait(load(folder).save(tmp_path / "checkpoint"))
    with pytest.raises(CheckpointError) as caught:
        wait(load(make_model(tmp_path / "wide", width=64)).load(tmp_path / "checkpoint"))
    one_line(caught.value, "adapter_model.safetensors")


def test_weights_alone_are_loaded_with_a_fresh_optimiser(folder: Path, tmp_path: Path) -> None:
    engine, asked = load(folder), requests()
    rollouts = data(asked, sample(engine, asked))
    train(engine, rollouts, lr=0.05)
    wait(engine.save(tmp_path))
    trained = adapter(engine)
    train(engine, rollouts, lr=0.05)
    wait(engine.load_weights(tmp_path))
    parts = engine._parts
    assert parts is not None
    assert same(adapter(engine), trained) and not parts.trainer.optimizer.state
