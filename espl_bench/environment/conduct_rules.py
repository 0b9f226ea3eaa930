"""The part of the contract that concerns conduct: Gymnasium's rules, pickles, episodes side by side and one after the other, and time."""

import io
import os
import random
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from espl_bench.environment.check_subject import Broken, Level, Rule, Subject, cannot_be_pickled, rule
from espl_bench.environment.grading_rules import GARBLED
from espl_bench.environment.probing import AnsweredProblem
from espl_bench.environment.text_env import TextEnv
from espl_bench.types import Problem

Ended = tuple[float, object, bool, tuple[str, ...]]
TRIED: Final = 2
"""Items of each split on which conduct is tried."""
SIDE_BY_SIDE: Final = 8
"""Most instances tried at a time."""
SLOW_TO_MAKE_S: Final = 1.0
SLOW_ITEM_S: Final = 0.02
SLOW_ANSWER_S: Final = 1.0
"""Seconds of an instance, an item and an episode from which they are told."""


@rule("gymnasium", "Gymnasium's own check passes")
def as_gymnasium(subject: Subject) -> Iterator[Broken]:
    """Run it on an instance of its own."""
    remedy = "see gymnasium.farama.org on the method that it names"
    env = subject.fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice, and that an environment outside the registry has no spec
        try:
            check_env(env)
        except (AssertionError, TypeError, ValueError, AttributeError, gymnasium.error.Error) as error:
            yield Broken(f"gymnasium's check_env: {error}", remedy)


@rule("pickling", "an instance can go to another process, and has the same items there")
def pickling(subject: Subject) -> Iterator[Broken]:
    """Compare a pickled copy."""
    if (why := cannot_be_pickled(subject.env)) is not None:
        yield Broken(f"cannot be pickled ({why})", "keep open files and lambdas out of it")
        return
    copy = subject.copy()
    for problem in subject.sampled():
        if subject.problem(problem.split, problem.index, copy) != problem:
            yield Broken(f"a pickled copy has another item {problem.index} in {problem.split}", "let the pickle keep what items depend on")


@rule("ending", "a step after the end is an error, until the next reset")
def ending(subject: Subject) -> Iterator[Broken]:
    """Step once too often."""
    problem = next(subject.sampled())
    subject.play(problem, problem.gold)
    try:
        subject.env.step(problem.gold)
    except ResetNeeded:
        return
    yield Broken("step after the end of an episode is accepted", "raise gymnasium.error.ResetNeeded")


@rule("repetition", "an episode ends the same way every time, in a new instance and in one that has played others")
def repetition(subject: Subject) -> Iterator[Broken]:
    """Play the same episodes again, in the opposite order, and in a new instance."""
    episodes = [(problem, text) for problem in subject.sampled(TRIED) for text in (problem.gold, GARBLED[0])]
    first = [_kept(subject.play(*episode)) for episode in episodes]
    again = [_kept(subject.play(*episode)) for episode in reversed(episodes)][::-1]
    fresh = subject.fresh()
    other = [_kept(subject.play(*episode, fresh)) for episode in reversed(episodes)][::-1]
    for (problem, text), one, two, three in zip(episodes, first, again, other, strict=True):
        what = "the gold response" if text == problem.gold else f"the response {text!r}"
        if one != two:
            yield Broken(
                f"{what} to {problem.id} ends otherwise the second time", "grade without chance, and let reset forget all before it"
            )
        if one != three:
            yield Broken(
                f"{what} to {problem.id} ends otherwise in a new instance", "let reset forget all before it: instances are used again"
            )


@rule("concurrency", "episodes that are under way at the same time do not disturb each other")
def concurrency(subject: Subject) -> Iterator[Broken]:
    """Interleave episodes of several instances, and, if the environment allows it, play them in threads."""
    env = subject.env
    episodes = [(problem, text) for problem in subject.sampled(TRIED) for text in (problem.gold, GARBLED[0])]
    count = min(len(episodes), SIDE_BY_SIDE, env.episodes_at_once or SIDE_BY_SIDE)
    if count < 2:
        return
    alone = [_kept(subject.play(*episode)) for episode in episodes[:count]]
    together = _interleaved([(subject.fresh(), *episode) for episode in episodes[:count]])
    ways: dict[str, list[Ended]] = {"while others are under way": together}
    if env.steps_at_once > 1:
        with ThreadPoolExecutor(min(count, env.steps_at_once)) as threads:
            playing = [threads.submit(subject.play, problem, text, subject.fresh()) for problem, text in episodes[:count]]
            ways["in threads, as steps_at_once allows"] = [_kept(played.result()) for played in playing]
    for way, endings in ways.items():
        for (problem, _), one, two in zip(episodes, alone, endings, strict=False):
            if one != two:
                yield Broken(
                    f"an episode of {problem.id} ends otherwise {way}", "keep its state in the instance, not in the class or module"
                )


