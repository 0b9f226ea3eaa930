"""`attribute`: split a run's gain between its prompt and its weights."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espl_bench.analysis import attribution
from espl_bench.analysis.attribution import Attribution, Effect, PromptChoice, Weights
from espl_bench.cli.console import err_console, out_console, write_json
from espl_bench.config.choices import unlike
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import EsplError
from espl_bench.leaderboard.layout import Sheet, TableLayout, signed_cell, signed_interval_cell
from espl_bench.leaderboard.render import sheets_to_screen
from espl_bench.runs.consent import NO_CONSENT, Consent
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.stats import Interval
from espl_bench.utils import foreign_files
from espl_bench.utils.formatting import DASH, fixed, plain, points

NAMES = {PromptChoice.ROOT: "root prompt", PromptChoice.EVOLVED: "evolved prompt", PromptChoice.OTHER_SEED: "of another seed"}
LEGEND = (
    "Percentages of the test. Every cell uses the same items and seeds. Words: gain from the evolved prompt, mean over both weights. "
    "Weights: gain from training, mean over both prompts. The two sum to the total gain. Interaction: what both add together beyond the "
    "sum of what each adds alone. 95 % CI over runs and items, pointwise; for one run, over items alone."
)


def attribute(
    folders: Sequence[Path], others: Sequence[Path], model: Path | None, quiet: bool, as_json: bool, consent: Consent = NO_CONSENT
) -> None:
    """Evaluate the missing cells, compute the effects and print them. Raises EsplError."""
    named = list(others) or (_siblings(folders[0]) if len(folders) == 1 else [])
    with cell_progress(quiet) as progress:
        result = attribution.attribute(folders, named, progress, model, consent=consent)
    if as_json:
        write_json(json.dumps({"schema": "espl-bench/attribute/1", **asdict(result)}, indent=2) + "\n")
        return
    console = out_console()
    console.print(sheets_to_screen([attribution_sheet(result, [folder.name for folder in folders])], console.width, LEGEND))


def _siblings(folder: Path) -> list[Path]:
    """Find the other finished seeds of the run's configuration in its parent folder, in order of names."""
    own, here = RunDir.open(folder).config(), folder.resolve()
    *_, beside = foreign_files.folders_below(here.parent, 1, lambda path, why: None)
    return [sibling for sibling in beside if sibling != here and _is_finished_seed(sibling, own)]


def _is_finished_seed(sibling: Path, own: RunConfig) -> bool:
    """Return whether a folder holds a finished run of a configuration. A damaged one is told and left out."""
    if not foreign_files.exists(sibling / CONFIG) or not foreign_files.exists(sibling / SUMMARY):
        return False
    try:
        run = RunDir.open(sibling)
        if unlike(own, run.config()):
            return False
        run.summary()
    except EsplError as error:
        err_console().print(plain(f"! left out: {error}", "yellow"), soft_wrap=True)
        return False
    return True


def attribution_sheet(result: Attribution, runs: Sequence[str]) -> Sheet:
    """Lay out the cells and effects of the named runs."""
    kinds = [kind for kind in PromptChoice if f"{Weights.BASE}/{kind}" in result.scores]
    cells = TableLayout(
        ("weights", *(NAMES[kind] for kind in kinds)),
        tuple((f"{weights} weights", *(points(result.scores[f"{weights}/{kind}"]) for kind in kinds)) for weights in Weights),
        frozenset(),
    )
    rows = [
        _row("gain", result.gain, None, None),
        _row("words", result.words, result.words_share, result.words_share_interval),
        _row("weights", result.weights, result.weights_share, result.weights_share_interval),
        _row("interaction", result.interaction, None, None),
    ]
    if result.carried_over:
        rows.append(_row("another seed's words", result.carried_over, None, None))
    effects = TableLayout(("effect", "points", "95 % CI", "share", "95 % CI"), tuple(rows), frozenset())
    notes: list[str] = []
    if result.runs == 1:
        notes.append("one run: the intervals cover test items only, not other training runs; name several seeds")
    if result.words_share is None:
        notes.append("the gain is not separated from 0, so no shares are computed")
    if not result.carried_over:
        notes.append("there is no other seed of this configuration in the run's folder; name one with --other to try its prompt")
    return Sheet(f"{', '.join(runs)} · prompt and weights on the test", (cells, effects), tuple(notes))


def _row(name: str, effect: Effect, share: float | None, interval: Interval | None) -> tuple[str, ...]:
    shares = (DASH, DASH) if share is None or interval is None else (_share(share), f"{_share(interval[0])} … {_share(interval[1])}")
    return (name, signed_cell(effect.mean), signed_interval_cell(effect.interval), *shares)


def _share(share: float) -> str:
    return f"{fixed(share * 100, 0)}%"


@contextmanager
def cell_progress(quiet: bool) -> Generator[attribution.Progress]:
    """Show a progress bar on stderr if it is a terminal and `quiet` is off."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda cell, done, total: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("loading")
        yield lambda cell, done, total: bar.update(task, description=cell, completed=done, total=total)
