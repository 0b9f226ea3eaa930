"""What an operator returns: a child that is to be born, with the evidence for every edit that made it."""

from collections.abc import Sequence
from dataclasses import dataclass

from espl_bench.evolution.operators.edits import Edit, Merge, Modify, Remove
from espl_bench.prompts.forms import FORMS, Form, PromptForm
from espl_bench.types import Lineage, Rating


@dataclass(frozen=True, slots=True)
class EditLimits:
    """Bounds that both operators respect. Defaults are the paper's."""

    max_edits: int = 2
    """Edits that one problem's critique may propose (K_ops)."""
    max_words: int = 32
    """Words of a principle; a longer one is refused, never cut."""
    attempts: int = 5
    """Rollouts of one problem that a critique sees."""
    sigma_growth: float = 1.0
    """Δσ: how much less is known of a child than of its parents."""
    form: PromptForm = PromptForm.PRINCIPLES
    max_prompt_words: int | None = None
    """Words of a whole prompt; a longer child is refused, never cut. None: no limit."""

    @property
    def edits(self) -> Form:
        """What editors may do to a prompt of this form."""
        return FORMS[self.form]

    def excess(self, principles: Sequence[str]) -> str | None:
        """Why a prompt is too long, in one line; None if it is not."""
        words = sum(len(principle.split()) for principle in principles)
        if self.max_prompt_words is None or words <= self.max_prompt_words:
            return None
        return f"the prompt would have {words} words, more than {self.max_prompt_words}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One edit and what it was based on, in plain words for the record."""

    op: str
    ids: tuple[int, ...]
    """Numbers of the principles concerned, in the list the editor saw."""
    principle: str
    source: str
    """A problem's id, or the stage that decided it."""
    reason: str
    """What the editor itself gave as evidence; may be empty."""

    @classmethod
    def of(cls, edit: Edit, source: str) -> "Evidence":
        """The record of one edit."""
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
