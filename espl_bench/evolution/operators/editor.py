"""The editor, a language model that reflects on rollouts, and the views of rollouts that it is shown.

The editor is the frozen reference model by default (paper: the drifting policy edits worse). The views below are everything that a
template may use, so a dialect cannot leak anything else into a reflection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from espl_bench.engines.engine import Chat, SamplingClient
from espl_bench.engines.rendered_chat import opened_by
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.seeding import seed_for
from espl_bench.tools.sanitize import truncate
from espl_bench.types import Problem, SampleRequest, Split, Trajectory
from espl_bench.utils.foreign_text import readable
from espl_bench.utils.reasoning import strip_reasoning

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One labelled attempt at a problem."""

    correct: bool
    summary: str


@dataclass(frozen=True, slots=True)
class RivalView:
    """How the list of principles of a critique's right attempts differs from the criticised one, of its wrong attempts."""

    has: tuple[str, ...]
    """Principles that only the other list has."""
    lacks: tuple[str, ...]
    """Principles that only the criticised list has."""

    @classmethod
    def of(cls, principles: Sequence[str], criticised: Sequence[str]) -> "RivalView":
        """Compare two lists of principles."""
        return cls(
            tuple(text for text in principles if text not in criticised), tuple(text for text in criticised if text not in principles)
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that critiques ask for; identical ones are counted together."""

    index: int
    """The principle it changes; for an addition, the number the new principle would have."""
    principle: str
    votes: int
    """Number of problems whose critiques ask for it."""


@dataclass(frozen=True, slots=True)
class ParentView:
    """A parent of a crossover and the problems on which it alone did best."""

    label: str
    principles: tuple[str, ...]
    best_on: tuple[str, ...]


PAPER: Final = EditLimits()
"""Default limits of the template contexts."""


def summary_context(
    problem: Problem, response: str, principles: Sequence[str] | None = None, correct: bool | None = None
) -> Mapping[str, Any]:
    """Build the context of the summary template, with the response but not its reasoning.

    Args:
        problem: its answer is shown only with the grade.
        response: the attempt.
        principles: of the attempt's prompt; None: not shown.
        correct: the attempt's grade; None: not shown.
    """
    shown = {"question": problem.question, "response": strip_reasoning(response), "principles": principles, "correct": correct}
    return {**shown, "answer": "" if correct is None else problem.answer}


def require_shown(dialect: Dialect, limits: EditLimits) -> None:
    """Raise UsageError if a dialect's summary template leaves out what `ReflectionRules.summary_shows` asks for."""
    shows = limits.rules.summary_shows
    if shows == "attempt":
        return
    probe = Problem("", Split.TRAIN, 0, "", "the answer of a probe", "")
    text = dialect.render(TemplateName.SUMMARY, **summary_context(probe, "", ("a principle of a probe",), True))
    if "a principle of a probe" not in text or (shows == "verdict" and probe.answer not in text):
        raise UsageError(
            f"{dialect.folder / TemplateName.SUMMARY}.jinja does not show what summary_shows {shows} asks for; "
            "let it use principles, correct and answer as the built-in dialects do, or choose attempt"
        )


HEARD_CHARS: Final = 800
"""Characters of a tool's reply that the editor is shown."""


def transcript(trajectory: Trajectory) -> str:
    """Render an episode for the editor: what was said, and between turns the truncated replies. A single turn is shown as it is.

    What an agent handed in ends it, unless that is what was said last.
    """
    parts: list[str] = []
    for turn in trajectory.turns:
        parts.extend(f"[{observation.tool or 'reply'}: {truncate(observation.text, HEARD_CHARS)}]" for observation in turn.observations)
        parts.append(strip_reasoning(turn.completion.text) if len(trajectory.turns) > 1 else turn.completion.text)
    if trajectory.submitted is not None and trajectory.submitted != parts[-1].strip():
        parts.append(f"[handed in: {truncate(trajectory.submitted, HEARD_CHARS)}]")
    return "\n".join(parts)


def critique_context(
    principles: Sequence[str],
    problem: Problem,
    attempts: Sequence[AttemptView],
    limits: EditLimits = PAPER,
    rival: RivalView | None = None,
) -> Mapping[str, object]:
    """Build the context of the critique template. `rival`: the right attempts were made under another list, which differs so."""
    shown = {"principles": principles, "question": problem.question, "answer": problem.answer, "attempts": attempts, "rival": rival}
    return {**shown, "max_edits": limits.max_edits, **_bounds(limits)}


def aggregate_context(
    principles: Sequence[str], added: Sequence[Proposal], changes: Sequence[Proposal], limits: EditLimits = PAPER
) -> Mapping[str, object]:
    """Build the context of the aggregation template."""
    return {"principles": principles, "added": added, "changes": changes, **_bounds(limits)}


def crossover_context(parents: Sequence[ParentView], limits: EditLimits = PAPER) -> Mapping[str, object]:
    """Build the context of the crossover template; the first parent is set A, the one that is edited."""
    return {"parents": parents, **_bounds(limits)}


def _bounds(limits: EditLimits) -> Mapping[str, object]:
    return {"max_words": limits.max_words, "max_prompt_words": limits.max_prompt_words}


@dataclass(frozen=True)
class Editor:
    """Writes reflections. One instance serves one iteration; its seeds derive from the run's seed and the step."""

    client: SamplingClient
    chat: Chat
    dialect: Dialect
    run_seed: int
    step: int
    temperature: float
    max_tokens: int
    top_p: float = 1.0

    async def write(self, template: TemplateName, contexts: Sequence[Mapping[str, object]]) -> list[str]:
        """Return one text per context, in order, without reasoning. All go to the engine in one call."""
        conversations = [self.dialect.reflection_messages(template, context, self.chat.harmless) for context in contexts]
        requests = [
            SampleRequest(
                prompt_T=self.chat.encode(messages),
                seed=seed_for(self.run_seed, "reflection", self.step, template.value, row),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                messages=messages,
            )
            for row, messages in enumerate(conversations)
        ]
        if not requests:
            return []
        completions = await self.client.sample(requests)
        thoughts = [opened_by(self.chat, messages) for messages in conversations]
        return [strip_reasoning(readable(completion.after(opened).text)) for completion, opened in zip(completions, thoughts, strict=True)]
