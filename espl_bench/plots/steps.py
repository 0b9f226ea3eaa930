"""Pictures over iterations: length and diversity of prompts, shares of outcomes, trainer against sampler."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espl_bench.analysis.prompt_length import words_over_time
from espl_bench.analysis.study import RunRecord, by_row
from espl_bench.leaderboard.grouping import REFERENCE, mean
from espl_bench.plots.style import OUTCOME_COLOURS, OUTCOME_HATCHES, Style, legend_below, panels, styles
from espl_bench.types import Outcome
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = Iterable[tuple[int, float | None]]
"""(step, value); None for a step without a value."""


def _by_label(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    return by_row(record for record in records if record.metrics)


def _draw_runs(panel: Any, records: Sequence[RunRecord], series: Callable[[RunRecord], Series], style: Style, label: str) -> bool:
    """Draw every run as a faint line and their mean as a strong one; False if no run has a value."""
    at: dict[int, list[float]] = {}
    for record in records:
        known = [(step, value) for step, value in series(record) if value is not None]
        for step, value in known:
            at.setdefault(step, []).append(value)
        if len(records) > 1:
            panel.plot([step for step, _ in known], [value for _, value in known], color=style.colour, alpha=0.28, linewidth=0.6)
    steps = [step for step in sorted(at) if len(at[step]) == len(records)]
    if steps:
        panel.plot(steps, [mean(at[step]) for step in steps], color=style.colour, linestyle=style.dash, label=clean(label))
    return bool(steps)


def draw_prompts(records: Sequence[RunRecord]) -> "Figure | None":
    """Draw the length of the shown prompt and the diversity of the living ones. None if no run evolves prompts."""
    breeding = _by_label([record for record in records if len(record.view.prompts) > 1])
    if not breeding:
        return None
    figure, (left, right) = panels(2)
    seen = styles(breeding, "")
    for label, runs in breeding.items():
        words = {record.run.path: tuple(_words(record)) for record in runs}
        _draw_runs(
            left, runs, lambda record, words=words: [(row.step, row.shown_words) for row in words[record.run.path]], seen[label], label
        )
        _draw_runs(
            right, runs, lambda record, words=words: [(row.step, row.diversity) for row in words[record.run.path]], seen[label], label
        )
    left.set_title("Length of the shown prompt")
    left.set_ylabel("words")
    right.set_title("Diversity of the living prompts")
    right.set_ylabel("mean share of words not shared")
    right.set_ylim(0, 1.03)
    for panel in (left, right):
        panel.set_xlabel("iterations")
    left.set_ylim(bottom=0)
    legend_below(figure, left)
    return figure


def _words(record: RunRecord) -> Iterable[Any]:
    return words_over_time(record.view.prompts, record.metrics, record.view.config.method.population_size)


def draw_outcomes(records: Sequence[RunRecord]) -> "Figure | None":
    """Draw the shares of outcomes among training rollouts, a panel per method. None without training rollouts."""
    methods = _by_label(records)
    if not methods:
        return None
    figure, axes = panels(len(methods), height=2.3, sharey=True)
    for panel, (label, runs) in zip(axes, methods.items(), strict=True):
        steps, shares = _shares(runs)
        kinds = [outcome.value for outcome in Outcome if any(row.get(outcome.value) for row in shares)]
        layers = panel.stackplot(
            steps, *([100 * row.get(kind, 0.0) for row in shares] for kind in kinds),
            colors=[OUTCOME_COLOURS[kind] for kind in kinds], edgecolor="white", linewidth=0.4, alpha=0.85,
        )  # fmt: skip
        for layer, kind in zip(layers, kinds, strict=True):
            layer.set_hatch(OUTCOME_HATCHES[kind])
        panel.set_title(clean(f"{label}, {len(runs)} run{'s' * (len(runs) > 1)}"))
        panel.set_xlabel("iterations")
        panel.set_ylabel("training rollouts, %")
        panel.set_ylim(0, 100)
        panel.margins(x=0)
    present = [
        kind
        for kind in OUTCOME_COLOURS
        if any(row.outcomes.get(Outcome(kind)) for runs in methods.values() for run in runs for row in run.metrics)
    ]
    figure.legend([_patch(kind) for kind in present], [kind.replace("_", " ") for kind in present], loc="outside lower center", ncols=6)
    return figure


def _patch(kind: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=OUTCOME_COLOURS[kind], hatch=OUTCOME_HATCHES[kind], edgecolor="white", alpha=0.85)


def _shares(runs: Sequence[RunRecord]) -> tuple[list[int], list[Mapping[str, float]]]:
    """Average the shares over the runs at each step that all of them have reached."""
    steps = [row.step for row in min((run.metrics for run in runs), key=len)]
    rows = [[run.metrics[index].outcomes for run in runs] for index in range(len(steps))]
    return steps, [{kind: mean(row.get(kind, 0.0) for row in at) for kind in {kind for row in at for kind in row}} for at in rows]


MISMATCH: Mapping[str, str] = {
    "ratio_mean": "mean ratio p / q",
    "kl_sampler": "log q - log p, nats",
    "clip_fraction": "share of ratios that clips would cut",
    "entropy": "entropy, nats",
}


def draw_mismatch(records: Sequence[RunRecord]) -> "Figure | None":
    """Draw the distance between the trainer's and the sampler's probabilities. None if no weights are trained."""
    learning = _by_label([record for record in records if any(row.train.get("ratio_mean") is not None for row in record.metrics)])
    if not learning:
        return None
    figure, axes = panels(len(MISMATCH), height=2.1)
    seen = styles(learning, REFERENCE)
    for panel, (name, title) in zip(axes, MISMATCH.items(), strict=True):
        for label, runs in learning.items():
            _draw_runs(
                panel,
                runs,
                lambda record, name=name: [(row.step, row.train.get(name)) for row in record.metrics],
                seen[label],
                label,
            )
        panel.set_title(title)
        panel.set_xlabel("iterations")
    legend_below(figure, axes[0])
    return figure
