"""Which characters of a text each token brought: what a rollout is read token by token with."""

import math
from pathlib import Path

import pytest
from tiny_qwen import make_tiny_qwen
from transformers import AutoTokenizer

from espl_bench.engines.chat import HfChat
from espl_bench.runs.rollout_rows import IMPROBABLE, rollout_rows
from espl_bench.types import Completion, Outcome, Problem, Split, StopReason, Trajectory, TrajectoryGroup, Turn

TEXTS = ["So 2 + 2 = 4.", "  two spaces\n\nand a tab\t", "naïve 数学 😀👩\u200d🚀 end", "<think>é</think> \\boxed{7}", ""]


@pytest.fixture(scope="module", params=["byte-level", "lab"])
def chat(request, tmp_path_factory, lab_model: Path) -> HfChat:
    folder = lab_model if request.param == "lab" else make_tiny_qwen(tmp_path_factory.mktemp("tiny"), ["two and two is four", "a box"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return HfChat(tokenizer, frozenset({tokenizer.eos_token_id}), "tiny")


@pytest.mark.parametrize("text", TEXTS)
def test_lengths_cut_the_decoded_text_into_what_each_token_brought(chat, text):
    tokens = [*chat._tokenizer.encode(text, add_special_tokens=False), chat._tokenizer.eos_token_id]
    decoded = chat.decode(tokens)
    lengths = chat.lengths(tokens, decoded)
    assert len(lengths) == len(tokens)
    assert sum(lengths) == len(decoded)
    assert lengths[-1] == 0, "the end-of-turn token is not shown"
    for place in range(1, len(tokens)):  # wherever a prefix decodes to whole characters, the lengths end there
        prefix = chat.decode(tokens[:place])
        if not prefix.endswith("\ufffd"):
            assert decoded[: sum(lengths[:place])] == prefix


def test_a_character_that_was_cut_off_comes_with_its_last_token(chat):
    tokens = chat._tokenizer.encode("a 😀", add_special_tokens=False)[:-1]
    decoded = chat.decode(tokens)
    assert sum(chat.lengths(tokens, decoded)) == len(decoded)


def test_a_text_that_the_tokens_do_not_make_up_has_no_lengths(chat):
    tokens = chat._tokenizer.encode("two", add_special_tokens=False)
    assert chat.lengths(tokens, "something else") == ()
    assert chat.lengths([], "") == ()


def test_rollouts_are_stored_with_lengths_and_surprisals():
    problem = Problem(id="train/1", split=Split.TRAIN, index=1, question="?", answer="4", gold="4")
    known = Completion((1, 2, 3), (-0.004, -1.2345, -math.inf), "2 4", StopReason.STOP, lengths_T=(1, 2, 0))
    spoken = Completion((), (), "four", StopReason.STOP)
    trajectory = Trajectory(problem, 0, 0, (Turn((9,), known), Turn((), spoken)), 1.0, Outcome.CORRECT)
    [row] = rollout_rows([TrajectoryGroup(problem, 0, (trajectory,))])
    assert row.lengths == ((1, 2, 0), ())
    assert row.surprisals == ((0, 123, IMPROBABLE), ())
