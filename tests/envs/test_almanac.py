"""The almanac: pages, search, grading, splits, and scripted policies that play it through the rollouts of the harness."""

import asyncio
import itertools
import random
import subprocess
import sys
from collections import Counter
from functools import partial

import pytest
from checked import integer
from espl_envs.almanac.env import AlmanacEnv
from espl_envs.almanac.index import AlmanacIndex
from espl_envs.almanac.pages import Almanac, Question, as_reply, hidden_almanac
from espl_envs.almanac.words import HOUSE_WORDS, NAMES, RELATIONS, SOURCE, SOURCES
from espl_envs.lab.courses.almanac import CALL, CHOICES, AlmanacCourse, Attempt, Searcher, draw_almanac
from espl_envs.lab.language import as_stated
from espl_envs.lab.skills import DIALECT
from espl_envs.lab.tokenizer import build_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S

from espl_bench.engines.chat import HfChat
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.editor import transcript
from espl_bench.prompts.dialect import Placement
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.types import ROOT_ORIGIN, Completion, Limit, Lineage, Outcome, Problem, Rating, Split, StopReason, SystemPrompt, Trajectory

ITEM = Problem("test/0", Split.TEST, 0, "who is ada 's rival 's cook ?", "dov", gold="answer dov")
COURSE = AlmanacCourse()


def search(query: str) -> str:
    return f"{CALL[0]} {query} {CALL[1]}"


# Grading


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("answer dov", Outcome.CORRECT),
        ("ledger says answer dov", Outcome.CORRECT),
        ("answer\ndov\n", Outcome.CORRECT),
        ("answer ben answer dov", Outcome.CORRECT),
        ("answer dov answer ben", Outcome.WRONG),
        ("answer dov ben", Outcome.WRONG),
        ("answer Dov", Outcome.WRONG),
        ("answer dov .", Outcome.WRONG),
        ("answer none", Outcome.WRONG),
        ("answer", Outcome.NO_ANSWER),
        ("dov", Outcome.NO_ANSWER),
        ("answer: dov", Outcome.NO_ANSWER),
        ("answer dov answer", Outcome.NO_ANSWER),
        ("", Outcome.NO_ANSWER),
    ],
)
def test_grading(response: str, outcome: Outcome):
    verdict = AlmanacEnv().grade(ITEM, response)
    assert verdict.outcome is outcome
    assert verdict.reward == float(outcome is Outcome.CORRECT)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_environment(text: str):
    env = AlmanacEnv()
    env.reset(options={"split": Split.TEST, "index": 0})
    _, reward, *_ = env.step(text)
    assert reward == 0.0 or text.split()[-1] == env.problem(Split.TEST, 0).answer


# Worlds and pages


@pytest.mark.parametrize("world", [-1, 1.5, "3", None, True])
def test_a_world_is_a_whole_number_from_nought(world: object):
    with pytest.raises(UsageError, match="almanac: world must be a whole number from 0"):
        AlmanacEnv(world=world)  # pyright: ignore[reportArgumentType]


def test_worlds_differ_and_have_no_favourites():
    worlds = [hidden_almanac(world) for world in range(200)]
    assert len({tuple(world.secrets.items()) for world in worlds}) == 200
    assert all(30 <= count <= 70 for count in Counter(world.reliable for world in worlds).values())
    for relation in RELATIONS:
        assert set(Counter(world.house_words[relation] for world in worlds)) == set(HOUSE_WORDS)


def test_every_source_tells_and_the_reliable_one_the_truth():
    almanac = hidden_almanac(3)
    lucky = total = 0
    for person in NAMES:
        for relation in RELATIONS:
            page = almanac.page(person, relation)
            told = {entry.source: entry.claim for entry in page.entries}
            assert sorted(told) == sorted(SOURCES) and person not in told.values()
            assert told.pop(almanac.reliable) == almanac.truth(person, relation)
            lucky += sum(claim == almanac.truth(person, relation) for claim in told.values())
            total += len(told)
    assert lucky / total < 0.06, "by chance, one in 31"


def test_where_a_source_stands_on_a_page_tells_nothing():
    almanac = hidden_almanac(3)
    places = Counter(
        [entry.source for entry in almanac.page(person, relation).entries].index(almanac.reliable)
        for person in NAMES
        for relation in RELATIONS
    )
    assert all(count > 512 / 4 * 0.75 for count in places.values())


