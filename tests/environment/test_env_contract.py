"""The contract of environments: every registered one keeps it, and the checker finds each way of breaking it."""

import itertools
import pickle
import random
import subprocess
import sys
from typing import Any, ClassVar

import faulty_envs
import gymnasium
import pytest
from espl_envs.rulebook.env import RulebookEnv
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete
from small_envs import AskTwice, Sums

from espl_bench import registry
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.checker import RULES, check_environment
from espl_bench.environment.probing import play
from espl_bench.environment.text_env import EnvironmentSpec, Info, TextEnv, Verdict
from espl_bench.errors import EnvError, UsageError
from espl_bench.types import Outcome, Problem, Split


class NotPicklable(Sums):
    def __init__(self):
        super().__init__()
        self.helper = lambda: None


class ForgetsInPickles(Sums):
    shift = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, shift=1)

    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem(plain.id, split, index, plain.question + " " * self.shift, plain.answer, plain.gold)


class UnlikeGymnasium(Sums):
    def __init__(self):
        super().__init__()
        self.observation_space = Discrete(3)  # pyright: ignore[reportAttributeAccessIssue]


class Forgetful(Sums):
    def reset(self, *, seed=None, options=None):
        question, info = super().reset(seed=seed, options=options)
        return f"{question} ", info


class OneId(Sums):
    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem("sum", split, index, plain.question, plain.answer, plain.gold)


class WrongSplit(Sums):
    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem(plain.id, Split.TRAIN, index, plain.question, plain.answer, plain.gold)


class NoValidation(Sums):
    def size(self, split: Split) -> int:
        return 0 if split is Split.VALIDATION else 20


class EvaluationOnly(Sums):
    """A sound environment without anything to learn from."""

    @property
    def splits(self) -> tuple[Split, ...]:
        return (Split.TEST,)

    def size(self, split: Split) -> int:
        return 20 if split is Split.TEST else 0


class HidesItems(Sums):
    @property
    def splits(self) -> tuple[Split, ...]:
        return (Split.TRAIN, Split.TEST)


class NoTest(Sums):
    @property
    def splits(self) -> tuple[Split, ...]:
        return (Split.TRAIN, Split.VALIDATION)

    def size(self, split: Split) -> int:
        return 0 if split is Split.TEST else 20


class DrawsFromSeed(Sums):
    """The item depends on the generator that reset seeds."""

    def problem(self, split: Split, index: int) -> Problem:
        left = self.offset[split] + int(self.np_random.integers(10**9))
        return Problem(f"{split}/{index}", split, index, f"{left} + 4 = ?", str(left + 4), gold=f"answer {left + 4}")


class DrawsWhenMade(Sums):
    """Two instances have different items."""

    made = itertools.count()

    def __init__(self):
        super().__init__()
        self.shift = random.Random(next(self.made)).randrange(1000, 10**9)

    def problem(self, split: Split, index: int) -> Problem:
        left = self.shift + self.offset[split] + index
        return Problem(f"{split}/{index}", split, index, f"{left} + 4 = ?", str(left + 4), gold=f"answer {left + 4}")


class Leaks(Sums):
    offset: ClassVar = {Split.TRAIN: 0, Split.VALIDATION: 100, Split.TEST: 19}


class TakesAnyIndex(Sums):
    def reset(self, *, seed=None, options=None):
        options = options or {}
        if "index" in options:
            options = {**options, "index": options["index"] % 20}
        return super().reset(seed=seed, options=options)


class DoubtsGold(Sums):
    def grade(self, problem: Problem, response: str) -> Verdict:
        verdict = super().grade(problem, response)
        return Verdict.of(Outcome.WRONG) if problem.index == 19 else verdict


class PaysLess(Sums):
    def grade(self, problem: Problem, response: str) -> Verdict:
        verdict = super().grade(problem, response)
        return Verdict(verdict.outcome, 0.9 * verdict.reward)


class CallsSilenceWrong(Sums):
    def grade(self, problem: Problem, response: str) -> Verdict:
        return super().grade(problem, response) if response else Verdict.of(Outcome.WRONG)


