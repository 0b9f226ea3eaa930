"""An exported run: it loads without this project, and answers and scores as the run did."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from loop_fixtures import last_commit, make_config, run
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench.build import adapter_spec
from espl_bench.cli.app import invoke
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.results import export
from espl_bench.runs.run_dir import RunDir
from espl_bench.scores.export_hub import Benchmark
from espl_bench.types import SampleRequest

SHAPE = {"steps": 4, "lr": 0.005, "eval_samples": 2}


@pytest.fixture(scope="module")
def trained(lab_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(make_config(lab_model, "espl", **SHAPE), folder)
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "espl"
    assert invoke(["export", str(trained), f"--out={out}", "--quiet"]) == 0
    return out


def test_it_holds_everything_and_nothing_else(exported: Path):
    assert {path.name for path in exported.iterdir()} == {"README.md", "prompt.json", "adapter", "model"}
    assert [path.name for path in exported.parent.iterdir()] == ["espl"], "nothing is left beside it"
    assert not [path for path in exported.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_the_merged_model_is_base_and_adapter(trained: Path, exported: Path, lab_model: Path):
    merged = AutoModelForCausalLM.from_pretrained(exported / "model")
    base = AutoModelForCausalLM.from_pretrained(lab_model)
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        plain = base(ids).logits
        adapted = PeftModel.from_pretrained(base, exported / "adapter")(ids).logits
        together = merged(ids).logits
    assert torch.allclose(adapted, together, atol=1e-4) and not torch.allclose(plain, together, atol=1e-2)
    assert json.loads((exported / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == lab_model.name


def test_it_answers_in_plain_transformers_what_the_test_has(trained: Path, exported: Path):
    """Greedily, on the messages of the card, as engine hf does on those of the run."""
    config = RunDir(trained).config()
    prompt = json.loads((exported / "prompt.json").read_text())
    question = "3 4 dax 5 6 = ?"
    messages = [{**each, "content": each["content"].replace("{question}", question)} for each in prompt["messages"]]
    tokenizer, model = AutoTokenizer.from_pretrained(exported / "model"), AutoModelForCausalLM.from_pretrained(exported / "model")
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**ids, max_new_tokens=40, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()  # pyright: ignore[reportAttributeAccessIssue]

    async def answered() -> list[int]:
        engine = HfEngine.from_pretrained(config.model, adapter_spec(config))
        await engine.load(last_commit(trained).folder)
        [completion] = await (await engine.current()).sample([SampleRequest(tuple(ids["input_ids"][0].tolist()), 0, 40, 0.0)])
        return list(completion.tokens_T)

    assert asyncio.run(answered()) == written
    assert len(prompt["principles"]) == len(RunDir(trained).summary().shown_prompt)


def test_it_scores_as_the_run_did(trained: Path, exported: Path, tmp_path: Path):
    principles = tmp_path / "principles.txt"
    principles.write_text("\n".join(json.loads((exported / "prompt.json").read_text())["principles"]) + "\n")
    options = [f"--model={exported / 'model'}", f"--root-prompt={principles}", "--eval-samples=2", "--max-tokens=40", "--eval-every=0"]
    assert invoke(["run", "--method=base", "--env=rulebook", f"--out={tmp_path / 'again'}", "--quiet", "--seed=0", *options]) == 0
    again, before = RunDir(tmp_path / "again").summary(), RunDir(trained).summary()
    rows = zip(again.sample_scores, before.sample_scores, strict=True)
    differ = sum(one != other for row in rows for one, other in zip(*row, strict=True))
    assert again.shown_prompt == before.shown_prompt and differ <= 2, "the last bits of a merged logit may turn a draw"


def test_the_card_says_what_it_is(trained: Path, exported: Path):
    card, summary = (exported / "README.md").read_text(), RunDir(trained).summary()
    assert card.startswith("---\nlibrary_name: ") and summary.run_id in card and "| espl" in card
    assert f"{100 * summary.score:.1f} %" in card and summary.data_identity["test"] in card
    assert f"| rollouts | {summary.ledger.rollouts:,} |" in card and all(text in card for text in summary.shown_prompt)
    assert str(trained) not in card


def test_a_test_that_is_a_published_set_has_an_entry_for_the_hub(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "published_benchmark", lambda summary: Benchmark("owner/set"))
    assert invoke(["export", str(trained), f"--out={tmp_path / 'out'}", "--quiet"]) == 0
    [entry] = yaml.safe_load((tmp_path / "out" / ".eval_results" / "rulebook.yaml").read_text())
    assert entry["dataset"] == {"id": "owner/set", "task_id": "default"}
    assert entry["value"] == pytest.approx(100 * RunDir(trained).summary().score)


def test_a_run_with_frozen_weights_is_its_prompt(lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, "evolution_only", **SHAPE), tmp_path / "run")
    assert invoke(["export", str(tmp_path / "run"), f"--out={tmp_path / 'out'}", "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "prompt.json"}
    assert "unchanged" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("spoil", ["summary", "checkpoint", "place", "adapter"])
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    spoil: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(trained, folder)
    match spoil:
        case "summary":
            (folder / "summary.json").unlink()
        case "checkpoint":
            shutil.rmtree(folder / "checkpoints")
        case "place":
            out.mkdir()
        case _:
            (last_commit(folder).folder / "adapter_model.safetensors").write_bytes(b"damaged")
    assert invoke(["export", str(folder), f"--out={out}", "--quiet"]) != 0
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out", "run"] if spoil == "place" else ["run"])
