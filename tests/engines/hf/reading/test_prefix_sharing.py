import itertools
import random
from pathlib import Path
from typing import Literal

import pytest
import torch
from checked import present
from engines_fixtures import make_model
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.cache_utils import CacheLayerMixin, DynamicCache

from espl_bench.engines.hf.decoding.kv_cache import KVCache, prefill
from espl_bench.engines.hf.reading.attention import SharedPrompts, adopt
from espl_bench.engines.hf.reading.prefix_sharing import Tokens, forward_levels, prompt_levels, split_prefixes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def prompts_like_ours(seed: int, beginnings: int = 3, problems: int = 6) -> list[Tokens]:
    """Long beginnings, each before several short problems; the beginnings have a beginning in common, too."""
    rng = random.Random(seed)

    def words(least: int, most: int) -> Tokens:
        return tuple(rng.randrange(5, 95) for _ in range(rng.randint(least, most)))

    common = words(3, 3)
    starts = [common + words(10, 30) for _ in range(beginnings)]
    return [beginning + words(1, 8) for beginning in starts for _ in range(problems)]


def tokens_to_read(cuts: list[tuple[Tokens, Tokens]]) -> int:
    return sum(map(len, {shared for shared, _ in cuts})) + sum(len(suffix) for _, suffix in cuts)


def fewest_tokens(prompts: list[Tokens]) -> int:
    """Over all ways to cut every prompt somewhere before its last token."""
    places = [range(len(prompt)) for prompt in prompts]
    return min(
        tokens_to_read([(prompt[:at], prompt[at:]) for prompt, at in zip(prompts, where, strict=True)])
        for where in itertools.product(*places)
    )


def whole_logits(model: torch.nn.Module, prompt: Tokens) -> torch.Tensor:
    return model(torch.tensor([prompt])).logits[0, -1]