class LikesNoise(Sums):
    def grade(self, problem: Problem, response: str) -> Verdict:
        return Verdict.of(Outcome.CORRECT) if "[[" in response else super().grade(problem, response)


class ChokesOnNoise(Sums):
    def grade(self, problem: Problem, response: str) -> Verdict:
        return Verdict.of(Outcome.ERROR) if "[[" in response else super().grade(problem, response)


class ReadsEverything(Sums):
    def step(self, action: str):
        if self.current is None:
            raise ResetNeeded("reset first")
        return self.respond(self.current, action)


class NeverRests(Sums):
    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        verdict = self.grade(problem, action)
        return "", verdict.reward, True, False, {"outcome": verdict.outcome}


class GoesOnForEver(AskTwice):
    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        return "and now?", 0.0, False, False, {}


class SaysNothing(Sums):
    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        text, reward, terminated, truncated, _ = super().respond(problem, action)
        return text, reward, terminated, truncated, {}


BROKEN = {
    UnlikeGymnasium: "gymnasium's check_env: ",
    ForgetsInPickles: "a pickled copy has another item 0 in train",
    OneId: "the id 'sum' is used twice",
    WrongSplit: "item 0 of validation says it is item 0 of train",
    NoValidation: "validation is empty; every split needs items",
    HidesItems: "validation has items and is not among its splits; declare it in `splits`",
    NoTest: "test is not among its splits; every environment needs one",
    DrawsFromSeed: "is not the same the second time; draw it from its index alone",
    DrawsWhenMade: "is different in a second instance; draw it from its index and the options alone",
    Forgetful: "reset shows another question than that of test/18",
    Leaks: "test/0 has the same question as train/19",
    TakesAnyIndex: "reset accepts item -1 of train, which does not exist; raise EnvError",
    PaysLess: "the gold response of train/0 earns 0.9 as correct, not 1.0 as correct",
    CallsSilenceWrong: "an empty response to train/0 earns 0.0 as wrong, not 0.0 as no_answer",
    LikesNoise: "the response '[[[[((((' to train/0 earns 1.0 as correct, not 0.0 as wrong or no_answer",
    ChokesOnNoise: "the response '[[[[((((' to train/0 earns 0.0 as error, not 0.0 as wrong or no_answer",
    ReadsEverything: "a response to train/0 of more than 1000 characters earns 1.0 as correct, not 0.0 as truncated",
    NeverRests: "step after the end of an episode is accepted; raise gymnasium.error.ResetNeeded",
    GoesOnForEver: "the episode of train/0 has not ended after 100 turns",
    SaysNothing: "earns 1.0 as None (info needs an Outcome), not 1.0 as correct",
    faulty_envs.Evaluates: "was run as code; never evaluate what a model wrote",
    faulty_envs.RaisesOnNoise: "the response 'zq }{ 7%% ]] -- qz' to train/0 raises ValueError: could not convert string to float",
    faulty_envs.SharesState: "an episode of train/0 ends otherwise while others are under way; keep its state in the instance",
    faulty_envs.RemembersEpisodes: "the gold response to train/0 ends otherwise the second time; grade without chance",
    faulty_envs.SeedsTheProcess: "it changes the global generator of random; use a generator",
    faulty_envs.Prints: "it prints 'grading train/0",
    faulty_envs.PaysForForm: "train/0 pays the gold response of train/1, whose answer is another; compare the answer, not its form",
    faulty_envs.FindsAnywhere: "the question itself, repeated in answer to train/0 earns 1.0 as correct",
    faulty_envs.FillsIn: "the response '{answer} {problem.answer} {0} %(answer)s…' to train/0 earns 1.0 as correct",
    faulty_envs.ShiftedCopies: "validation/0 has the same question as train/1; give it to one split",
    faulty_envs.HalfACharacter: "the question of train/0 holds half of a character (a lone surrogate); decode the text anew",
    faulty_envs.NoText: "the answer of train/0 is a NoneType; make it a str",
    faulty_envs.OtherIdentity: "data_identity differs between two instances; make it a hash of the data",
}