def test_the_most_frequent_claim_is_a_poor_guess():
    """A vote among the sources must not take the place of knowing which one to trust."""
    almanac, right = hidden_almanac(3), 0
    for person in NAMES:
        for relation in RELATIONS:
            claims = Counter(entry.claim for entry in almanac.page(person, relation).entries)
            right += claims.most_common(1)[0][0] == almanac.truth(person, relation)
    assert right / 512 < 0.5


# Search


def test_entries_are_found_by_their_whole_heading_in_any_order_and_by_no_other_word():
    almanac, index = hidden_almanac(0), AlmanacIndex(0)
    word, page = almanac.house_words["rival"], almanac.page("ada", "rival")
    other = next(each for each in HOUSE_WORDS if each != word)
    queries = [
        f"ada rival {word}",
        f"{word} ada rival",
        f"ada rival {word} source mural",
        f"ada rival {other}",
        f"ada rival {word} please",
        "ada rival",
        f"ada {word}",
        " ".join(HOUSE_WORDS),
        " ",
    ]
    every, turned, one, *nothing = index.retrieve(queries, top_k=5)
    assert [(passage.title, passage.text) for passage in every.passages] == [(entry.source, entry.claim) for entry in page.entries]
    assert turned.passages == every.passages
    assert [(passage.title, passage.text) for passage in one.passages] == [("mural", page.told_by("mural").claim)]
    assert len(nothing) == 6 and not any(found.passages for found in nothing)


def test_the_environment_replies_what_pre_training_looks_up():
    almanac, env = hidden_almanac(5), AlmanacEnv(5)
    for person in NAMES[:3]:
        for relation in RELATIONS:
            for word in HOUSE_WORDS:
                for source in SOURCES:
                    page = almanac.look_up(person, relation, word)
                    said = env.use("search", {"query_list": [f"{person} {relation} {word} source {source}"]})
                    assert said == as_reply([page.told_by(source)] if page else [])


def test_who_names_no_source_hears_all_of_them():
    almanac = hidden_almanac(0)
    said = AlmanacEnv(0).use("search", {"query_list": [f"ada rival {almanac.house_words['rival']}"]})
    assert said == as_reply(almanac.page("ada", "rival").entries) and said.count(" ; ") == 3


def test_an_episode_hears_an_entry_then_answers():
    env, almanac = AlmanacEnv(0), hidden_almanac(0)
    question, _ = env.reset(options={"split": Split.TEST, "index": 0})
    person, first = question.split()[2], question.split()[4]
    observations, reward, ended, *_ = env.step(search(f"{person} {first} {almanac.house_words[first]} source ledger"))
    assert observations == f"<tool_response>\nledger {almanac.page(person, first).told_by('ledger').claim} .\n</tool_response>"
    assert (reward, ended) == (0.0, False)
    observations, *_ = env.step(search("nobody"))
    assert "nothing ." in observations
    assert env.step(env.problem(Split.TEST, 0).gold)[1:3] == (1.0, True)


def test_what_cannot_be_searched_is_told_and_three_turns_are_the_limit():
    env = AlmanacEnv(0)
    env.reset(options={"split": Split.TEST, "index": 0})
    call = '<tool_call>{"name": "search", "arguments": {"query_list": ["ada", "ben"]}}</tool_call>'
    assert "Error: query_list holds 2 queries; give 1" in env.step(call)[0]
    assert "the call is not JSON" in env.step("<tool_call>{</tool_call>")[0]
    *_, truncated, info = env.step(search("ada rival amber"))
    assert truncated and info == {"outcome": Outcome.TRUNCATED, "limit": Limit.TURNS}


# Items


def test_published_items_do_not_change():
    assert AlmanacEnv(0).problem(Split.TEST, 0).question == "who is kaia 's weaver 's piper ?"
    assert AlmanacEnv(0).problem(Split.TRAIN, 17).question == "who is cleo 's smith ?"


def test_items_do_not_depend_on_the_process():
    script = (
        "from espl_envs.almanac.env import AlmanacEnv; from espl_bench.types import Split;"
        "print(*(p.question + p.answer for split in Split for p in (AlmanacEnv(5).problem(split, i) for i in range(20))), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S, env={"PYTHONHASHSEED": "7"}
    )
    here = [AlmanacEnv(5).problem(split, index) for split in Split for index in range(20)]
    assert done.stdout.strip().split("|") == [problem.question + problem.answer for problem in here]


