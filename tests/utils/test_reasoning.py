import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import make_chat

from espl_bench.evolution.operators.editor import Editor, summary_context
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.types import Completion, Problem, Split, StopReason
from espl_bench.utils.reasoning import CLOSE, OPEN, strip_reasoning


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("just an answer \n", "just an answer \n"),
        ("", ""),
        ("<think>hm\n{1}</think>\n\nIt is 2.", "It is 2."),
        ("the template opened it: hm</think> It is 2.", "It is 2."),
        ("<think>a</think>first <think>b</think>second", "first second"),
        ("hm</think>first <think>b</think>second", "first second"),
        ("<think>cut off in the middle", ""),
        ("It is 2. <think>or is it", "It is 2."),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("<think></think>", ""),
        ("a < b and <thinking> is no tag", "a < b and <thinking> is no tag"),
    ],
)
def test_what_is_said_is_what_stands_outside_thinking(text: str, said: str):
    assert strip_reasoning(text) == said


@given(st.lists(st.sampled_from([OPEN, CLOSE, "a", " ", r"\boxed{1}"])).map("".join))
def test_no_tag_is_left_and_saying_it_again_changes_nothing(text: str):
    assert OPEN not in strip_reasoning(text) and CLOSE not in strip_reasoning(text)
    assert strip_reasoning(strip_reasoning(text)) == strip_reasoning(text)


def test_the_editor_is_shown_what_was_said():
    problem = Problem("a", Split.TRAIN, 0, "1 + 1?", "2", "")
    assert summary_context(problem, "<think>never mind</think>2")["response"] == "2"
    assert summary_context(problem, " @ larger 3 5 = 5 ")["response"] == " @ larger 3 5 = 5 "


class ThinksFirst:
    async def sample(self, requests):
        return [Completion((1,), (0.0,), '<think>[{"op": "add", "principle": "draft"}]</think>[ ]', StopReason.STOP) for _ in requests]


def test_an_editor_is_heard_when_it_has_thought():
    editor = Editor(ThinksFirst(), make_chat(), Dialect.load("full"), run_seed=0, step=0, temperature=1.0, max_tokens=9)
    context = {"question": "1 + 1?", "response": "2", "principles": None, "correct": None}
    assert asyncio.run(editor.write(TemplateName.SUMMARY, [context])) == ["[ ]"]
