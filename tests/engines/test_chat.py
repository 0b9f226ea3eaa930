"""Tokens in, tokens out, under the chat templates of several families: ids and masks of random dialogues."""

import random
from itertools import chain, pairwise

import pytest
from chat_models import NAMES, NATIVE, SPEAKING, build_real, make_chat, real_templates
from checked import present
from hypothesis import given, settings
from hypothesis import strategies as st
from marker_attacks import ATTACKS, SEARCH

from espl_bench.errors import ModelError
from espl_bench.learning.datums import to_datums
from espl_bench.tools.sanitize import sanitize
from espl_bench.tools.tool_env import as_text
from espl_bench.types import Completion, Message, Observation, Outcome, Problem, Split, StopReason, ToolCall, Trajectory, Turn

CALL = ToolCall("search", '{"query_list": ["a"]}')
PROBLEM = Problem("train/0", Split.TRAIN, 0, "q", "a", "a")
WORDS = ("who", "wrote", "the", "book", "film", "born", "in", "1994", "where", "was", "author", "of", "dax", "is", "7", "larger")

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
thoughts = st.one_of(st.none(), words)


@st.composite
def dialogues(draw, hostile: bool = False):
    """A system message or none, a question, and turns: what is thought, what is said, and what is replied."""
    attack = st.sampled_from(ATTACKS) if hostile else st.just("")
    reply = st.tuples(words, attack, words).map(lambda parts: " ".join(filter(None, parts)))
    turns = draw(st.lists(st.tuples(thoughts, words, reply, st.booleans()), min_size=1, max_size=4))
    return draw(st.one_of(st.none(), words)), draw(words), turns


def opening(system, question):
    return (*([Message("system", system)] if system else []), Message("user", question))


def said_text(chat, thought, said):
    """What a model of the family would say, in the form its template has for it."""
    if thought is None:
        return said
    opened = "" if chat._text((Message("user", "a"),), assistant_speaks=True).rstrip().endswith("<think>") else "<think>\n"
    return f"{opened}{thought}\n</think>\n\n{said}"


def sampled(chat, conversation, text) -> tuple[int, ...]:
    """The ids a model would sample for a text: those of the template's own rendering, white space around it included."""
    asked = chat._text(conversation, assistant_speaks=True)
    answered = chat._text((*conversation, Message("assistant", text)), assistant_speaks=False)
    end = chat._ends[0]
    inside = answered[len(asked) : answered.find(end, len(asked))] if answered.startswith(asked) else text
    return (*chat._ids(inside if inside.strip() == text else text), *chat.eos_ids)


def reply_message(text, by_tool):
    return Message("user", as_text([Observation(text, "search")]) if by_tool else text)


def play(chat, dialogue, ids_of):
    """The turns of an episode as rollout.py makes them, and the messages."""
    system, question, exchanges = dialogue
    messages = opening(system, question)
    observation_T, fresh, turns, tokens_T = chat.encode(messages), False, [], chat.encode(messages)
    for thought, said, replied, by_tool in exchanges:
        ids = ids_of(messages, said_text(chat, thought, said))
        text = chat.opened(messages) + said_text(chat, thought, said)
        turns.append(Turn(observation_T, Completion(ids, (-0.5,) * len(ids), text, StopReason.STOP), (), fresh))
        conversation, reply = (*messages, Message("assistant", text)), reply_message(replied, by_tool)
        appended_T = chat.continuation(conversation, [reply])
        messages = (*conversation, reply)
        fresh = appended_T is None
        observation_T = chat.encode(messages) if fresh else appended_T
        tokens_T = observation_T if fresh else (*tokens_T, *ids, *observation_T)
    last = ids_of(messages, "done")
    turns.append(Turn(observation_T, Completion(last, (-0.5,) * len(last), "done", StopReason.STOP), (), fresh))
    return Trajectory(PROBLEM, 0, 0, tuple(turns), 1.0, Outcome.CORRECT), messages, tokens_T


@pytest.mark.parametrize("name", SPEAKING)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(dialogue=dialogues())
def test_the_tokens_of_a_dialogue_are_those_that_the_template_gives_the_whole(name, dialogue):
    chat = make_chat(name)
    _, messages, tokens_T = play(chat, dialogue, lambda conversation, text: sampled(chat, conversation, text))
    assert tokens_T == chat.encode(messages)


@pytest.mark.parametrize("name", SPEAKING)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(dialogue=dialogues(), seed=st.integers(0, 2**32))
def test_sampled_ids_stay_as_they_are_and_they_alone_are_trained_on(name, dialogue, seed):
    chat, rng = make_chat(name), random.Random(seed)
    usual = [token for token in range(len(chat._tokenizer)) if token not in chat._tokenizer.all_special_ids]
    trajectory, _, _ = play(chat, dialogue, lambda conversation, text: (*rng.choices(usual, k=5), *chat.eos_ids))
    data = to_datums(trajectory, 0.5, 1.0)
    assert len(data) == len(trajectory.segments)
    kept = [[t for t, mask in zip(datum.tokens_T, datum.mask_T, strict=True) if mask] for datum in data]
    by_segment = [list(chain.from_iterable(turn.completion.tokens_T for turn in segment)) for segment in trajectory.segments]
    assert kept == by_segment, "what was sampled, to the id, and nothing else"
    for datum, segment in zip(data, trajectory.segments, strict=True):
        assert datum.tokens_T[: len(segment[0].observation_T)] == segment[0].observation_T
        assert all((logprob != 0) == mask for logprob, mask in zip(datum.logprobs_T, datum.mask_T, strict=True))


