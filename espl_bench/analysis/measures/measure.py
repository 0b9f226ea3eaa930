"""Measure finished runs beyond their score: drift from the base, use of the prompt, plasticity, forgetting, and the learning curve.

Everything is computed from the final checkpoint with the run's own items and seeds, and stored as `measures.json` beside the run's files,
none of which changes. The test split is reported and steers nothing; a second task is watched by its validation split.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from espl_bench.analysis.measures.bench import Bench, Tell
from espl_bench.analysis.measures.drift import drift_of, prompt_use
from espl_bench.analysis.measures.second_task import FromBase, SecondChoice, opened_second, second_task
from espl_bench.analysis.measures.sigmoid import NotIdentifiedError, fit_sigmoid
from espl_bench.analysis.measures.text_fit import Text, perplexity, tokenized_text
from espl_bench.analysis.reopening import config_of, final_commit, reopened
from espl_bench.build import OpenEngine
from espl_bench.loop import RunContext
from espl_bench.runs.consent import NO_CONSENT, Consent
from espl_bench.runs.measures_file import FILE, Measures, Sigmoid, TextFit, write_measures
from espl_bench.runs.run_dir import RunDir
from espl_bench.runs.summary import Summary
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import writing

MOST_BYTES: Final = 1 << 20
"""More than the file can have."""


@dataclass(frozen=True, slots=True)
class MeasureChoices:
    """What is measured besides drift, prompt and learning curve."""

    second: SecondChoice | None = None
    text: Path | None = None


def measure(
    folders: Sequence[Path],
    choices: MeasureChoices,
    tell: Tell,
    model: Path | None = None,
    open_engine: OpenEngine | None = None,
    consent: Consent = NO_CONSENT,
) -> dict[Path, Measures]:
    """Measure finished runs, each of which gets its file when it is done.

    Args:
        folders: finished runs that still have their final checkpoint.
        choices: what else is measured.
        tell: called with progress.
        model: current location of the runs' model; None: as recorded.
        open_engine: makes the engine of each run; None: as the run's configuration says. It is closed afterwards.
        consent: as in `resume`.

    Raises EsplError in one line for a run that cannot be measured; those before it are done.
    """
    known: FromBase = {}
    return {folder: asyncio.run(_measure(folder, choices, known, tell, model, open_engine, consent)) for folder in folders}


async def _measure(
    folder: Path,
    choices: MeasureChoices,
    known: FromBase,
    tell: Tell,
    model: Path | None,
    open_engine: OpenEngine | None,
    consent: Consent,
) -> Measures:
    run = RunDir.open(folder)
    summary = run.summary()
    commit = final_commit(run, summary, "measure")
    with writing(folder / FILE, "repeat the command"):  # before anything is paid for
        foreign_files.require_own(folder)
        atomic_io.require_room(folder, MOST_BYTES)
    config = config_of(run, model, consent, "measure")
    async with reopened(run, commit, config, open_engine, "bring that back: it must be measured as its test was") as context:
        with TemporaryDirectory(prefix="espl-bench-measure-") as fresh:
            bench = Bench(summary, context, commit.folder, Path(fresh), tell)
            await context.engine.save(bench.fresh)
            await bench.engine.load_weights(bench.weights)
            measures = await _measured(bench, choices, known)
    write_measures(folder, measures)
    return measures


async def _measured(bench: Bench, choices: MeasureChoices, known: FromBase) -> Measures:
    text = None if choices.text is None else tokenized_text(choices.text, bench.context.spec.chat)
    with opened_second(bench, choices.second) as second:  # before anything is paid for
        return await _all_of(bench, choices, text, second, known)


async def _all_of(bench: Bench, choices: MeasureChoices, text: Text | None, second: RunContext | None, known: FromBase) -> Measures:
    """Measure everything in turn; the second task comes last, because it moves the weights."""
    shown = await bench.test("test, shown prompt", bench.summary.shown_prompt)
    drift, prompt = await drift_of(bench, shown), await prompt_use(bench, shown)

    async def perplexity_now(*, base: bool = False) -> float | None:
        return None if text is None else await perplexity(bench.scoring, bench.ledger, text, reference=base)

    base, trained = await perplexity_now(base=True), await perplexity_now()
    learned, after = None, None
    if second is not None and choices.second is not None:
        learned, after = await second_task(bench, second, choices.second.target, shown, known, perplexity_now)
    fit = None
    if text is not None and base is not None and trained is not None:
        fit = TextFit(name=text.name, sha256=text.sha256, tokens=text.tokens, base=base, trained=trained, after_second_task=after)
    sigmoid, refused = _sigmoid(bench.summary)
    return Measures(
        summary_sha256=bench.summary.content_sha256,
        step=bench.summary.steps,
        drift=drift,
        prompt=prompt,
        second_task=learned,
        text=fit,
        sigmoid=sigmoid,
        sigmoid_refused=refused,
        ledger=bench.totals(),
    )


def _sigmoid(summary: Summary) -> tuple[Sigmoid | None, str | None]:
    """Return the fit of a learning curve, or why it has none."""
    try:
        return fit_sigmoid(summary.curve), None
    except NotIdentifiedError as error:
        return None, str(error)