def test_questions_have_the_lengths_of_their_split_and_none_occurs_twice():
    env = AlmanacEnv()
    questions = {split: [env.problem(split, index).question for index in range(env.size(split))] for split in Split}
    lengths = {split: Counter(question.count("'s") for question in asked) for split, asked in questions.items()}
    assert lengths == {Split.TRAIN: {1: 192, 2: 64}, Split.VALIDATION: {1: 48, 2: 16}, Split.TEST: {2: 100}}
    every = [question for asked in questions.values() for question in asked]
    assert len(set(every)) == len(every)
    assert {word for question in questions[Split.TRAIN] for word in question.split()} >= {*RELATIONS, *NAMES}


def test_answers_are_what_the_reliable_source_tells_step_by_step():
    for world in (0, 9):
        env, almanac = AlmanacEnv(world), hidden_almanac(world)
        for split in Split:
            for index in range(env.size(split)):
                problem = env.problem(split, index)
                _, _, person, *rest = problem.question.removesuffix(" ?").split()
                for relation in rest[1::2]:
                    page = almanac.look_up(person, relation, almanac.house_words[relation])
                    assert page is not None
                    person = {entry.source: entry.claim for entry in page.entries}[almanac.reliable]
                assert problem.answer == person


def test_a_constant_answer_is_poor():
    answers = Counter(AlmanacEnv().problem(Split.TEST, index).answer for index in range(100))
    assert answers.most_common(1)[0][1] <= 12


# Policies, through the rollouts of the harness


def make_chat() -> HfChat:
    tokenizer = build_tokenizer(COURSE)
    return HfChat(tokenizer, frozenset({integer(tokenizer.eos_token_id)}), "scripted")


class Scripted:
    """A sampling client that knows what there is to know, or not, and says it turn by turn."""

    def __init__(self, chat: HfChat, searcher: Searcher, almanac: Almanac) -> None:
        self.chat, self.searcher, self.almanac = chat, searcher, almanac

    async def sample(self, requests):
        return [self._say(request) for request in requests]

    def _say(self, request) -> Completion:
        _, _, person, *rest = request.messages[1].content.removesuffix(" ?").split()
        attempt = self.searcher.attempt(random.Random(person), self.almanac, Question(person, tuple(rest[1::2])))
        text = attempt.turns[(len(request.messages) - 2) // 2]
        assert self.chat.decode(request.prompt_T).endswith(request.messages[-1].content.split()[-1])
        tokens = tuple(self.chat._tokenizer(f"{text} <|end|>", add_special_tokens=False)["input_ids"])
        return Completion(tokens, (-0.5,) * len(tokens), self.chat.decode(tokens), StopReason.STOP)


def play(searcher: Searcher, world: int = 0, questions: int = 100) -> list[Trajectory]:
    chat = make_chat()
    task = RolloutSpec(partial(AlmanacEnv, world), DIALECT, Placement.SYSTEM, chat, 1.0, 1.0, 16, run_seed=0)
    problems = [AlmanacEnv(world).problem(Split.TEST, index) for index in range(questions)]
    prompt = SystemPrompt(0, (), Rating(), Lineage(ROOT_ORIGIN))
    client = Scripted(chat, searcher, hidden_almanac(world))
    groups = asyncio.run(roll_out(client, task, [prompt], problems, 1, "test"))
    return [trajectory for group in groups for trajectory in group.trajectories_G]


def score(trajectories: list[Trajectory]) -> float:
    return sum(trajectory.reward for trajectory in trajectories) / len(trajectories)


def test_who_knows_everything_and_does_not_slip_is_always_right():
    everything = as_stated(list(hidden_almanac(0).secrets.items()))
    assert score(play(Searcher(everything, {}, 0.0, 0.0))) == 1.0
    assert 0.3 < score(play(Searcher(everything, {}, 0.2, 0.0))) < 0.75, "practice has something to put right"


@pytest.mark.parametrize("unknown", ["house words", SOURCE])
def test_both_kinds_of_secret_are_needed(unknown: str):
    secrets = hidden_almanac(0).secrets
    known = {topic: choice for topic, choice in secrets.items() if (topic == SOURCE) == (unknown != SOURCE)}
    assert score(play(Searcher(as_stated(list(known.items())), {}, 0.0, 0.0))) < 0.3


def test_editors_are_shown_what_pre_training_shows_them():
    secrets = as_stated(list(hidden_almanac(0).secrets.items()))
    searcher = Searcher(secrets, {}, 0.3, 0.3)
    for trajectory in play(searcher, questions=30):
        _, _, person, *rest = trajectory.problem.question.removesuffix(" ?").split()
        attempt = searcher.attempt(random.Random(person), hidden_almanac(0), Question(person, tuple(rest[1::2])))
        assert transcript(trajectory) == attempt.transcript
        assert trajectory.outcome is (Outcome.CORRECT if attempt.answer == trajectory.problem.answer else Outcome.WRONG)


def test_a_rollouts_tokens_are_those_of_pre_training():
    chat, tokenizer = make_chat(), build_tokenizer(COURSE)
    searcher = Searcher(as_stated(list(hidden_almanac(0).secrets.items())), {}, 0.0, 0.0)
    for trajectory in play(searcher, questions=5):
        tokens: list[int] = []
        for turn in trajectory.turns:
            tokens += [*turn.observation_T, *turn.completion.tokens_T]
        _, _, person, *rest = trajectory.problem.question.removesuffix(" ?").split()
        attempt = searcher.attempt(random.Random(person), hidden_almanac(0), Question(person, tuple(rest[1::2])))
        opening = DIALECT.prompt_messages((), trajectory.problem.question, Placement.SYSTEM)
        chatted = [*(opening + attempt.messages), type(opening[0])("assistant", attempt.turns[-1])]
        whole = tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in chatted], tokenize=False)
        assert isinstance(whole, str)
        assert tokens == tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in tokens
        assert len(trajectory.segments) == 1
    assert chat.eos_ids == {integer(tokenizer.convert_tokens_to_ids("<|end|>"))}