@pytest.mark.parametrize("name", SPEAKING)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(dialogue=dialogues())
def test_a_segment_begins_exactly_where_the_template_changes_what_stood_before(name, dialogue):
    chat = make_chat(name)
    system, question, exchanges = dialogue
    messages = opening(system, question)
    for thought, said, replied, by_tool in exchanges:
        said_message = Message("assistant", said_text(chat, thought, said))
        conversation = (*messages, said_message)
        appended_T = chat.continuation(conversation, [reply_message(replied, by_tool)])
        messages = (*conversation, reply_message(replied, by_tool))
        before = (*chat.encode(conversation[:-1]), *sampled(chat, conversation[:-1], said_message.content))
        whole = chat.encode(messages)
        assert (appended_T is not None) == (whole[: len(before)] == before)
        if appended_T is not None:
            assert whole[len(before) :] == appended_T


def test_which_families_are_split_into_segments():
    def splits(name, thought, system, by_tool):
        dialogue = (system, "who was born", [(thought, "a book", "a film", by_tool)] * 2)
        chat = make_chat(name)
        return len(play(chat, dialogue, lambda conversation, text: sampled(chat, conversation, text))[0].segments)

    plain = {name for name in SPEAKING if splits(name, None, None, False) > 1}
    assert plain == {"qwen35", "r1"}, "only the thinking that its prompt opens is dropped"
    assert {name for name in SPEAKING if splits(name, None, "be brief", False) > 1} == {"mistral", "qwen35", "r1"}, (
        "the system message moves on"
    )
    thinking = {name for name in SPEAKING if name != "lab" and splits(name, "hm", None, False) > 1}
    assert thinking == {"qwen3", "qwen35", "r1"}, "thinking is dropped"
    replied = {name for name in SPEAKING if name != "lab" and splits(name, "hm", None, True) > 1}
    assert replied == {"qwen35", "r1"}, "a reply of a tool is no question, which one of them knows"


def test_a_template_that_ends_no_turn_is_rendered_anew_each_time():
    chat = make_chat("endless")
    assert chat.continuation((Message("user", "a"), Message("assistant", "b")), [Message("user", "c")]) is None


# Tools in the model's own format


@pytest.mark.parametrize("name", NATIVE)
def test_replies_extend_a_conversation_whose_calls_are_in_the_models_own_format(name):
    plain = make_chat(name)
    chat = plain.with_tools([SEARCH])
    question = (Message("user", "who was born"),)
    assert "query_list" in chat.decode(chat.encode(question)) and "query_list" not in plain.decode(plain.encode(question))
    conversation = (*question, Message("assistant", "", (CALL,)))
    reply = Message("tool", "a film of 1994", tool="search")
    appended_T = chat.continuation(conversation, [reply])
    whole = chat.encode((*conversation, reply))
    asked, answered = (chat._text(part, assistant_speaks=speaks) for part, speaks in ((question, True), (conversation, False)))
    before = (*chat.encode(question), *chat._ids(answered[len(asked) :].rstrip()))
    assert whole[: len(before)] == before and whole[len(before) :] == appended_T
    assert "a film of 1994" in chat.decode(present(appended_T))


@pytest.mark.parametrize("name", sorted(set(SPEAKING) - set(NATIVE)))
def test_a_template_without_tools_says_so(name):
    with pytest.raises(ModelError, match="knows no tools; use --tool-format text"):
        make_chat(name).with_tools([SEARCH])


# Foreign text


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(dialogue=dialogues(hostile=True), filler=words)
def test_no_foreign_text_becomes_a_token_of_the_format(name, dialogue, filler):
    chat = make_chat(name)
    special = {*chat._tokenizer.all_special_ids, *chat._tokenizer.added_tokens_decoder}

    def marks(text):
        reply = Message("user", as_text([Observation(chat.harmless(sanitize(text, 500)), "search")]))
        tokens_T = chat.encode((Message("user", "a"), Message("assistant", "b"), reply))
        return [token for token in tokens_T if token in special and token != chat._tokenizer.unk_token_id]

    for _, _, replied, _ in dialogue[2]:
        assert marks(replied) == marks(filler)


@pytest.mark.parametrize("name", NAMES)
def test_every_marker_of_the_tokenizer_is_taken_apart(name):
    chat = make_chat(name)
    for token in chat._tokenizer.all_special_tokens:
        if len(token) > 1 and token != chat._tokenizer.unk_token:
            ids = chat._ids(chat.harmless(f"a {token} b"))
            assert chat._tokenizer.convert_tokens_to_ids(token) not in ids
    assert chat.harmless("plain words, 3 < 4 and [1]") == "plain words, 3 < 4 and [1]"


# The families' own templates, where somebody has them


@pytest.mark.parametrize(("name", "template"), list(real_templates()))
def test_a_real_template_is_extended_exactly_or_rendered_anew(name, template):
    try:
        chat = build_real(name, template)
    except ModelError as error:
        pytest.skip(str(error))
    if chat is None:
        pytest.skip("words no plain chat, or ends no turn")
    rng = random.Random(name)
    thoughts_open = bool(chat.opened((Message("user", "a"),)))  # what is said without a thought is then all thought
    for _ in range(20):
        thought = "hm" if thoughts_open else rng.choice((None, "hm"))
        dialogue = (None, "who was born", [(thought, "a book", "a film", rng.random() < 0.5) for _ in range(rng.randint(1, 3))])
        trajectory, messages, tokens_T = play(chat, dialogue, lambda conversation, text: sampled(chat, conversation, text))
        assert tokens_T == chat.encode(messages)
        for earlier, later in pairwise(trajectory.segments):
            before = [token for turn in earlier for token in (*turn.observation_T, *turn.completion.tokens_T)]
            assert later[0].observation_T[: len(before)] != tuple(before), "no segment without need"
