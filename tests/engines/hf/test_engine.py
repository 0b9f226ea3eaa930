import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checked import present
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import adapter, load, one_line, requests, train
from transformers import AutoTokenizer

from espl_bench.engines.engine import Engine
from espl_bench.errors import ModelError, UsageError
from espl_bench.types import Message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_it_is_an_engine(folder: Path) -> None:
    engine: Engine = load(folder)
    assert engine.isolates_snapshots


def test_the_chat_is_the_models_own_template(folder: Path) -> None:
    chat = load(folder).chat
    ids = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids
    prompt = chat.encode([Message("system", "w1"), Message("user", "w2 w3")])
    assert list(prompt) == ids(["<system>", "w1", "<end>", "<user>", "w2", "w3", "<end>", "<assistant>"])
    assert chat.decode(ids(["w5", "w6", "<end>"])) == "w5 w6"


def test_a_continuation_is_what_the_template_puts_between_two_assistant_turns(folder: Path) -> None:
    chat = load(folder).chat
    opening = [Message("user", "w1")]
    said = tuple(AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["w7", "<end>"]))
    for reply in ("w2 w3", "w2 <end> <assistant> w3"):
        whole = chat.encode([*opening, Message("assistant", "w7"), Message("user", reply)])
        spoken = [*opening, Message("assistant", "w7")]
        assert chat.encode(opening) + said + present(chat.continuation(spoken, [Message("user", reply)])) == whole


def test_a_template_that_never_ends_a_turn_is_not_extended(tmp_path: Path) -> None:
    bare = "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
    chat = load(make_model(tmp_path, chat_template=bare)).chat
    assert chat.continuation([Message("user", "w1"), Message("assistant", "w7")], [Message("user", "w2")]) is None


def test_a_template_that_refuses_a_role_says_so(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}<user> w1 <end>"
    chat = load(make_model(tmp_path, chat_template=strict)).chat
    with pytest.raises(ModelError) as caught:
        chat.encode([Message("system", "w1"), Message("user", "w2")])
    one_line(caught.value, "no system role", "--placement user")


def test_a_missing_model_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "nowhere")
    one_line(caught.value, "nowhere", "does not exist")


def test_an_unreachable_hub_id_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as caught:
        load(Path("no-such-org-xyz/no-such-model"))
    one_line(caught.value, "no-such-org-xyz/no-such-model")


@pytest.mark.parametrize("damage", ["empty folder", "no weights", "cut weights", "bad config"])
def test_a_broken_model_folder_is_one_line(tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    if damage != "empty folder":
        make_model(broken)
    weights = broken / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "bad config":
        (broken / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(ModelError) as caught:
        load(broken)
    one_line(caught.value, str(broken))


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(make_model(tmp_path, chat_template=None))
    one_line(caught.value, "chat template")


@pytest.mark.parametrize("settings", [{"device": "gpu9"}, {"dtype": "float3"}])
def test_unknown_devices_and_dtypes_are_usage_errors(folder: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        load(folder, **settings)
    one_line(caught.value, next(iter(settings.values())))


def test_a_bfloat16_base_trains_a_float32_adapter_that_the_sampler_follows(folder: Path) -> None:
    engine = load(folder, dtype="bfloat16")
    assert {weights.dtype for weights in adapter(engine).values()} == {torch.float32}
    asked = requests()
    for _ in range(2):
        metrics = train(engine, data(asked, sample(engine, asked)))
        assert abs(metrics["kl_sampler"]) < 0.05


def test_a_closed_engine_refuses_work(folder: Path) -> None:
    engine = load(folder)
    wait(engine.close())
    with pytest.raises(RuntimeError, match="closed"):
        wait(engine.current())
