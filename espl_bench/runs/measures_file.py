"""`measures.json` beside a run's summary: what a finished run's weights and prompt are worth beyond their score.

`espl-bench measure` writes it, and nothing else of the run. A block is None if it was not measured.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.errors import RunDirError, reading
from espl_bench.runs.summary import Summary
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import writing
from espl_bench.utils.foreign_json import InvalidJsonError, parse_record
from espl_bench.utils.validation import FrozenRecord, first_fault

FILE: Final = "measures.json"
SCHEMA: Final = "espl-bench/measures/1"


class Estimate(FrozenRecord):
    """A mean with its 95 % interval."""

    mean: float
    low: float | None
    """None with `high`: there are too few numbers for an interval."""
    high: float | None


class Drift(FrozenRecord):
    """Divergence from the base per sampled token of the test, in nats. Means and intervals are over prompts, each with the same weight."""

    weights: Estimate
    """KL(trained weights || base weights), both under the shown prompt."""
    behaviour: Estimate | None
    """KL(trained weights under the shown prompt || base weights under the root prompt); None if episodes have several token sequences."""


class PromptUse(FrozenRecord):
    """The test with and without the prompt. Scores are means over items, 0..1."""

    score: Estimate
    """Trained weights, shown prompt: the run's own test."""
    unprompted: Estimate
    """Trained weights, root prompt."""
    base: Estimate
    """Base weights, root prompt."""
    prompt_tokens: int
    """Tokens that the shown prompt adds to the root prompt."""

    @property
    def tokens_per_point(self) -> float | None:
        """Return the prompt's tokens per percentage point gained over the base; None without a gain."""
        gain = 100 * (self.score.mean - self.base.mean)
        return self.prompt_tokens / gain if gain > 0 else None


class Progress(FrozenRecord):
    """Validation scores while the second task was learned."""

    steps: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def area(self) -> float:
        """Return the mean score over the steps: the area under the curve by trapezoids, divided by its length."""
        pairs = list(zip(self.steps, self.scores, strict=True))
        areas = ((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(pairs))
        return sum(areas) / (self.steps[-1] - self.steps[0]) if len(pairs) > 1 else self.scores[0]

    def steps_to(self, target: float) -> float | None:
        """Return the step at which the curve first reaches a score, interpolated between evaluations; None if it does not."""
        before: tuple[int, float] | None = None
        for step, score in zip(self.steps, self.scores, strict=True):
            if score >= target:
                if before is None:
                    return float(step)
                return before[0] + (step - before[0]) * (target - before[1]) / (score - before[1])
            before = step, score
        return None


class SecondTask(FrozenRecord):
    """A second task, learned by weights alone under the root prompt, from the run's weights and from the base."""

    env: str
    env_options: dict[str, Any]
    method: str
    unprompted: Estimate
    """Its test before it was learned: trained weights, root prompt."""
    learned: Progress
    from_base: Progress
    """The same from base weights, with the same seeds."""
    target: float
    """Score to reach: the last of the base, unless one was named."""
    first_task: Estimate
    """The first task's test afterwards: shown prompt."""
    change: Estimate
    """Afterwards minus before, paired over items."""


class TextFit(FrozenRecord):
    """Perplexity of a text, per token."""

    name: str
    sha256: str
    tokens: int
    """Tokens that were predicted."""
    base: float
    trained: float
    after_second_task: float | None
    """None without a second task."""


class Sigmoid(FrozenRecord):
    """A sigmoid through the learning curve: score(x) = start + (asymptote - start) / (1 + (midpoint / x) ^ rate)."""

    split: Literal["validation", "test"]
    points: int
    start: float
    """Score before the first step, which is not fitted."""
    asymptote: Estimate
    rate: Estimate
    midpoint: Estimate
    """In iterations."""


class Measures(FrozenRecord):
    """Contents of measures.json."""

    schema_: Literal["espl-bench/measures/1"] = SCHEMA
    summary_sha256: str
    """Hash of the summary of the run that was measured."""
    step: int
    drift: Drift | None = None
    prompt: PromptUse | None = None
    second_task: SecondTask | None = None
    text: TextFit | None = None
    sigmoid: Sigmoid | None = None
    sigmoid_refused: str | None = None
    """Why the learning curve has no sigmoid."""
    ledger: LedgerTotals
    """What the measuring cost; the run's own ledger is in its summary."""


def write_measures(folder: Path, measures: Measures) -> None:
    """Write, or replace, the file of a run. Raises RunDirError if it cannot be written."""
    with writing(folder / FILE, "repeat the command"):
        foreign_files.require_own(folder)
        atomic_io.write_atomic(folder / FILE, [atomic_io.encode_text(json.dumps(measures.model_dump(mode="json"), indent=2) + "\n")])


def read_measures(folder: Path, summary: Summary) -> Measures | None:
    """Read the measures of a run; None if there are none. Raises RunDirError for a damaged file, or one of another result."""
    path = folder / FILE
    if not foreign_files.exists(path):
        return None
    remedy = "delete it and measure the run again"
    try:
        with reading(path, "make it readable for this user"):
            measures = parse_record(Measures, foreign_files.read_record(path))
    except ValidationError as error:
        raise RunDirError(f"{path} cannot be read ({first_fault(error)}); {remedy}") from error
    except InvalidJsonError as error:
        raise RunDirError(f"{path} cannot be read ({error}); {remedy}") from error
    if measures.summary_sha256 != summary.content_sha256:
        raise RunDirError(f"{path} was measured on another result than the run's present one; {remedy}")
    return measures
