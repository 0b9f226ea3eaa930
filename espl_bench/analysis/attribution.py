"""Attribute a run's gain to its words and to its weights: the 2 x 2 design {base, trained weights} x {root, evolved prompt}.

Each cell is an evaluation of the whole test with the run's own seeds, so cells differ by prompt and weights alone. The shares are those
of a two-factor design: the effect of the words is the mean gain from the evolved prompt over both weights, the effect of the weights
the mean gain from training over both prompts, and they sum to the total gain. The interaction is the gain of both together beyond the
sum of what each adds alone. The evolved prompt of another seed shows whether words carry over or fit one run only. The test split is
reported and steers nothing.

Cells are written to RUN/attribution.json as they are finished; a second call continues where the first stopped.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from espl_bench.analysis.reopening import config_of, final_commit, reopened
from espl_bench.build import OpenEngine
from espl_bench.config.choices import unlike
from espl_bench.engines.engine import SamplingClient
from espl_bench.errors import RunDirError, UsageError, reading
from espl_bench.loop import RunContext
from espl_bench.rollouts.batches import whole_split
from espl_bench.rollouts.evaluate import evaluate
from espl_bench.runs.consent import NO_CONSENT, Consent
from espl_bench.runs.run_dir import RunDir
from espl_bench.runs.summary import Summary
from espl_bench.stats import Interval, difference_interval, ratio_interval
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, Split, SystemPrompt
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import writing
from espl_bench.utils.foreign_json import InvalidJsonError, parse_record
from espl_bench.utils.validation import FrozenRecord, first_fault

FILE = "attribution.json"
KEPT = "repeat the command: the cells in it are kept"
CELL_BYTES, SCORE_BYTES = 200, 24
"""Bounds on what the file needs for a cell, and for one of its scores."""
Scores = NDArray[np.float64]


class Weights(StrEnum):
    """Weights that answer."""

    BASE = "base"
    TRAINED = "trained"


class PromptChoice(StrEnum):
    """Prompt that is shown to them."""

    ROOT = "root"
    EVOLVED = "evolved"
    OTHER_SEED = "other_seed"


class AttributionCell(FrozenRecord):
    """Evaluation of the test."""

    weights: Weights
    words: PromptChoice
    principles: tuple[str, ...]
    sample_scores: tuple[tuple[float, ...], ...]
    """Items x samples."""


class Cells(FrozenRecord):
    """Contents of attribution.json."""

    schema_: Literal["espl-bench/attribution/1"] = "espl-bench/attribution/1"
    step: int
    cells: tuple[AttributionCell, ...]

    def get(self, weights: Weights, words: PromptChoice) -> Scores:
        """Return the mean reward of each item. Raises KeyError if the cell was not evaluated."""
        for cell in self.cells:
            if (cell.weights, cell.words) == (weights, words):
                return np.asarray(cell.sample_scores, dtype=np.float64).mean(axis=1)
        raise KeyError((weights, words))

    def encoded(self) -> bytes:
        """Encode as the bytes of the file."""
        return atomic_io.encode_text(json.dumps(self.model_dump(mode="json")) + "\n")

    def has(self, words: PromptChoice) -> bool:
        """Check that both weights were evaluated with these words."""
        return {cell.weights for cell in self.cells if cell.words is words} == set(Weights)


@dataclass(frozen=True, slots=True)
class Effect:
    """Mean over runs and items with its 95 % interval, in 0..1."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Attribution:
    """Components of a gain, over one or more runs."""

    runs: int
    scores: Mapping[str, float]
    """``weights/words`` → mean score."""
    gain: Effect
    """Trained weights with the evolved prompt, minus base weights with the root prompt."""
    words: Effect
    weights: Effect
    interaction: Effect
    words_share: float | None
    """Share of the gain; None if the gain is not separated from 0."""
    words_share_interval: Interval | None
    weights_share: float | None
    weights_share_interval: Interval | None
    carried_over: Effect | None
    """Gain from another seed's evolved prompt over the root prompt, mean over both weights; None if it was not tried."""


