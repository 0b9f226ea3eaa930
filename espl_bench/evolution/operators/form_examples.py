"""The edits by which a dialect's instructions show their form.

A small chat model answers an instruction with the example in it. As a principle, "the new principle" would be bred from and rated like
any other, so what the instructions themselves say is known here and refused where edits are read.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from espl_bench.errors import TemplateError
from espl_bench.evolution.operators.edit_fields import proposals
from espl_bench.evolution.operators.editor import AttemptView, ParentView, Proposal, aggregate_context, critique_context, crossover_context
from espl_bench.evolution.operators.edits import bare
from espl_bench.evolution.operators.lenient_json import recover_objects
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.types import Problem, Split

PROBE: Final = "a probe"
"""Stands for whatever a template may show."""


def form_examples(dialect: Dialect, limits: EditLimits) -> frozenset[str]:
    """Return the texts of the example edits in a dialect's instructions, as `edits.bare` gives them."""
    texts = [text for template, context in _contexts(limits) for text in _rendered(dialect, template, context)]
    return frozenset(bare(part) for text in texts for part in _examples(text)) - {"", PROBE}


def _rendered(dialect: Dialect, template: TemplateName, context: Mapping[str, object]) -> Iterator[str]:
    """Yield what an editor would be sent; nothing of a template that needs more, which an operator of another package may give it."""
    with suppress(TemplateError):
        for message in dialect.reflection_messages(template, context):
            yield message.content


def _examples(text: str) -> Iterator[str]:
    """Yield what the edits in a text say, whole and by the paragraph; of an edit without a principle, its evidence."""
    for fields in proposals(recover_objects(text).objects):
        said = fields.get("principle", fields.get("evidence"))
        if isinstance(said, str):
            yield from (said, *said.split("\n\n"))


def _contexts(limits: EditLimits) -> Iterator[tuple[TemplateName, Mapping[str, object]]]:
    """Yield what the templates whose answers are edits are rendered with, with something in every list."""
    problem, shown, change = Problem("", Split.TRAIN, 0, PROBE, PROBE), (PROBE,), (Proposal(0, PROBE, 1),)
    attempts = (AttemptView(True, PROBE), AttemptView(False, PROBE))
    yield TemplateName.CRITIQUE, critique_context(shown, problem, attempts, limits)
    yield TemplateName.AGGREGATE, aggregate_context(shown, change, change, limits)
    yield TemplateName.CROSSOVER, crossover_context((ParentView("A", shown, shown), ParentView("B", shown, shown)), limits)