# The simulated searchers of pre-training


def attempts(searcher: Searcher, count: int = 400) -> list[tuple[Attempt, Almanac]]:
    found = []
    for seed in range(count):
        rng = random.Random(seed)
        world = {SOURCE: "ledger", "rival": "amber", "cook": "onyx"}
        almanac = draw_almanac(rng, world)
        found.append((searcher.attempt(rng, almanac, Question("ada", ("rival", "cook"))), almanac))
    return found


KNOWN = {SOURCE: ("ledger",), "rival": ("amber",), "cook": ("onyx",)}


def test_an_attempt_says_what_it_does():
    attempt, almanac = attempts(Searcher(KNOWN, {}, 0.0, 0.0), 1)[0]
    rival, cook = almanac.follow(attempt.question)
    assert attempt.turns == (
        search("ada rival amber source ledger"),
        search(f"{rival} cook onyx source ledger"),
        f"answer {cook}",
    )
    assert attempt.summary == "source ledger rival amber cook onyx"
    assert attempt.reading(cook).right and not attempt.reading("nobody").right


def test_who_finds_nothing_gives_up():
    attempt, _ = attempts(Searcher({SOURCE: ("mural",), "rival": ("onyx",)}, {}, 0.0, 0.0), 1)[0]
    assert attempt.turns == (search("ada rival onyx source mural"), "answer none")
    assert attempt.replies == ("nothing .",)
    assert attempt.summary == "source mural rival onyx cook none"


def test_slips_are_as_frequent_as_said():
    right = [attempt.answer == almanac.answer(attempt.question) for attempt, almanac in attempts(Searcher(KNOWN, {}, 0.2, 0.0))]
    assert abs(sum(right) / 400 - 0.8**3) < 0.08


def test_without_principles_choices_are_chance():
    used = Counter(attempt.used[0] for attempt, _ in attempts(Searcher({}, {}, 0.0, 0.0)))
    assert set(used) == set(HOUSE_WORDS) and max(used.values()) < 110


def test_no_example_can_give_a_world_away():
    """What is chosen in an example follows from its prompt or from chance, never from a fixed world."""
    rng = random.Random(6)
    chosen: dict[str, Counter[str]] = {topic: Counter() for topic in CHOICES}
    for _ in range(3000):
        for message in COURSE.solve(rng, COURSE.full).messages:
            words = message.content.split() if message.role == "assistant" else []
            for topic, choice in itertools.pairwise(words):
                if topic in chosen:
                    chosen[topic][choice] += 1
    assert all(max(counts.values()) < 0.35 * counts.total() for counts in chosen.values())
