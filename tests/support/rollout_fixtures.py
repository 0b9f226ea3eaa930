"""What tests of single rollouts ask and who answers: a task, prompts, problems, and a client that says what it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scripted_engine import make_chat, spell

from espl_bench.environment.text_env import TextEnv
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.rollouts.rollout import RolloutSpec
from espl_bench.types import ROOT_ORIGIN, Completion, Lineage, Problem, Rating, SampleRequest, Split, StopReason, SystemPrompt

CHAT = make_chat()


@dataclass
class Says:
    """A sampling client that says a text per turn (by how often the assistant has spoken) or what a function answers."""

    texts: tuple[str, ...] = ("answer 4",)
    cut_turn: int | None = None
    """The turn that hits the token limit."""
    calls: list[tuple[SampleRequest, ...]] = field(default_factory=list)

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        self.calls.append(tuple(requests))
        turn = len(self.calls) - 1
        return [self._say(turn, place) for place, _ in enumerate(requests)]

    def _say(self, turn: int, place: int) -> Completion:
        text = self.texts[min(turn, len(self.texts) - 1)].replace("PLACE", str(place))
        tokens = spell(CHAT, text)
        if turn == self.cut_turn:
            return Completion(tokens[:-1], (-0.5,) * (len(tokens) - 1), text, StopReason.LENGTH)
        return Completion(tokens, (-0.5,) * len(tokens), text, StopReason.STOP)


def task(made: type[TextEnv], **changes: Any) -> RolloutSpec:
    plain = RolloutSpec(made, Dialect.load("compact"), Placement.SYSTEM, CHAT, temperature=1.0, top_p=1.0, max_tokens=32, run_seed=0)
    return replace(plain, **changes)


def prompt(prompt_id: int, *principles: str) -> SystemPrompt:
    return SystemPrompt(prompt_id, principles, Rating(), Lineage(ROOT_ORIGIN))


ROOT = prompt(0)


def problems(made: type[TextEnv], count: int) -> list[Problem]:
    return [made().problem(Split.TRAIN, index) for index in range(count)]