def complete(name: str) -> EnvironmentSpec:
    """A registered environment that can be made without data sets and without files of the user's own."""
    spec = find_environment(name)
    if list(spec.data) or spec.name in ("jsonl", "mcp-qa", "mixture", "openenv", "qa"):
        pytest.skip("needs data, parts or a server: the tests of its own put it to the same test")
    return spec


@pytest.mark.parametrize("name", registry.names(registry.ENVIRONMENTS))
def test_every_registered_environment_keeps_the_contract(name: str):
    spec = complete(name)
    check_environment(make_environment(spec, {}), twin=make_environment(spec, {}))


@pytest.mark.parametrize("made", [Sums, AskTwice, EvaluationOnly])
def test_sound_environments_of_one_and_of_two_turns_and_for_evaluation_alone_pass(made: type[TextEnv]):
    check_environment(made(), twin=made())
    check_environment(made())


@pytest.mark.parametrize("made", BROKEN, ids=lambda made: made.__name__)
def test_each_way_of_breaking_the_contract_is_found(made: type[TextEnv]):
    with pytest.raises(EnvError) as fault:
        check_environment(made(), twin=made())
    lines = str(fault.value).splitlines()
    assert any(BROKEN[made] in line for line in lines)
    assert all(line.startswith(f"{made.__name__}: ") for line in lines)
    assert len(lines) <= len(RULES), "one line for a rule"


def test_what_cannot_be_pickled_is_told_with_or_without_a_twin():
    for twin in (None, NotPicklable()):
        with pytest.raises(EnvError, match="NotPicklable: cannot be pickled"):
            check_environment(NotPicklable(), twin=twin)


def test_the_grader_is_tried_on_the_ends_of_a_split_when_asked_to():
    check_environment(DoubtsGold(), samples=4)
    with pytest.raises(EnvError, match=r"the gold response of train/19 earns 0\.0 as wrong"):
        check_environment(DoubtsGold(), samples=20)


def test_several_broken_rules_are_several_lines():
    class Hopeless(OneId, LikesNoise, NeverRests):
        """Everything at once."""

    Hopeless.__qualname__ = "Hopeless"
    globals()["Hopeless"] = Hopeless  # picklable
    with pytest.raises(EnvError) as fault:
        check_environment(Hopeless())
    assert len(str(fault.value).splitlines()) == 3


# The base classes


def test_play_ends_with_reward_and_outcome():
    problem = Sums().problem(Split.TEST, 3)
    assert (play(Sums(), problem, problem.gold).outcome, play(AskTwice(), problem, problem.gold).reward) == (Outcome.CORRECT, 1.0)


def test_a_step_outside_an_episode_is_refused():
    env = Sums()
    with pytest.raises(ResetNeeded, match=r"Sums\.step called outside an episode; call reset first"):
        env.step("answer 4")
    env.reset(seed=0)
    env.step("answer 4")
    with pytest.raises(ResetNeeded):
        env.step("answer 4")


def test_without_options_a_training_item_is_drawn_by_the_seed():
    first, info = Sums().reset(seed=5)
    assert info["problem_id"].startswith("train/")
    assert Sums().reset(seed=5) == (first, info)
    drawn = {Sums().reset(seed=seed)[0] for seed in range(20)}
    assert len(drawn) > 5


def test_a_response_at_the_limit_is_read_and_one_beyond_it_is_not():
    env = Sums()
    problem = env.problem(Split.TRAIN, 0)
    for length, outcome in ((env.max_response_chars, Outcome.CORRECT), (env.max_response_chars + 1, Outcome.TRUNCATED)):
        env.reset(options={"split": Split.TRAIN, "index": 0})
        *_, terminated, truncated, info = env.step(problem.gold.ljust(length))
        assert info["outcome"] is outcome
        assert truncated == (outcome is Outcome.TRUNCATED) != terminated


def test_a_split_may_be_named_in_text_and_one_that_does_not_exist_is_refused():
    assert Sums().reset(options={"split": "test", "index": 2})[1] == {"problem_id": "test/2"}
    with pytest.raises(ValueError, match="exam"):
        Sums().reset(options={"split": "exam"})


# The registry


