"""What the command line says about choices that nobody made."""

from typing import Any

import pytest

from espl_bench.cli.commands.compare import parse_methods
from espl_bench.cli.commands.provide import tell_defaults
from espl_bench.config.resolve import resolve
from espl_bench.engines import model_source


@pytest.mark.parametrize(
    ("cuda", "vllm", "chosen", "words"),
    [
        (False, True, {}, None),
        (True, True, {}, "engine hf on the CPU: a model this small runs faster there"),
        (True, False, {"train_device": "cuda:0"}, "engine hf: vLLM is not installed"),
        (True, True, {"engine": "hf"}, None),
    ],
)
def test_the_engine_is_told_with_its_reason_where_there_was_a_choice(
    cuda: bool, vllm: bool, chosen: dict[str, Any], words: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(model_source, "find_spec", lambda name: object() if vllm else None)
    tell_defaults([resolve("espl", "rulebook", chosen)], chosen)
    told = capsys.readouterr().err
    assert words in told if words else told == ""


def test_a_tiny_model_is_opened_on_the_cpu_also_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch):
    import torch

    from espl_bench.engines.hf.model_loading import pick_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device(None).type == "cuda" and pick_device(None, tiny=True).type == "cpu"
    assert model_source.is_tiny(resolve("espl", "rulebook", {}).model) and not model_source.is_tiny("Qwen/Qwen3-0.6B")


def test_a_comparison_is_of_the_papers_methods_unless_others_are_named():
    assert set(parse_methods(None)) == {"base", "rl_only", "reflection_only", "evolution_only", "espl"}
    assert parse_methods("espl, base,espl") == ("espl", "base")
    assert set(parse_methods(None)) < set(parse_methods("all")) and "gepa" in parse_methods("all")
