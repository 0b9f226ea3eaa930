"""Check the contract of an environment in one call, for the tests of its author: `check_environment(MyEnv(), twin=MyEnv())`.

Beyond Gymnasium's API a benchmark needs items that are the same for every method and on every machine, splits that do not
leak, and a grader that accepts the truth and nothing less. Each rule is a function that yields its findings.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from espl_bench.environment.probing import AnsweredProblem, play
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError
from espl_bench.types import Outcome, Problem, Split

MAX_ITEMS: Final = 20_000
"""Items of a split that are read for rules about all items."""
GARBLED: Final = ("zq }{ 7%% ]] -- qz", "\n\n\n", "None", "[[[[((((", "0" * 500)
"""Texts that answer nothing."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """The environment under test."""

    env: TextEnv
    twin: TextEnv
    """Another instance with the same options."""
    samples: int

    def sampled(self) -> Iterator[Problem]:
        """Yield at most `samples` items of each split, evenly spread."""
        for split in self.env.splits:
            size = self.env.size(split)
            count = min(self.samples, size)
            yield from (self.env.problem(split, number * size // count) for number in range(count))

    def all_items(self, split: Split) -> Iterator[Problem]:
        """Yield the items of a split, in order, up to `MAX_ITEMS`."""
        return (self.env.problem(split, index) for index in range(min(MAX_ITEMS, self.env.size(split))))


Rule = Callable[[_Subject], Iterator[str]]


def check_environment(env: TextEnv, *, twin: TextEnv | None = None, samples: int = 16) -> None:
    """Check the whole contract; return only if it holds.

    Args:
        env: an instance, not wrapped.
        twin: another instance made with the same options, to find items that depend on the instance. Without one, a
            pickled copy is used, which cannot show what the constructor drew at random.
        samples: items per split on which the grader is tried.

    Raises:
        EnvError: one line per broken rule.
    """
    subject = _Subject(env, _copy(env) if twin is None else twin, samples)
    broken = [line for rule in RULES for line in _first_finding(rule, subject)]
    if broken:
        raise EnvError("\n".join(f"{type(env).__name__}: {line}" for line in broken))


def _first_finding(rule: Rule, subject: _Subject) -> Iterator[str]:
    """Yield at most one line: the first finding of a rule, or the fault that stopped it."""
    try:
        finding = next(rule(subject), None)
    except EnvError as fault:
        finding = str(fault)
    if finding is not None:
        yield " ".join(finding.split())


def _copy(env: TextEnv) -> TextEnv:
    try:
        return pickle.loads(pickle.dumps(env))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise EnvError(f"{type(env).__name__}: cannot be pickled ({error}); keep open files and lambdas out of it") from error


def _gymnasium(subject: _Subject) -> Iterator[str]:
    """Require that Gymnasium's own check passes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice, and that an environment outside the registry has no spec
        try:
            check_env(_copy(subject.env))
        except (AssertionError, TypeError, ValueError, AttributeError, gymnasium.error.Error) as error:
            yield f"gymnasium's check_env: {error}"


def _pickles(subject: _Subject) -> Iterator[str]:
    """Require that a pickled copy has the same items."""
    copy = _copy(subject.env)
    for problem in subject.sampled():
        if copy.problem(problem.split, problem.index) != problem:
            yield f"a pickled copy has another item {problem.index} in {problem.split}"


def _filed(subject: _Subject) -> Iterator[str]:
    """Require items in every declared split, TEST among them; each item's own split and index; and unique ids."""
    seen: set[str] = set()
    if Split.TEST not in subject.env.splits:
        yield f"{Split.TEST} is not among its splits; every environment needs one"
    for split in Split:
        declared = split in subject.env.splits
        if declared and subject.env.size(split) < 1:
            yield f"{split} is empty; every split needs items, or is left out of `splits`"
        if not declared and subject.env.size(split) > 0:
            yield f"{split} has items and is not among its splits; declare it in `splits`"
        for index, problem in enumerate(subject.all_items(split)):
            if (problem.split, problem.index) != (split, index):
                yield f"item {index} of {split} says it is item {problem.index} of {problem.split}"
            if problem.id in seen:
                yield f"the id {problem.id!r} is used twice"
            seen.add(problem.id)