@pytest.mark.parametrize("name", registry.names(registry.ENVIRONMENTS))
def test_a_registered_environment_is_complete(name: str):
    spec = complete(name)
    assert spec.name == name and spec.summary
    made = gymnasium.make(spec.gym_id).unwrapped
    assert isinstance(made, TextEnv) and made.size(Split.TEST) > 0
    doc = type(make_environment(spec, {})).__doc__ or ""
    for heading in ("Description:", "Action space:", "Observation space:", "Rewards:", "Episode end:", "Splits:", "Version history:"):
        assert heading in doc, "its docstring is its spec sheet"


def test_rulebook_is_made_by_its_gymnasium_id():
    env = gymnasium.make("espl/Rulebook-v0", world=4)
    question, info = env.reset(seed=1, options={"split": "test", "index": 7})
    expected = RulebookEnv(world=4).problem(Split.TEST, 7)
    assert (question, info["problem_id"]) == (expected.question, "test/7")
    assert env.step(expected.gold)[1:4] == (1.0, True, False)


@pytest.mark.parametrize("first", ["import gymnasium, espl_bench", "import espl_bench, gymnasium"])
def test_gymnasium_finds_every_registered_id_once_the_package_is_imported_and_loads_none_before(first: str):
    code = f"""
import sys
{first}
from gymnasium import make, registry
gymnasium.register("some/Other-v0", entry_point="x:Y")
assert not any(name.startswith("espl_envs") for name in sys.modules)
make("CartPole-v1")
assert not any(name.startswith("espl_envs") for name in sys.modules)
print(make("espl/Rulebook-v0", world=4).unwrapped.world, make("espl/ArithmeticWords", disable_env_checker=True).spec.id)
print("espl/Almanac-v0" in registry, gymnasium.spec("espl/QA-v1").id, registry["some/Other-v0"].id)
try:
    make("espl/Nothing-v0")
except gymnasium.error.NameNotFound as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "espl/ArithmeticWords-v0", "True", "espl/QA-v1", "some/Other-v0", "NameNotFound"]


def test_options_that_an_environment_does_not_take_are_refused():
    with pytest.raises(UsageError, match=r"environment 'rulebook' does not take these options: .*'wrld'"):
        make_environment(find_environment("rulebook"), {"wrld": 3})


def test_whatever_a_constructor_raises_is_one_line():
    spec = EnvironmentSpec("breaks", "t/Breaks-v0", "faulty_envs:BreaksWhenMade", "cannot be made")
    with pytest.raises(UsageError) as fault:
        make_environment(spec, {})
    expected = "environment 'breaks' cannot be made by faulty_envs:BreaksWhenMade (AssertionError: size must); check --env-option"
    assert str(fault.value) == expected
    assert make_environment(spec, {"size": 6}).size(Split.TEST) == 20


@pytest.mark.parametrize(
    ("entry_point", "complaint"),
    [
        ("faulty_envs:Nothing", "(AttributeError: module 'faulty_envs' has no attribute 'Nothing')"),
        ("no_such_module:Env", "(ModuleNotFoundError: No module named 'no_such_module')"),
        ("builtins:dict", "builtins:dict of environment 'odd' makes a dict; let it make a TextEnv"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_one_line(entry_point: str, complaint: str):
    with pytest.raises(UsageError) as fault:
        make_environment(EnvironmentSpec("odd", "t/Odd-v0", entry_point, "odd"), {})
    assert complaint in str(fault.value) and "\n" not in str(fault.value)


def test_texts_of_any_script_are_in_the_spaces_and_half_a_character_is_not():
    env = Sums()
    for text in ("是的", "👩🏽‍🔬", "ﷺ\u202e", "\x00"):
        assert env.observation_space.contains(text) and env.action_space.contains(text)
    assert not env.observation_space.contains("\ud83d") and not env.action_space.contains("a" * (env.max_response_chars + 1))
    assert env.observation_space.contains(env.observation_space.sample())


def test_an_environment_can_go_to_another_process_in_mid_episode():
    env = Sums()
    env.reset(options={"split": "test", "index": 7})
    assert pickle.loads(pickle.dumps(env)).step("answer 211")[1] == 1.0