def _interleaved(stages: list[tuple[TextEnv, Problem, str]]) -> list[Ended]:
    """Reset all, then step each once, and again, until all have ended."""
    for env, problem, _ in stages:
        env.reset(options={"split": problem.split, "index": problem.index})
    ended: dict[int, Ended] = {}
    earned, replies = [0.0] * len(stages), [list[str]() for _ in stages]
    for _ in range(100):
        for place, (env, _, text) in enumerate(stages):
            if place in ended:
                continue
            reply, reward, terminated, truncated, info = env.step(text)
            earned[place] += float(reward)
            if terminated or truncated:
                ended[place] = (earned[place], info.get("outcome"), truncated, tuple(replies[place]))
            else:
                replies[place].append(reply.replace(text, "") if text else reply)
    return [ended[place] for place in range(len(stages))]


def _kept(answered: AnsweredProblem) -> Ended:
    return answered.reward, answered.outcome, answered.truncated, answered.replies


@rule("surroundings", "an environment leaves random generators, variables, folder and standard output of its process alone")
def surroundings(subject: Subject) -> Iterator[Broken]:
    """Compare the process before and after an instance was made and played."""
    printed = io.StringIO()
    with _generators_kept():
        before = {name: read() for name, read in _SURROUNDINGS.items()}
        with redirect_stdout(printed):
            env = subject.fresh()
            for problem in subject.sampled(TRIED):
                for text in (problem.gold, GARBLED[0]):
                    subject.play(problem, text, env)
        changed = [name for name, read in _SURROUNDINGS.items() if read() != before[name]]
    for name in changed:
        yield Broken(f"it changes {name}", "use a generator and settings of its own")
    if said := printed.getvalue().strip():
        yield Broken(f"it prints {said[:40]!r} to standard output", "log, or print to standard error")


@contextmanager
def _generators_kept() -> Generator[None]:
    """Give the global generators a state that nobody seeds them with, and their own back in the end."""
    states = random.getstate(), np.random.get_state()
    random.seed(os.urandom(16))
    np.random.seed(list(os.urandom(16)))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


_SURROUNDINGS: Final[Mapping[str, Callable[[], Any]]] = {
    "the global generator of random": random.getstate,
    "the global generator of numpy": lambda: str(np.random.get_state()),
    "the environment variables": lambda: dict(os.environ),
    "the working folder": os.getcwd,
}


@rule("speed", "instances, items and grades are quick, or the environment says what may be done at once")
def speed(subject: Subject) -> Iterator[Broken]:
    """Measure once; slow ones are told, and nothing fails."""
    if subject.make is not None and (took := _seconds(subject.fresh)) > SLOW_TO_MAKE_S:
        yield Broken(f"an instance takes {took:.1f} s to make", "read once what instances share, e.g. with functools.cache", Level.NOTE)
    problems = list(subject.sampled(TRIED))
    item = sum(_seconds(lambda each=each: subject.problem(each.split, each.index)) for each in problems) / len(problems)
    if item > SLOW_ITEM_S:
        hashed = sum(min(subject.env.size(split), subject.env.items_hashed) for split in subject.env.splits)
        yield Broken(
            f"an item takes {1000 * item:.0f} ms to make, and a run begins by making {hashed:,}",
            f"keep items, or lower items_hashed: that is {hashed * item / 60:.1f} minutes",
            Level.NOTE,
        )
    answer = max(_seconds(lambda each=each: subject.play(each, each.gold)) for each in problems)
    if answer > SLOW_ANSWER_S and subject.env.steps_at_once == 1:
        yield Broken(f"an episode takes {answer:.1f} s in the environment", "raise steps_at_once if threads may wait together", Level.NOTE)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


CONDUCT_RULES: Final[tuple[Rule, ...]] = (as_gymnasium, pickling, ending, repetition, concurrency, surroundings, speed)
