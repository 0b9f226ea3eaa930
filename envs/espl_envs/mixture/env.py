"""Mixture: several environments in one, whose training items come in stated shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.identity import DataIdentity
from espl_bench.environment.item_rules import asked
from espl_bench.environment.text_env import Info, SingleTurnEnv, TextEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Observation, Problem, Split
from espl_envs.mixture.parts import Part, read_parts


class Mixture(TextEnv):
    """Items of several environments, each played by its own.

    Description:
        An item is one of a part's, with its question, tools and grader. Nothing tells the policy which part it is from, unless the
        question does. Parts must all answer at once, or all take turns, or all have the same tools.

    Action space:
        Text, as the part reads it.

    Observation space:
        Text, as the part writes it.

    Rewards:
        The part's.

    Episode end:
        The part's.

    Splits:
        Train has as many items as the shares allow without a repetition: evenly spread ones of each part, in its share. Validation has
        those of every part that is trained on, test those of all parts, part by part. A part with share 0 is only tested: none of its
        items can steer anything.

    Arguments:
        parts: environments with options, as in ``["rulebook", "rulebook?world=1"]``.
        shares: a number for each part; default: equal.

    Version history:
        v0: first version.
    """

    def _hold(self, parts: Sequence[Part], envs: Sequence[TextEnv]) -> None:
        """Take the parts, and as many concurrent instances and characters as all of them allow."""
        self._parts, self._envs = tuple(parts), tuple(envs)
        self._playing = self._envs[0]
        self._served = {split: _served(split, parts, envs) for split in Split}
        limits = [env.episodes_at_once for env in envs if env.episodes_at_once is not None]
        self.max_response_chars = max(env.max_response_chars for env in envs)  # pyright: ignore[reportAttributeAccessIssue]
        self.steps_at_once = min(env.steps_at_once for env in envs)  # pyright: ignore[reportAttributeAccessIssue]
        self.episodes_at_once = min(limits, default=None)  # pyright: ignore[reportAttributeAccessIssue]
        self.items_hashed = min(env.items_hashed for env in envs)  # pyright: ignore[reportAttributeAccessIssue]

    def size(self, split: Split) -> int:
        """Return the sum over the parts."""
        return sum(self._served[split])

    def parts(self, split: Split) -> Mapping[str, range]:
        """Return the stretch of each part that has items there."""
        ends = list(accumulate(self._served[split], initial=0))
        stretches = zip(self._parts, pairwise(ends), strict=True)
        return {part.name: range(start, end) for part, (start, end) in stretches if start < end}

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split: the part's, under a name that says which part it is."""
        part, own = self._place(split, index)
        problem = self._envs[part].problem(split, own)
        return replace(problem, id=f"{self._parts[part].name}:{problem.id}", index=index)

    def _place(self, split: Split, index: int) -> tuple[int, int]:
        """Return the part of an item, and its index there."""
        for part, served in enumerate(self._served[split]):
            if index < served:
                return part, index * self._envs[part].size(split) // served
            index -= served
        raise IndexError(index)

    def _own(self, problem: Problem) -> tuple[TextEnv, Problem]:
        """Return an item's part, and the item as it is there; its answer may be another one, which a control gave it."""
        part, own = self._place(problem.split, problem.index)
        return self._envs[part], replace(problem, id=problem.id.removeprefix(f"{self._parts[part].name}:"), index=own)

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return the splits of the parts that are trained on, and TEST."""
        return tuple(split for split in Split if self.size(split))

    @property
    def turns(self) -> int:
        """Return the turns of the longest part."""
        return max(env.turns for env in self._envs)

    def prepare(self) -> None:
        """Prepare the parts. Raises UsageError if an item that one part keeps apart can be learned from in another."""
        for env in self._envs:
            env.prepare()
        self._require_apart()

    def _require_apart(self) -> None:
        """Compare the questions of every split with those of the other splits, across parts."""
        seen: dict[str, Problem] = {}
        for split in Split:
            own = {asked(self, problem): problem for problem in (self.problem(split, index) for index in range(self.size(split)))}
            if shared := next((text for text in own if text in seen), None):
                raise UsageError(
                    f"mixture: {own[shared].id} is the same question as {seen[shared].id}, so a part's items would steer another's; "
                    "leave one of the parts out"
                )
            seen |= own
        tests = [[asked(self, self.problem(Split.TEST, index)) for index in items] for items in self.parts(Split.TEST).values()]
        for place, test in enumerate(tests):
            if test in tests[:place]:
                first, second = self._parts[tests.index(test)].name, self._parts[place].name
                raise UsageError(f"mixture: '{first}' and '{second}' have the same test; leave one of them out")

    def data_identity(self) -> Mapping[str, str]:
        """Return the hashes of each part, by part and split; those of the mixed splits are added."""
        return {
            f"{part.name}: {name}": hashed
            for part, env in zip(self._parts, self._envs, strict=True)
            for name, hashed in DataIdentity.of(env).compared.items()
        }

    def data_facts(self) -> Mapping[str, Any]:
        """Return each part's share and facts."""
        pairs = zip(self._parts, self._envs, strict=True)
        return {"parts": {part.name: {"share": float(part.share), **env.data_facts()} for part, env in pairs}}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Start an episode of the item's part."""
        _, info = super().reset(seed=seed, options=options)
        assert self.current is not None
        self._playing, own = self._own(self.current)
        self.max_response_chars = self._playing.max_response_chars  # pyright: ignore[reportAttributeAccessIssue]
        question, _ = self._playing.reset(seed=seed, options={"split": own.split, "index": own.index})
        self._playing.current = own
        return question, info

    def recall(self, observations: Sequence[Sequence[Observation]]) -> None:
        """Have every part take the replies: the next episode belongs to one of them."""
        super().recall(observations)
        for env in self._envs:
            env.recall(observations)

    def close(self) -> None:
        """Close the parts."""
        for env in self._envs:
            env.close()


