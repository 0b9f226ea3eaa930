"""Pictures of what `measure` found: score against drift, and the second task's learning curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espl_bench.analysis.study import RunRecord, by_row
from espl_bench.leaderboard.grouping import REFERENCE, mean
from espl_bench.plots.style import GREY, Style, legend_below, panels, styles
from espl_bench.runs.measures_file import Measures, SecondTask, read_measures
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_measures(records: Sequence[RunRecord]) -> "Figure | None":
    """Draw the test score over the drift of the weights, and validation scores of the second task. None if no run was measured.

    Raises RunDirError for a damaged file of measures.
    """
    measured = {label: found for label, runs in by_row(records).items() if (found := _measured(runs))}
    if not measured:
        return None
    second = {label: [each.second_task for each in runs if each.second_task] for label, runs in measured.items()}
    learned = {label: tasks for label, tasks in second.items() if tasks}
    figure, axes = panels(2 if learned else 1, height=3.1)
    seen = styles(measured, REFERENCE)
    for label, runs in measured.items():
        _scatter(axes[0], runs, seen[label], label)
    axes[0].set_title("Score and drift of the weights")
    axes[0].set_xlabel("KL to the base, nats per token")
    axes[0].set_ylabel("test score, %")
    axes[0].locator_params(axis="x", nbins=5)
    if learned:
        _draw_second(axes[1], learned, seen)
    for panel in axes:
        panel.set_ylim(bottom=0)
    legend_below(figure, axes[0])
    return figure


def _measured(runs: Sequence[RunRecord]) -> list[Measures]:
    finished = ((run.run.path, run.view.summary) for run in runs)
    found = (read_measures(folder, summary) for folder, summary in finished if summary is not None)
    return [measures for measures in found if measures is not None]


def _scatter(panel: Any, runs: Sequence[Measures], style: Style, label: str) -> None:
    known = [(each.drift.weights.mean, 100 * each.prompt.score.mean) for each in runs if each.drift and each.prompt]
    panel.plot(
        *zip(*known, strict=True),
        linestyle="none",
        marker=style.marker,
        color=style.colour,
        markersize=5,
        label=clean(label),
        clip_on=False,
    )


def _draw_second(panel: Any, learned: Mapping[str, Sequence[SecondTask]], seen: Mapping[str, Style]) -> None:
    """Draw the mean curve of each row, and that of the base over all of its runs."""
    for label, tasks in learned.items():
        style = seen[label]
        _curve(panel, [(task.learned.steps, task.learned.scores) for task in tasks], style.colour, style.dash)
    bases = [(task.from_base.steps, task.from_base.scores) for tasks in learned.values() for task in tasks]
    _curve(panel, list(dict.fromkeys(bases)), GREY, (0, (2, 1.5)))
    first = next(iter(learned.values()))[0]
    panel.set_title("A second task, learned afterwards")
    panel.set_xlabel(f"iterations of {clean(first.method)} (grey: from the base)")
    panel.set_ylabel("validation score, %")


def _curve(panel: Any, curves: Sequence[tuple[Sequence[int], Sequence[float]]], colour: str, dash: Any) -> None:
    """Draw the mean at the steps that all curves have."""
    at = [dict(zip(steps, scores, strict=True)) for steps, scores in curves]
    shared = [step for step in curves[0][0] if all(step in each for each in at)]
    panel.plot(shared, [100 * mean(each[step] for each in at) for step in shared], color=colour, linestyle=dash)