Progress = Callable[[str, int, int], None]
"""Callback with the cell, its finished episodes, and its total of episodes."""


def attribute(
    folders: Sequence[Path],
    others: Sequence[Path],
    progress: Progress,
    model: Path | None = None,
    open_engine: OpenEngine | None = None,
    consent: Consent = NO_CONSENT,
) -> Attribution:
    """Evaluate the missing cells and compute the effects.

    Args:
        folders: finished runs, usually the seeds of one method.
        others: runs whose evolved prompt is also tried; each of `folders` takes the first one that is another run.
        progress: called for every cell.
        model: current location of the runs' model; None: as recorded.
        open_engine: makes the engine of each run; None: as the run's configuration says. It is closed afterwards.
        consent: as in `resume`.

    Raises RunDirError for an unfinished run or one without its final checkpoint, or if its folder cannot be written, which is found out
    before anything is evaluated; UsageError if the runs are not seeds of one configuration; EsplError if one cannot be opened.
    """
    _refuse_mixed(folders)
    prompts = {folder: RunDir.open(folder).summary().shown_prompt for folder in (*folders, *others)}
    measured: list[Cells] = []
    for index, folder in enumerate(folders):
        candidates = [other for other in (*others, *folders[index + 1 :], *folders[:index]) if other != folder]
        words = {PromptChoice.ROOT: RunDir.open(folder).config().evolution.root_principles, PromptChoice.EVOLVED: prompts[folder]}
        if candidates:
            words[PromptChoice.OTHER_SEED] = prompts[candidates[0]]
        measured.append(asyncio.run(measure(folder, words, progress, model, open_engine, consent)))
    return compute(measured)


def _refuse_mixed(folders: Sequence[Path]) -> None:
    first, *others = folders
    for other in others:
        if listed := unlike(RunDir.open(first).config(), RunDir.open(other).config()):
            raise UsageError(f"{first} and {other} are not seeds of one configuration: {', '.join(listed)}; attribute them one by one")


async def measure(
    folder: Path,
    words: Mapping[PromptChoice, tuple[str, ...]],
    progress: Progress,
    model: Path | None = None,
    open_engine: OpenEngine | None = None,
    consent: Consent = NO_CONSENT,
) -> Cells:
    """Evaluate every missing pair of weights and words, writing the file after each. Returns all cells."""
    run = RunDir.open(folder)
    summary = run.summary()
    commit = final_commit(run, summary, "attribute")
    wanted = [(weights, kind) for kind in words for weights in Weights]
    cells = [cell for cell in _on_file(folder, summary.steps) if cell.principles == words.get(cell.words)]
    missing = [pair for pair in wanted if pair not in {(cell.weights, cell.words) for cell in cells}]
    if missing:
        with writing(folder / FILE, KEPT):  # before the cells are paid for
            foreign_files.require_own(folder)
            atomic_io.require_room(folder, _most_bytes(summary, [words[kind] for _, kind in wanted]))
        config = config_of(run, model, consent, "attribute")
        async with reopened(run, commit, config, open_engine, "bring that back: its cells must be measured as its test was") as context:
            await context.engine.load(commit.folder)
            for weights, kind in missing:
                client = await (context.engine.reference() if weights is Weights.BASE else context.engine.current())
                scores = await _evaluate(context, client, words[kind], partial(progress, f"{weights} weights, {kind} prompt"))
                cells.append(AttributionCell(weights=weights, words=kind, principles=words[kind], sample_scores=scores))
                with writing(folder / FILE, KEPT):
                    atomic_io.write_atomic(folder / FILE, [Cells(step=summary.steps, cells=tuple(cells)).encoded()])
    return Cells(step=summary.steps, cells=tuple(cells))


