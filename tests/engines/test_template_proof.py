"""A chat template is proved at opening: what a run puts into it comes out, and its turns end with what ends a completion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_models import NATIVE, QWEN, SPEAKING, build_chat, make_chat, real_templates
from checked import integer, present
from marker_attacks import SEARCH
from template_fates import NO_CHAT, Fate, fate
from tiny_qwen import make_tiny_qwen

from espl_bench.build import open_run
from espl_bench.config.resolve import resolve
from espl_bench.engines.chat import HfChat
from espl_bench.errors import ModelError
from espl_bench.types import Message

CHATML = make_chat("chatml").template
OPENING = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def chatml(body: str, opening: str = OPENING) -> str:
    return f"{{% for message in messages %}}{body}{{% endfor %}}{opening}"


TURN = "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
NO_SYSTEM = chatml("{% if message.role != 'system' %}" + TURN + "{% endif %}")
PARTS = chatml("<|im_start|>{{ message.role }}\n{% for part in message.content %}{{ part.text }}{% endfor %}<|im_end|>\n")
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + chatml(TURN)
ONE_LINE = chatml("<|im_start|>{{ message.role }}\n{{ message.content.splitlines()[0] }}<|im_end|>\n")
ESCAPED = chatml("<|im_start|>{{ message.role }}\n{{ message.content | e }}<|im_end|>\n")
FIRST_ONLY = "<|im_start|>user\n{{ messages[-1].content if messages | length == 1 else messages[0].content }}<|im_end|>\n" + OPENING
FORGETS = "{% set talk = messages[:3] %}{% for message in talk %}" + TURN + "{% endfor %}" + OPENING


@pytest.mark.parametrize(
    ("template", "system", "message"),
    [
        (NO_SYSTEM, True, "leaves out the system message, or changes it; .* --placement user$"),
        (REFUSES_SYSTEM, True, "refuses the roles system, user: no system here; try --placement user$"),
        (PARTS, True, "leaves out the user's message, or changes it .*in parts.*; correct its chat_template.jinja"),
        (PARTS, False, "leaves out the user's message"),
        (ONE_LINE, False, "leaves out the user's message, or changes it"),
        (ESCAPED, False, "leaves out the user's message, or changes it"),
        (FIRST_ONLY, False, "leaves out what the assistant said before"),
        (FORGETS, True, "leaves out the message that follows an assistant's"),
    ],
)
def test_a_template_that_loses_a_part_is_one_line(template: str, system: bool, message: str):
    chat = build_chat("losing", QWEN, template)
    with pytest.raises(ModelError, match=message) as caught:
        chat.prove(system=system, replies=True)
    assert "\n" not in str(caught.value)


def test_what_a_run_does_not_use_is_not_asked_for():
    build_chat("no-system", QWEN, NO_SYSTEM).prove(system=False, replies=True)
    build_chat("once", QWEN, FORGETS).prove(system=False, replies=False)


@pytest.mark.parametrize("name", SPEAKING)
@pytest.mark.parametrize("system", [True, False])
def test_the_families_are_proved(name: str, system: bool):
    make_chat(name).prove(system=system, replies=True)


def test_a_turn_must_end_with_what_ends_a_completion():
    other = chatml(TURN.replace("<|im_end|>", "<|im_start|>end"))
    with pytest.raises(ModelError, match=r"ends a turn with '<\|im_start\|>', which ends no completion .*add 1 to eos_token_id"):
        build_chat("other", QWEN, other).prove(system=True, replies=False)
    with pytest.raises(ModelError, match=r"ends no turn, so that completions would run on .* '<\|endoftext\|>' \(id 0\)"):
        make_chat("endless").prove(system=True, replies=False)


def test_what_opens_the_next_turn_may_end_one():
    """As in GLM: a completion ends where the model would open the user's turn."""
    template = (
        "{% for message in messages %}{{ '<|endoftext|>' if message.role == 'user' else '<|im_start|>' }}{{ message.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    chat = build_chat("glm", QWEN, template)
    chat = HfChat(chat._tokenizer, frozenset({integer(chat._tokenizer.convert_tokens_to_ids("<|endoftext|>"))}), "glm")
    chat.prove(system=True, replies=True)


def test_an_end_that_the_tokenizer_does_not_know_is_one_line():
    tokenizer = make_chat("chatml")._tokenizer
    for unknown in (10**6, -1):
        with pytest.raises(
            ModelError, match=f"names the end-of-turn id {unknown}, which its tokenizer does not know; correct eos_token_id"
        ):
            HfChat(tokenizer, frozenset({tokenizer.eos_token_id, unknown}), "m")


def test_a_turn_that_ended_with_another_id_is_rendered_anew_in_the_templates_own_form():
    one = make_chat("llama31")
    ids: Callable[[str], int] = one._tokenizer.convert_tokens_to_ids
    chat = HfChat(one._tokenizer, one.eos_ids | {ids("<|eom_id|>")}, "several")
    conversation, replies = (Message("user", "who"), Message("assistant", "she")), [Message("user", "when")]
    assert present(chat.continuation(conversation, replies, ids("<|eot_id|>"))) == chat.continuation(conversation, replies)
    assert chat.continuation(conversation, replies, ids("<|eom_id|>")) is None
    assert chat.continuation(conversation, replies, 7) is None


def named(given: Any) -> HfChat:
    tokenizer = build_chat("named", QWEN, CHATML)._tokenizer
    tokenizer.chat_template = given
    return HfChat(tokenizer, frozenset({integer(tokenizer.eos_token_id)}), "named")


def test_of_several_templates_the_default_is_used_or_none():
    for given in ({"default": CHATML, "rag": "x"}, [{"name": "default", "template": CHATML}, {"name": "rag", "template": "x"}]):
        chat = named(given)
        chat.prove(system=True, replies=True)
        assert chat.encode((Message("user", "a"),)) == make_chat("chatml").encode((Message("user", "a"),))
    for given in ({"rag": CHATML, "tool_use": CHATML}, [{"name": "rag", "template": CHATML}], ["x"], {"default": None}):
        with pytest.raises(ModelError, match=r"has several chat templates \(.*\), and none is the default; keep the one to use"):
            named(given)


def test_a_template_for_tools_is_used_with_tools_alone():
    chat = named({"default": CHATML, "tool_use": make_chat(NATIVE[0]).template})
    asked = (Message("user", "a"),)
    assert "query_list" in chat.decode(chat.with_tools([SEARCH]).encode(asked)) and "query_list" not in chat.decode(chat.encode(asked))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('never') }}", "refuses the roles user: never; correct its chat_template.jinja"),
        ("{% for message in %}", "is no template: line 1: .*; correct its chat_template.jinja"),
        ("{{ messages[0].content.nothing() }}", "refuses the roles user: .*; correct"),
        ("{{ messages[7].content }}", "refuses the roles user: .*; correct"),
    ],
)
def test_a_template_that_raises_is_one_line(template: str, message: str):
    with pytest.raises(ModelError, match=message) as caught:
        build_chat("raising", QWEN, template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "template"), list(real_templates()))
