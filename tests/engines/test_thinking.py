"""Thoughts: those that the prompt opened are thoughts like any other, in whatever form a model marks them; switches of templates."""

import asyncio
from collections.abc import Sequence

import pytest
from chat_models import QWEN, Family, build_chat, make_chat
from rollout_fixtures import ROOT, problems, task
from small_envs import Sums

from espl_bench.config.resolve import resolve
from espl_bench.engines.chat import HfChat
from espl_bench.engines.sampled import Sampled
from espl_bench.engines.thinking import FORMS
from espl_bench.environment.text_env import Verdict
from espl_bench.errors import ModelError, OptionError
from espl_bench.evolution.operators.editor import Editor, summary_context
from espl_bench.grading.extract import extract
from espl_bench.grading.rules import Extraction
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.rollouts.rollout import roll_out
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.types import Completion, Message, Outcome, Problem, SampleRequest, StopReason

BOX = "so it is \\boxed{4}"
ASKED = (Message("user", "a"),)


class Boxed(Sums):
    """Sums whose answer is a box."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        answer = extract(response, Extraction.BOXED).answer
        outcome = Outcome.NO_ANSWER if answer is None else Outcome.CORRECT
        return Verdict.of(outcome)


class Client:
    """Says one text."""

    def __init__(self, chat: HfChat, text: str, stop: StopReason) -> None:
        self.chat, self.text, self.stop = chat, text, stop

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        tokens = self.chat._ids(self.text) + (tuple(self.chat.eos_ids) if self.stop is StopReason.STOP else ())
        return [Sampled(tokens, (-0.5,) * len(tokens), self.stop).completion(self.chat)] * len(requests)


def outcome(name: str, text: str, stop: StopReason = StopReason.LENGTH):
    chat = make_chat(name)
    [[group]] = [asyncio.run(roll_out(Client(chat, text, stop), task(Boxed, chat=chat), [ROOT], problems(Boxed, 1), 1, "x"))]
    [trajectory] = group.trajectories_G
    return trajectory


@pytest.mark.parametrize(("name", "text"), [("qwen35", BOX), ("r1", BOX), ("qwen3", f"<think>\n{BOX}"), ("chatml", f"<think>\n{BOX}")])
def test_a_box_in_thoughts_that_were_cut_off_is_no_answer(name: str, text: str):
    cut, ended = outcome(name, text), outcome(name, text, StopReason.STOP)
    assert (cut.reward, cut.outcome) == (0.0, Outcome.TRUNCATED)
    assert (ended.reward, ended.outcome) == (0.0, Outcome.NO_ANSWER)
    assert RolloutRow.of(cut, 0).turns == (f"<think>\n{BOX}",), "what is stored can be replayed"
    completion = cut.turns[0].completion
    assert sum(completion.lengths_T) == len(completion.text)


@pytest.mark.parametrize(
    ("name", "text"), [("qwen35", f"hm\n</think>\n\n{BOX}"), ("r1", f"hm\n</think>\n\n{BOX}"), ("qwen3", BOX), ("chatml", BOX)]
)
def test_a_box_behind_the_thoughts_is_one(name: str, text: str):
    assert outcome(name, text, StopReason.STOP).reward == 1.0


def test_only_the_words_that_open_the_turn_open_thoughts():
    chat = make_chat("qwen3")
    assert chat.opened((Message("user", "Put your thoughts into <think> tags."),)) == ""
    assert make_chat("qwen35").thinking(False, "--thinking").opened(ASKED) == ""
    assert make_chat("qwen35").opened((Message("user", "</think>"),)) == "<think>\n"


def test_an_editor_that_was_cut_in_its_thoughts_wrote_nothing():
    chat, context = make_chat("qwen35"), summary_context(problems(Boxed, 1)[0], "x")
    for text, written in ((f"[{BOX}]", ""), ("hm\n</think>\n\nA summary.", "A summary.")):
        editor = Editor(Client(chat, text, StopReason.LENGTH), chat, Dialect.load("full"), 0, 0, 1.0, 8)
        assert asyncio.run(editor.write(TemplateName.SUMMARY, [context])) == [written]


# Other forms


def marked(opening: str, closing: str, special: bool, opens: bool) -> HfChat:
    """A chat whose template names these markers."""
    named = f"{{# {opening} {closing} #}}" + make_chat("chatml").template
    template = named.replace("assistant\n{%", f"assistant\n{opening}\n{{%") if opens else named
    markers = (opening, closing) if special else ()
    return build_chat("marked", Family(None, (*QWEN.special[:2], *markers, "<|im_end|>")), template)


@pytest.mark.parametrize("form", FORMS[:-1], ids=lambda form: next(iter(form)))
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("opens", [True, False])
def test_other_markers_are_read_as_the_common_ones(form, special: bool, opens: bool):
    opening, closing = form
    chat = marked(opening, closing, special, opens)
    assert chat.opened(ASKED) == ("<think>\n" if opens else "")
    ids = (*chat._ids(f"{'' if opens else opening}hm {BOX}{closing}done"), *chat.eos_ids)
    assert chat.opened(ASKED).strip() + chat.decode(ids) == f"<think>hm {BOX}</think>done"
    cut = chat.opened(ASKED) + chat.decode(chat._ids(f"{'' if opens else opening}hm {BOX}"))
    assert extract(cut, Extraction.BOXED).answer is None
    talk = (*ASKED, Message("assistant", "<think>hm</think>done"), Message("user", "b"))
    assert "<think>" not in chat._text(talk, assistant_speaks=True) or opening == "<think>"


def test_channels_are_read_as_thoughts():
    special = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
    template = (
        "{% for m in messages %}<|start|>{{ m.role }}{{ '<|channel|>final' if m.role == 'assistant' }}"
        "<|message|>{{ m.content }}<|end|>{% endfor %}"
        "{# <|channel|>analysis<|message|> #}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    )
    chat = build_chat("channels", Family(None, special), template)
    said = f"<|channel|>analysis<|message|>hm {BOX}"
    assert chat.decode(chat._ids(said)) == f"<think>hm {BOX}"
    whole = chat._ids(f"{said}<|end|><|start|>assistant<|channel|>final<|message|>done<|return|>")
    assert chat.decode(whole) == f"<think>hm {BOX}</think>done"
    assert chat.decode(chat._ids("<|channel|>final<|message|>done<|return|>")) == "done"


# The switch


def test_a_switch_is_found_by_what_it_changes():
    on, off = (make_chat("qwen35").thinking(value, "--thinking") for value in (True, False))
    assert on.encode(ASKED) == make_chat("qwen35").encode(ASKED) != off.encode(ASKED)
    assert "<think>\n\n</think>" in off._text(ASKED, assistant_speaks=True)


@pytest.mark.parametrize("name", ["thinking", "enable_thinking"])
def test_either_name_of_the_switch_is_known(name: str):
    template = make_chat("qwen35").template.replace("enable_thinking", name)
    off = build_chat("named", QWEN, template).thinking(False, "--thinking")
    assert off._switches == {name: False}


@pytest.mark.parametrize("name", ["chatml", "qwen25", "r1", "lab"])
def test_a_template_without_a_switch_is_one_line(name: str):
    with pytest.raises(ModelError, match=r"has no switch for thinking \(enable_thinking, thinking\); leave out --editor-thinking$"):
        make_chat(name).thinking(False, "--editor-thinking")


def test_the_choice_is_recorded_and_refused_where_it_has_no_effect():
    assert resolve("base", "rulebook", {"thinking": "off"}).model_dump()["sampling"]["thinking"] == "off"
    assert "thinking" not in resolve("base", "rulebook", {}).model_dump()["sampling"], "a run without it keeps its id"
    with pytest.raises(OptionError, match="writes no reflections"):
        resolve("base", "rulebook", {"editor_thinking": "off"})
    endpoint = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    for name in ("thinking", "editor_thinking"):
        with pytest.raises(OptionError, match="an endpoint renders its own"):
            resolve("evolution_only", "rulebook", {**endpoint, name: "on"})
