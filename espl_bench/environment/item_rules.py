"""The part of the contract that concerns items: complete, unique, the same everywhere, and apart between splits."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from espl_bench.data.served_identity import served_identity
from espl_bench.environment.check_subject import Broken, Level, Rule, Subject, rule
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError
from espl_bench.types import Problem, Split
from espl_bench.utils.foreign_text import readable

HASHED: Final = 500
"""Items of a split whose identity is compared between two instances."""


@rule("texts", "every text of an item is a str of Unicode characters that can be encoded, and the question is shown whole")
def texts(subject: Subject) -> Iterator[Broken]:
    """Look at the types and characters of the texts."""
    for problem in subject.sampled():
        for name in ("id", "question", "answer", "gold"):
            value: object = getattr(problem, name)
            if not isinstance(value, str):
                yield Broken(f"the {name} of {problem.id} is a {type(value).__name__}", 'make it a str; "" stands for none')
            elif readable(value) != value:
                yield Broken(f"the {name} of {problem.id} holds half of a character (a lone surrogate)", "decode the text anew, as UTF-8")
        if not problem.question.strip():
            yield Broken(f"the question of {problem.id} is empty", "say what is asked")
        if not subject.env.observation_space.contains(problem.question):
            yield Broken(f"the question of {problem.id} is outside the observation space", "shorten it, or widen the space")


@rule("items", "every declared split has items, TEST among them, each with its own split, index and id")
def items(subject: Subject) -> Iterator[Broken]:
    """Read all items."""
    seen: set[str] = set()
    if Split.TEST not in subject.env.splits:
        yield Broken(f"{Split.TEST} is not among its splits", "every environment needs one")
    for split in Split:
        declared = split in subject.env.splits
        if declared and subject.env.size(split) < 1:
            yield Broken(f"{split} is empty", "every split needs items, or is left out of `splits`")
        if not declared and subject.env.size(split) > 0:
            yield Broken(f"{split} has items and is not among its splits", "declare it in `splits`")
        for index, problem in enumerate(subject.all_items(split)):
            if (problem.split, problem.index) != (split, index):
                yield Broken(
                    f"item {index} of {split} says it is item {problem.index} of {problem.split}", "pass on the arguments of `problem`"
                )
            if problem.id in seen:
                yield Broken(f"the id {problem.id!r} is used twice", "make it of the split and the index")
            seen.add(problem.id)


@rule("purity", "an item depends on its split and index alone: not on seeds, the order of calls, or the instance")
def purity(subject: Subject) -> Iterator[Broken]:
    """Read items in another order, after other seeds, and from another instance."""
    problems = list(subject.sampled())[::-1]
    for seed, problem in enumerate(problems, start=1):
        subject.begins(f"reset to {problem.id}")
        subject.env.reset(seed=seed)
        if subject.problem(problem.split, problem.index) != problem:
            yield Broken(f"{problem.id} is not the same the second time", "draw it from its index alone")
    _end_episodes(subject, subject.env, problems)
    for seed, problem in enumerate(problems):
        subject.begins(f"reset to {problem.id}")
        subject.twin.reset(seed=seed)
        question, _ = subject.twin.reset(seed=seed, options={"split": problem.split, "index": problem.index})
        if subject.problem(problem.split, problem.index, subject.twin) != problem:
            yield Broken(f"{problem.id} is different in a second instance", "draw it from its index and the options alone")
        if question != problem.question:
            yield Broken(f"reset shows another question than that of {problem.id}", "return `problem.question`")
    _end_episodes(subject, subject.twin, problems)


def _end_episodes(subject: Subject, env: TextEnv, problems: Sequence[Problem]) -> None:
    """Play an episode to its end: one that is only begun takes the place of another where `episodes_at_once` is small."""
    for problem in problems[:1]:
        subject.play(problem, problem.gold, env)


@rule("duplicates", "no item occurs in two splits")
def duplicates(subject: Subject) -> Iterator[Broken]:
    """Compare training with validation and test, and validation with test, without regard to case and spaces."""
    seen: dict[str, Problem] = {}
    for split in Split:
        own: dict[str, Problem] = {}
        for problem in subject.all_items(split):
            said = asked(subject.env, problem)
            if said in seen:
                twice = seen[said].id
                yield Broken(
                    f"{problem.id} has the same question as {twice}", "give it to one split; a test that was seen measures nothing"
                )
            own[said] = problem
        seen |= own


def asked(env: TextEnv, problem: Problem) -> str:
    """Return what makes an item, regardless of case and spaces: its question, or, if that only opens a game, the truth too."""
    shown = problem.question if env.turns == 1 else f"{problem.question}\n{problem.answer}\n{problem.gold}"
    return " ".join(shown.casefold().split())


@rule("bounds", "an item that does not exist is refused")
def bounds(subject: Subject) -> Iterator[Broken]:
    """Reset to the items before the first and after the last."""
    for split in Split:
        for index in (-1, subject.env.size(split)):
            subject.begins(f"reset to item {index} of {split}")
            try:
                subject.env.reset(options={"split": split, "index": index})
            except EnvError:
                continue
            yield Broken(f"reset accepts item {index} of {split}, which does not exist", "raise EnvError")


@rule("identity", "two instances state the same identity of the data, by split, in hashes")
def identity(subject: Subject) -> Iterator[Broken]:
    """Compare hashes of the items, and those that the environment declares."""
    for split in subject.env.splits:
        size = subject.env.size(split)
        hashes = {served_identity(size, partial(subject.problem, split, env=env), HASHED) for env in _both(subject)}
        if len(hashes) > 1:
            yield Broken(f"the items of {split} have another hash in a second instance", "draw them from index and options alone")
    if type(subject.env).data_identity is TextEnv.data_identity:
        return
    subject.begins("data_identity")
    first, second = (dict(env.data_identity()) for env in _both(subject))
    if first != second:
        yield Broken("data_identity differs between two instances", "make it a hash of the data, without times, paths and addresses")
    for name, hashed in first.items():
        if not (isinstance(hashed, str) and hashed):  # pyright: ignore[reportUnnecessaryIsInstance]  # a stranger's may be anything
            yield Broken(f"data_identity says {hashed!r} of {name}", "give a text that is not empty, e.g. a hash")


def _both(subject: Subject) -> tuple[TextEnv, TextEnv]:
    return subject.env, subject.twin


@rule("truth", "items have an answer for the editor and a gold response for this check")
def truth(subject: Subject) -> Iterator[Broken]:
    """Say what could not be checked."""
    sampled = list(subject.sampled())
    if bare := [problem for problem in sampled if not problem.gold]:
        what = f"{bare[0].id} and {len(bare) - 1} more of {len(sampled)} tried have no gold response"
        yield Broken(what, "give one where it is known: that a right answer earns 1 was not checked there", Level.NOTE)
    if mute := [problem for problem in sampled if not problem.answer]:
        what = f"{mute[0].id} and {len(mute) - 1} more of {len(sampled)} tried have no answer"
        yield Broken(what, "give one where it is known: critiques are not told the truth there", Level.NOTE)


ITEM_RULES: Final[tuple[Rule, ...]] = (texts, items, purity, duplicates, bounds, identity, truth)