def test_a_real_template_is_proved_or_refused_in_one_line(name: str, template: str):
    each = fate(name, template)
    assert "\n" not in each.reason and bool(each.reason) == (each.principles != "in the system message" or each.tools == "refused")


def test_what_becomes_of_a_template_is_told():
    assert fate("qwen3", make_chat("qwen3").template) == Fate("in the system message", "read")
    assert fate("chatml", CHATML) == Fate("in the system message", "none")
    assert fate("once", REFUSES_SYSTEM).principles == "in the user message"
    parts = fate("parts", PARTS)
    assert (parts.principles, parts.tools) == ("refused", "none") and "expect content in parts" in parts.reason
    assert fate("endless", make_chat("endless").template) == Fate("refused", "none", NO_CHAT)
    assert fate("raises", "{{ raise_exception('never') }}").reason.startswith("the chat template of 'raises' refuses the roles user")


def test_a_run_proves_its_template_with_its_placement(tmp_path: Path):
    model = make_tiny_qwen(tmp_path / "model", ["who wrote the book of 1994"] * 8)
    (model / "chat_template.jinja").write_text(NO_SYSTEM)
    choices = {"model": str(model), "engine": "hf"}
    with pytest.raises(ModelError, match=r"leaves out the system message.*--placement user"):
        open_run(resolve("base", "rulebook", choices))
    open_run(resolve("base", "rulebook", {**choices, "placement": "user"}))
