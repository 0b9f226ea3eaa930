"""Results of an operator: a child with the evidence for every edit that made it, or the reason why there is none."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from espl_bench.evolution.operators.edits import Edit, Merge, Modify, ParsedEdits, Remove, parse_edits
from espl_bench.prompts.forms import FORMS, Form, PromptForm
from espl_bench.prompts.principle_text import OpName
from espl_bench.tools.sanitize import truncate
from espl_bench.types import MOST_WRITTEN, Lineage, Rating, Rejected, SystemPrompt

Aggregation = Literal["proposed", "always"]
UnreadableAggregation = Literal["reject", "keep_additions"]
UnchangedChild = Literal["reject", "admit"]
WordLimit = Literal["aggregation", "every_edit", "nowhere"]
ReflectOn = Literal["prompt", "slot"]
SummaryShows = Literal["attempt", "principles", "verdict"]


@dataclass(frozen=True, slots=True)
class ReflectionRules:
    """How a reflection is made where the paper and its reference code leave a choice. The reference code's choices are the last ones."""

    aggregation: Aggregation = "proposed"
    """Whether proposals are aggregated only if there are any, or in every iteration."""
    unreadable_aggregation: UnreadableAggregation = "reject"
    """Whether an aggregation that cannot be read makes no child, or one of the parent and the proposed additions."""
    unchanged_child: UnchangedChild = "reject"
    """Whether a child that says what its first parent says is refused, or joins the population. One that says nothing never joins."""
    word_limit: WordLimit = "aggregation"
    """Where `EditLimits.max_words` is enforced rather than only asked for: on what an aggregation leaves, on every edit, or nowhere."""
    reflect_on: ReflectOn = "prompt"
    """Whether a mutation reflects on all rollouts of the best prompt, or on those of the best of its places in the step."""
    summary_shows: SummaryShows = "attempt"
    """What a summary is written from: the attempt alone, also the prompt's principles, or also its grade and the correct answer."""


@dataclass(frozen=True, slots=True)
class EditLimits:
    """Bounds and probabilities of operators. Defaults are the paper's; a crossover always happens unless a method sets a probability."""

    max_edits: int = 2
    """Edits that one problem's critique may propose (K_ops)."""
    max_words: int = 32
    """Words of a principle; where that is enforced (`ReflectionRules.word_limit`) a longer one is refused, never truncated."""
    attempts: int = 5
    """Rollouts of one problem that a critique sees."""
    sigma_growth: float = 1.0
    """Δσ: uncertainty added to a child's rating."""
    form: PromptForm = PromptForm.PRINCIPLES
    max_prompt_words: int | None = None
    """Words of a whole prompt; a longer child is refused, never truncated. None: no limit."""
    crossover_prob: float = 1.0
    """Probability that a step has a crossover."""
    rules: ReflectionRules = ReflectionRules()
    examples: frozenset[str] = frozenset()
    """Texts of the edits by which the editor's instructions show the form (`form_examples`). A weak editor hands them back."""

    @property
    def edits(self) -> Form:
        """Return the edits that a prompt of this form allows."""
        return FORMS[self.form]

    def parse(
        self, text: str, allowed: Collection[OpName], principles: Sequence[str], most: int | None = None, *, aggregates: bool = False
    ) -> ParsedEdits:
        """Read an editor's edits of `principles`, at most `most`, within these bounds. Raises UnparseableEditsError.

        Args:
            text: the editor's answer.
            allowed: operations of this stage.
            principles: what the editor was shown.
            most: valid edits beyond this many are left out.
            aggregates: whether this stage aggregates the proposals of others.
        """
        enforced = self.rules.word_limit == "every_edit" or (aggregates and self.rules.word_limit == "aggregation")
        return parse_edits(text, allowed, principles, most, self.max_words if enforced else None, self.edits.clean, self.examples)

    def overlong(self, principles: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
        """Return the principles that an aggregation may not leave, because they are new and longer than the limit."""
        if self.rules.word_limit == "nowhere":
            return ()
        return tuple(text for text in principles if len(text.split()) > self.max_words and text not in known)

    def excess(self, principles: Sequence[str]) -> str | None:
        """Return why a prompt is too long, in one line; None if it is not."""
        words = sum(len(principle.split()) for principle in principles)
        if self.max_prompt_words is None or words <= self.max_prompt_words:
            return None
        return f"the prompt would have {words} words, more than {self.max_prompt_words}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One edit and its basis, in plain words for the record."""

    op: str
    ids: tuple[int, ...]
    """Numbers of the principles concerned, in the list the editor saw."""
    principle: str
    source: str
    """A problem's id, or the stage that decided the edit."""
    reason: str
    """The editor's own evidence; may be empty."""

    @classmethod
    def of(cls, edit: Edit, source: str) -> "Evidence":
        """Record one edit."""
        match edit:
            case Merge(ids=ids):
                pass
            case Modify(id=index) | Remove(id=index):
                ids = (index,)
            case _:
                ids = ()
        return cls(edit.op, ids, getattr(edit, "principle", ""), source, edit.evidence)


@dataclass(frozen=True, slots=True)
class Child:
    """A prompt that is ready to join the population."""

    principles: tuple[str, ...]
    rating: Rating
    lineage: Lineage
    evidence: tuple[Evidence, ...]
    acceptance: str = ""
    """The numbers that an acceptance rule admitted it by; empty if it needed none."""


@dataclass(frozen=True, slots=True)
class Birth:
    """A birth in progress: the data that a child and the record of its rejection share."""

    operator: str
    parents: tuple[SystemPrompt, ...]
    """The first one's principles are edited."""
    step: int
    """The iteration whose rollouts it is written from, counted from 1."""

    @property
    def parent_ids(self) -> tuple[int, ...]:
        """Return the parents by id."""
        return tuple(parent.id for parent in self.parents)

    def rejected(self, reason: str, detail: str = "", written: Sequence[str] = ()) -> Rejected:
        """Record that there is no child, and why; `written` holds the texts that could not be read."""
        kept = tuple(truncate(text, MOST_WRITTEN) for text in written)
        return Rejected(self.step, self.operator, self.parent_ids, reason, detail, kept)

    def child(
        self, principles: tuple[str, ...], rating: Rating, evidence: tuple[Evidence, ...], limits: EditLimits, unchanged: str
    ) -> Child | Rejected:
        """Return the child, or its rejection if it is too long, or equals its first parent (detail: `unchanged`) and may not."""
        if principles == self.parents[0].principles and (limits.rules.unchanged_child == "reject" or not principles):
            return self.rejected("unchanged", unchanged)
        if excess := limits.excess(principles):
            return self.rejected("too_long", excess)
        return Child(principles, rating, Lineage(self.operator, self.parent_ids, self.step), evidence)
