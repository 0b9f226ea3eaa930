"""Results of an operator: a child with the evidence for every edit that made it, or the reason why there is none."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from espl_bench.evolution.operators.edits import Edit, Merge, Modify, ParsedEdits, Remove, parse_edits
from espl_bench.prompts.forms import FORMS, Form, PromptForm
from espl_bench.prompts.principle_text import OpName
from espl_bench.types import Lineage, Rating, Rejected, SystemPrompt


@dataclass(frozen=True, slots=True)
class EditLimits:
    """Bounds and probabilities of operators. Defaults are the paper's; a crossover always happens unless a method sets a probability."""

    max_edits: int = 2
    """Edits that one problem's critique may propose (K_ops)."""
    max_words: int = 32
    """Words of a principle; a longer one is refused, never truncated."""
    attempts: int = 5
    """Rollouts of one problem that a critique sees."""
    sigma_growth: float = 1.0
    """Δσ: uncertainty added to a child's rating."""
    form: PromptForm = PromptForm.PRINCIPLES
    max_prompt_words: int | None = None
    """Words of a whole prompt; a longer child is refused, never truncated. None: no limit."""
    crossover_prob: float = 1.0
    """Probability that a step has a crossover."""

    @property
    def edits(self) -> Form:
        """Return the edits that a prompt of this form allows."""
        return FORMS[self.form]

    def parse(self, text: str, allowed: Collection[OpName], principles: Sequence[str], most: int | None = None) -> ParsedEdits:
        """Read an editor's edits of `principles`, at most `most`, within these bounds. Raises UnparseableEditsError."""
        return parse_edits(text, allowed, principles, most, self.max_words, self.edits.clean)

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

    def rejected(self, reason: str, detail: str = "") -> Rejected:
        """Record that there is no child, and why."""
        return Rejected(self.step, self.operator, self.parent_ids, reason, detail)

    def child(
        self, principles: tuple[str, ...], rating: Rating, evidence: tuple[Evidence, ...], limits: EditLimits, unchanged: str
    ) -> Child | Rejected:
        """Return the child, or its rejection if it is too long or equals its first parent (detail: `unchanged`)."""
        if principles == self.parents[0].principles:
            return self.rejected("unchanged", unchanged)
        if excess := limits.excess(principles):
            return self.rejected("too_long", excess)
        return Child(principles, rating, Lineage(self.operator, self.parent_ids, self.step), evidence)
