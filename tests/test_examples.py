"""The examples: one file that trains weights and breeds prompts, and the training of a model behind an agent; in few steps here."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "espl_from_scratch.py"
OURS = {"evolve", "loop", "rollouts", "engines", "learning", "runner"}
"""Rooms whose work the example does itself."""


def test_the_example_is_short_and_does_the_work_itself():
    text = EXAMPLE.read_text()
    assert text.count("\n") <= 220
    imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}
    assert not {name.split(".")[1] for name in imported if name.startswith("espl_bench.")} & OURS


@pytest.mark.slow
def test_the_example_trains_weights_and_breeds_prompts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    monkeypatch.delitem(sys.modules, "espl_from_scratch", raising=False)
    example = importlib.import_module("espl_from_scratch")

    policy, population = example.train(steps=4, prompts=3, batch=6, group=4, items=10, seed=0)
    *steps, result = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("  ", "test "))]
    assert [int(line.split()[0]) for line in steps] == [1, 2, 3, 4] and result.startswith("test ")
    assert {line.split()[4] for line in steps} == {"1.000"}, "the ratio: the trainer sees what the sampler saw"
    root, *children = population
    assert children and any(child.principles for child in children) and not root.principles
    assert root.rating.sigma < 25 / 3, "it was ranked"
    assert all(p.abs().sum() > 0 for name, p in policy.model.named_parameters() if "lora_B" in name), "every adapter left zero"


@pytest.mark.slow
def test_the_model_behind_a_stranger_s_agent_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.syspath_prepend(EXAMPLE.parent / "agents")
    for name in ("train", "majority"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    example = importlib.import_module("train")
    monkeypatch.setitem(example.RulebookEnv.sizes, example.Split.TEST, 8)
    example.train(tmp_path / "run", steps=2, method="rl_only")
    *steps, result = capsys.readouterr().out.splitlines()
    assert len(steps) == 2 and result.startswith("test score")
    assert all(float(line.rsplit(maxsplit=1)[1]) < 1e-4 for line in steps), "the trainer sees what the sampler saw"