@pytest.mark.parametrize("seed", range(30))
def test_no_way_to_cut_reads_fewer_tokens(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espl_bench.engines.hf.reading.prefix_sharing.WORTH", 0)
    rng = random.Random(seed)
    prompts = list({tuple(rng.choice((1, 2)) for _ in range(rng.randint(2, 6))) for _ in range(6)})
    cuts = split_prefixes(prompts)
    assert [shared + suffix for shared, suffix in cuts] == prompts
    assert all(suffix for _, suffix in cuts)
    best, whole = fewest_tokens(prompts), sum(map(len, prompts))
    assert tokens_to_read(list(cuts)) == (best if 2 * (whole - best) >= whole else whole)


def test_a_system_message_before_many_problems_is_one_stem() -> None:
    prompts = prompts_like_ours(0)
    beginnings = [shared for shared, _ in split_prefixes(prompts)]
    assert len(set(beginnings)) == 3
    assert len({*beginnings[:6]}) == len({*beginnings[6:12]}) == 1


@pytest.mark.parametrize("prompts", [[(5, 6, 7)], [(5,), (5, 6)], [(5, 6), (7, 8)]])
def test_what_is_not_worth_a_pass_is_not_cut(prompts: list[Tokens]) -> None:
    assert [suffix for _, suffix in split_prefixes(prompts)] == prompts


@pytest.mark.parametrize("padding", ["left", "right"])
def test_reading_by_levels_gives_the_logits_of_reading_whole(folder: Path, padding: Literal["left", "right"]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    prompts = prompts_like_ours(1)
    cuts = split_prefixes(prompts)
    assert any(shared for shared, _ in cuts)
    levels = prompt_levels(cuts, padding, CPU)
    with torch.inference_mode():
        logits, _ = forward_levels(model, levels, DynamicCache(config=model.config))
        for row, prompt in enumerate(prompts):
            if padding == "left" or len(cuts[row].suffix) == levels[-1].ids_RT.shape[1]:
                torch.testing.assert_close(logits[-1][row, -1], whole_logits(model, prompt), atol=1e-5, rtol=1e-4)


def qwen(heads: int = 4, groups: int = 2) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=8,
        vocab_size=96,
        num_attention_heads=heads,
        num_key_value_heads=groups,
    )
    return Qwen3ForCausalLM(config).eval()


@pytest.mark.parametrize("share", [True, False])
def test_decoding_with_shared_prompts_gives_the_logits_of_reading_whole(share: bool) -> None:
    """Grouped queries, prompts of several lengths, groups of several sizes, and rows that leave on the way."""
    model, rng = qwen(), random.Random(2)
    assert adopt(model)
    prompts = [prompt for prompt in prompts_like_ours(2, problems=3) for _ in range(rng.randint(1, 4))]
    said = [list(prompt) for prompt in prompts]
    with torch.inference_mode():
        logits, memory = prefill(model, prompts, 4, share=share)
        rows = list(range(len(prompts)))
        for t in range(4):
            for row, logits_V in zip(rows, logits, strict=True):
                torch.testing.assert_close(logits_V, whole_logits(model, tuple(said[row])), atol=1e-5, rtol=1e-4)
            if t == 1:
                kept = [place for place in range(len(rows)) if place % 3 and place > 4]
                rows = [rows[place] for place in kept]
                memory.select(torch.tensor(kept))
            tokens = [rng.randrange(5, 95) for _ in rows]
            positions = [len(said[row]) for row in rows]
            for row, token in zip(rows, tokens, strict=True):
                said[row].append(token)
            logits = memory.step(torch.tensor(tokens)[:, None], torch.tensor(positions)[:, None])


def test_a_shared_prompt_is_held_once() -> None:
    model = qwen()
    assert adopt(model)
    consulted: list[SharedPrompts] = []
    prompt = tuple(range(5, 45))
    with torch.inference_mode():
        _, memory = prefill(model, [prompt] * 16, 4, share=True)
        memory.step(torch.full((16, 1), 7), torch.full((16, 1), 40))
    assert isinstance(memory, KVCache)
    consulted.extend(memory._shared.values())
    assert [keys.shape[0] for keys, _ in consulted[0]._layers] == [1, 1]
    kept = [layer for layer in memory._cache.layers if isinstance(layer, CacheLayerMixin)]
    assert [present(layer.keys).shape[2] for layer in kept] == [1, 1] and len(kept) == len(memory._cache.layers)


def test_an_adopted_model_may_be_adopted_again() -> None:
    model = qwen()
    assert adopt(model) and adopt(model)


def test_a_model_of_another_kind_of_attention_is_left_as_it_was() -> None:
    config = MistralConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=96,
        sliding_window=8,
    )
    model = MistralForCausalLM(config).eval()
    assert not adopt(model)
    assert model.config._attn_implementation == "sdpa"


def with_attention_arguments(monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> None:
    """Have the model's attention layers call with other arguments than Qwen's do."""
    from espl_bench.engines.hf.reading.attention import NAME, AttentionInterface, _attention

    def called(*args, scaling, **others):
        return _attention(*args, **{"scaling": scaling, **others, **change})

    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, called)


def test_a_model_whose_scores_are_no_plain_products_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with_attention_arguments(monkeypatch, {"position_bias": torch.zeros(1, 1, 1, 1)})
    model = qwen()
    assert not adopt(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_leaves_the_scaling_out_gets_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_attention_arguments(monkeypatch, {"scaling": None})
    model, prompt = qwen(), tuple(range(5, 25))
    assert adopt(model)
    with torch.inference_mode():
        _, memory = prefill(model, [prompt] * 3, 1, share=True)
        logits = memory.step(torch.full((3, 1), 7), torch.full((3, 1), 20))
        torch.testing.assert_close(logits[2], whole_logits(model, (*prompt, 7)), atol=1e-5, rtol=1e-4)


def test_a_model_that_keeps_our_argument_to_itself_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = qwen()
    forward = type(model.model).forward
    monkeypatch.setattr(type(model.model), "forward", lambda self, *args, shared_prompts=None, **kwargs: forward(self, *args, **kwargs))
    assert not adopt(model)
    assert model.config._attn_implementation == "sdpa"