class QuestionMixture(Mixture, SingleTurnEnv):
    """A mixture of environments with one response."""

    def __init__(self, parts: Sequence[Part], envs: Sequence[TextEnv]) -> None:
        """Take the parts and an instance of each."""
        self._hold(parts, envs)
        super().__init__()

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Let the item's part grade."""
        env, own = self._own(problem)
        assert isinstance(env, SingleTurnEnv)
        return env.grade(own, response)


class TurnMixture(Mixture):
    """A mixture of environments that reply, without tools."""

    def __init__(self, parts: Sequence[Part], envs: Sequence[TextEnv]) -> None:
        """Take the parts and an instance of each."""
        self._hold(parts, envs)
        super().__init__()

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Let the item's part take the step."""
        assert self._playing.current is not None
        taken = self._playing.respond(self._playing.current, action)
        self.current = None if self._playing.current is None else problem
        return taken


class ToolMixture(Mixture, ToolEnv):
    """A mixture of environments with the same tools."""

    def __init__(self, parts: Sequence[Part], envs: Sequence[TextEnv]) -> None:
        """Take the parts and an instance of each."""
        self._hold(parts, envs)
        self.tools = _tool_env(envs[0]).tools  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(_tool_env(envs[0]).limits)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Start an episode within the limits of the item's part."""
        begun = super().reset(seed=seed, options=options)
        self.limits = _tool_env(self._playing).limits
        return begun

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Let the item's part reply."""
        return _tool_env(self._playing).use(tool, arguments)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Let the item's part grade."""
        env, own = self._own(problem)
        return _tool_env(env).grade(own, response)


def mixture(parts: object = None, shares: object = None) -> TextEnv:
    """Make a mixture. Raises UsageError for parts that no policy could play with the same means."""
    listed = read_parts(parts, shares)
    envs = [make_environment(find_environment(part.env, part.options), part.options) for part in listed]
    for part, env in zip(listed, envs, strict=True):
        if isinstance(env, AgentEnv):
            raise UsageError(f"mixture: '{part.name}' is played by an agent, and a mixture by the policy; run it by itself")
    kinds = [_kind(env) for env in envs]
    for part, kind in zip(listed, kinds, strict=True):
        if kind[1] != kinds[0][1]:
            raise UsageError(f"mixture: '{listed[0].name}' is {kinds[0][1]} and '{part.name}' is {kind[1]}; mix environments of one kind")
    first = envs[0]
    if isinstance(first, ToolEnv):
        _require_same_tools(listed, envs)
    for part, env in zip(listed, envs, strict=True):
        if part.share and Split.TRAIN not in env.splits:
            raise UsageError(f"mixture: '{part.name}' has no items to train on; give it share 0, and it is only tested")
    return kinds[0][0](listed, envs)


def _kind(env: TextEnv) -> tuple[Callable[[Sequence[Part], Sequence[TextEnv]], TextEnv], str]:
    match env:
        case ToolEnv():
            return ToolMixture, "one with tools"
        case SingleTurnEnv():
            return QuestionMixture, "one with a single response"
        case _:
            return TurnMixture, "one of several turns"


def _tool_env(env: TextEnv) -> ToolEnv:
    assert isinstance(env, ToolEnv)
    return env


def _require_same_tools(parts: Sequence[Part], envs: Sequence[TextEnv]) -> None:
    schemas = [[tool.schema() for tool in _tool_env(env).tools] for env in envs]
    for part, schema in zip(parts, schemas, strict=True):
        if schema != schemas[0]:
            raise UsageError(f"mixture: '{parts[0].name}' and '{part.name}' have different tools; mix environments that share them")


def _served(split: Split, parts: Sequence[Part], envs: Sequence[TextEnv]) -> tuple[int, ...]:
    """Return how many items of each part a split has. Raises UsageError for a share that leaves none."""
    sizes = [env.size(split) if split in env.splits else 0 for env in envs]
    if split is Split.TEST:
        return tuple(sizes)
    if split is Split.VALIDATION:
        return tuple(size if part.share else 0 for part, size in zip(parts, sizes, strict=True))
    total = min(size / part.share for part, size in zip(parts, sizes, strict=True) if part.share)
    counts = tuple(int(Fraction(total) * part.share) for part in parts)
    for part, count in zip(parts, counts, strict=True):
        if part.share and not count:
            raise UsageError(f"mixture: the share of '{part.name}' leaves it no training item; give it a larger one, or 0")
    return counts