def _pure(subject: _Subject) -> Iterator[str]:
    """Require that an item depends on its split and index alone: not on seeds, on the order of calls, or on the instance."""
    first = list(subject.sampled())
    for seed, problem in enumerate(reversed(first)):
        subject.twin.reset(seed=seed)
        subject.env.reset(seed=seed + 1)
        question, _ = subject.twin.reset(seed=seed, options={"split": problem.split, "index": problem.index})
        if subject.env.problem(problem.split, problem.index) != problem:
            yield f"{problem.id} is not the same the second time; draw it from its index alone"
        if subject.twin.problem(problem.split, problem.index) != problem:
            yield f"{problem.id} is different in a second instance; draw it from its index and the options alone"
        if question != problem.question:
            yield f"reset shows another question than that of {problem.id}"


def _apart(subject: _Subject) -> Iterator[str]:
    """Require that no training question occurs in validation or test."""
    train = {problem.question: problem.id for problem in subject.all_items(Split.TRAIN)}
    for split in (Split.VALIDATION, Split.TEST):
        for problem in subject.all_items(split):
            if problem.question in train:
                yield f"{problem.id} has the same question as {train[problem.question]}"


def _bounded(subject: _Subject) -> Iterator[str]:
    """Require that an item that does not exist is refused."""
    for split in Split:
        for index in (-1, subject.env.size(split)):
            try:
                subject.env.reset(options={"split": split, "index": index})
            except EnvError:
                continue
            yield f"reset accepts item {index} of {split}, which does not exist; raise EnvError"


def _accepts_gold(subject: _Subject) -> Iterator[str]:
    """Require that the gold response of every item is correct and earns 1."""
    for problem in subject.sampled():
        ending = play(subject.env, problem, problem.gold)
        if (ending.outcome, ending.reward) != (Outcome.CORRECT, 1.0):
            yield f"the gold response of {problem.id} earns {ending.reward} as {_name(ending)}, not 1.0 as correct"


def _refuses_silence(subject: _Subject) -> Iterator[str]:
    """Require that an empty response earns 0 as no answer (or, after many turns, as truncated)."""
    for problem in subject.sampled():
        ending = play(subject.env, problem, "")
        expected = Outcome.TRUNCATED if ending.truncated else Outcome.NO_ANSWER
        if (ending.outcome, ending.reward) != (expected, 0.0):
            yield f"an empty response to {problem.id} earns {ending.reward} as {_name(ending)}, not 0.0 as {expected}"


def _refuses_noise(subject: _Subject) -> Iterator[str]:
    """Require that a response that makes no sense earns 0 as wrong, as no answer, or as truncated."""
    fair = (Outcome.WRONG, Outcome.NO_ANSWER, Outcome.TRUNCATED)
    for problem in subject.sampled():
        for text in GARBLED:
            ending = play(subject.env, problem, text[: subject.env.max_response_chars])
            if ending.outcome not in fair or ending.reward != 0.0:
                yield f"the response {text[:20]!r} to {problem.id} earns {ending.reward} as {_name(ending)}, not 0.0 as wrong or no_answer"


def _leaves_the_overlong_unread(subject: _Subject) -> Iterator[str]:
    """Require that a response longer than the limit is truncated, even if it holds the truth."""
    for problem in subject.sampled():
        ending = play(subject.env, problem, problem.gold.ljust(subject.env.max_response_chars + 1))
        if (ending.outcome, ending.reward, ending.truncated) != (Outcome.TRUNCATED, 0.0, True):
            limit = f"more than {subject.env.max_response_chars} characters"
            yield f"a response to {problem.id} of {limit} earns {ending.reward} as {_name(ending)}, not 0.0 as truncated"


def _ends(subject: _Subject) -> Iterator[str]:
    """Require that a step after the end is an error, until the next reset."""
    problem = next(subject.sampled())
    play(subject.env, problem, problem.gold)
    try:
        subject.env.step(problem.gold)
    except ResetNeeded:
        return
    yield "step after the end of an episode is accepted; raise gymnasium.error.ResetNeeded"


def _name(ending: AnsweredProblem) -> str:
    return str(ending.outcome) if isinstance(ending.outcome, Outcome) else f"{ending.outcome!r} (info needs an Outcome)"


RULES: Final[tuple[Rule, ...]] = (
    _gymnasium,
    _pickles,
    _filed,
    _pure,
    _apart,
    _bounded,
    _accepts_gold,
    _refuses_silence,
    _refuses_noise,
    _leaves_the_overlong_unread,
    _ends,
)
"""In the order they are tried; each is tried whatever the others find."""