def _most_bytes(summary: Summary, prompts: Sequence[tuple[str, ...]]) -> int:
    """Return more than the bytes of a file of cells with these prompts."""
    words = sum(len(json.dumps(prompt)) for prompt in prompts)
    return words + len(prompts) * (CELL_BYTES + SCORE_BYTES * summary.n_items * summary.k)


async def _evaluate(
    context: RunContext, client: SamplingClient, principles: tuple[str, ...], progress: Callable[[int, int], None]
) -> tuple[tuple[float, ...], ...]:
    prompt = SystemPrompt(id=0, principles=principles, rating=Rating(), lineage=Lineage(ROOT_ORIGIN))
    evaluation = await evaluate(
        client, context.spec, prompt, whole_split(context.env, Split.TEST), context.config.evaluation.eval_samples, 0, progress
    )
    return evaluation.scores_IG


def compute(measured: Sequence[Cells]) -> Attribution:
    """Compute the effects over runs and items. Raises RunDirError if the runs differ in their number of items."""
    if len({len(cells.get(Weights.BASE, PromptChoice.ROOT)) for cells in measured}) > 1:
        raise RunDirError("the runs have tests of different lengths; attribute runs of one environment")
    kinds = [kind for kind in PromptChoice if all(cells.has(kind) for cells in measured)]
    at = {(weights, kind): np.stack([cells.get(weights, kind) for cells in measured]) for weights in Weights for kind in kinds}
    base, tuned = at[Weights.BASE, PromptChoice.ROOT], at[Weights.TRAINED, PromptChoice.ROOT]
    prompted, both = at[Weights.BASE, PromptChoice.EVOLVED], at[Weights.TRAINED, PromptChoice.EVOLVED]
    gain = both - base
    words, weights = ((prompted - base) + (both - tuned)) / 2, ((tuned - base) + (both - prompted)) / 2
    carried = None
    if PromptChoice.OTHER_SEED in kinds:
        foreign = [at[weights, PromptChoice.OTHER_SEED] - at[weights, PromptChoice.ROOT] for weights in Weights]
        carried = _effect((foreign[0] + foreign[1]) / 2)
    shares = {name: ratio_interval(part, gain) for name, part in (("words", words), ("weights", weights))}
    total = float(gain.mean())
    return Attribution(
        runs=len(measured),
        scores={f"{weights}/{kind}": float(scores.mean()) for (weights, kind), scores in at.items()},
        gain=_effect(gain),
        words=_effect(words),
        weights=_effect(weights),
        interaction=_effect(both - tuned - prompted + base),
        words_share=float(words.mean()) / total if shares["words"] else None,
        words_share_interval=shares["words"],
        weights_share=float(weights.mean()) / total if shares["weights"] else None,
        weights_share_interval=shares["weights"],
        carried_over=carried,
    )


def _effect(contrast_RI: Scores) -> Effect:
    return Effect(float(contrast_RI.mean()), difference_interval(contrast_RI, np.zeros_like(contrast_RI)))


def _on_file(folder: Path, step: int) -> tuple[AttributionCell, ...]:
    """Read the cells of an earlier call, if they are of the same step."""
    if not foreign_files.exists(folder / FILE):
        return ()
    stored = read_cells(folder / FILE)
    return stored.cells if stored.step == step else ()


def read_cells(path: Path) -> Cells:
    """Read a file of cells. Raises RunDirError naming it."""
    try:
        with reading(path, "make it readable for this user"):
            cells = parse_record(Cells, foreign_files.read_record(path))
    except ValidationError as error:
        raise RunDirError(f"{path} cannot be read ({first_fault(error)}); delete it and attribute the run again") from error
    except InvalidJsonError as error:
        raise RunDirError(f"{path} cannot be read ({error}); delete it and attribute the run again") from error
    if any(not cell.sample_scores or len({len(row) for row in cell.sample_scores} | {0}) != 2 for cell in cells.cells):
        raise RunDirError(f"{path} cannot be read (a cell has no score for some of its samples); delete it and attribute the run again")
    return cells
