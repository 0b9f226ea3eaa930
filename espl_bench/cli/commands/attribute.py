"""`attribute`: how much of a run's gain is in its words, how much in its weights."""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espl_bench.analysis import attribution
from espl_bench.analysis.attribution import Attribution, Effect, PromptChoice, Weights
from espl_bench.cli.console import err_console, out_console
from espl_bench.leaderboard.layout import Sheet, TableLayout, signed_cell, signed_interval_cell
from espl_bench.leaderboard.render import sheets_to_screen
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.stats import Interval
from espl_bench.utils.formatting import DASH, points

NAMES = {PromptChoice.ROOT: "root prompt", PromptChoice.EVOLVED: "evolved prompt", PromptChoice.OTHER_SEED: "of another seed"}
LEGEND = (
    "Percentages of the test; every cell meets the same items with the same seeds. Words: what the evolved prompt adds, mean over both "
    "weights; weights: what training adds, mean over both prompts; both sum to the gain. Interaction: what both add beyond the sum of what "
    "each adds alone. 95 % CI over runs and items; of one run over items alone."
)


def attribute(folders: Sequence[Path], others: Sequence[Path], model: Path | None, quiet: bool, as_json: bool) -> None:
    """Evaluate the cells that are not on file, compute and print. Raises EsplError."""
    named = list(others) or (_siblings(folders[0]) if len(folders) == 1 else [])
    with _progress(quiet) as progress:
        found = attribution.attribute(folders, named, progress, model)
    if as_json:
        sys.stdout.write(json.dumps({"schema": "espl-bench/attribute/1", **asdict(found)}, indent=2) + "\n")
        return
    console = out_console()
    console.print(sheets_to_screen([attribution_sheet(found, [folder.name for folder in folders])], console.width, LEGEND))


def _siblings(folder: Path) -> list[Path]:
    """The other finished seeds of the run's own configuration in its folder, in order of names."""
    own = RunDir.open(folder).config().model_copy(update={"seed": 0})
    beside = sorted(file.parent for file in folder.resolve().parent.glob(f"*/{CONFIG}"))
    finished = [each for each in beside if each != folder.resolve() and (each / SUMMARY).exists()]
    return [each for each in finished if RunDir.open(each).config().model_copy(update={"seed": 0}) == own]


def attribution_sheet(found: Attribution, runs: Sequence[str]) -> Sheet:
    """Cells and effects of the named runs."""
    kinds = [kind for kind in PromptChoice if f"{Weights.BASE}/{kind}" in found.scores]
    cells = TableLayout(
        ("weights", *(NAMES[kind] for kind in kinds)),
        tuple((f"{each} weights", *(points(found.scores[f"{each}/{kind}"]) for kind in kinds)) for each in Weights),
        frozenset(),
    )
    rows = [
        _row("gain", found.gain, None, None),
        _row("words", found.words, found.words_share, found.words_share_interval),
        _row("weights", found.weights, found.weights_share, found.weights_share_interval),
        _row("interaction", found.interaction, None, None),
    ]
    if found.carried_over:
        rows.append(_row("another seed's words", found.carried_over, None, None))
    effects = TableLayout(("effect", "points", "95 % CI", "share", "95 % CI"), tuple(rows), frozenset())
    notes: list[str] = []
    if found.runs == 1:
        notes.append("one run: the intervals cover the test items and say nothing of other training runs; name several seeds")
    if found.words_share is None:
        notes.append("the gain is not separated from 0, so there is nothing to share out")
    if not found.carried_over:
        notes.append("no other seed of this configuration lies beside the run; name one with --other to try its prompt")
    return Sheet(f"{', '.join(runs)} · prompt and weights on the test", (cells, effects), tuple(notes))


def _row(name: str, effect: Effect, share: float | None, interval: Interval | None) -> tuple[str, ...]:
    shares = (DASH, DASH) if share is None or interval is None else (f"{share:.0%}", f"{interval[0]:.0%} … {interval[1]:.0%}")
    return (name, signed_cell(effect.mean), signed_interval_cell(effect.interval), *shares)


@contextmanager
def _progress(quiet: bool) -> Generator[attribution.Progress]:
    """A bar on stderr, if that is a terminal and nobody minds."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda cell, done, total: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("loading")
        yield lambda cell, done, total: bar.update(task, description=cell, completed=done, total=total)
