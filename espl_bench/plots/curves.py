"""Learning curves with bands: the mean over training seeds and its 95 % t interval, over steps or any cost."""

from typing import TYPE_CHECKING, Any

from espl_bench.leaderboard.grouping import TestGroup
from espl_bench.leaderboard.learning_curves import Axis, Band, CurveSplit, bands
from espl_bench.plots.style import Style, legend_below, panels, styles
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    Axis.ITERATIONS: "iterations",
    Axis.ROLLOUTS: "training rollouts",
    Axis.TOKENS: "generated tokens, the editor's included",
    Axis.TRAIN_TOKENS: "training tokens",
    Axis.SECONDS: "seconds of iterations",
}


def draw_curves(tests: tuple[TestGroup, ...], axis: Axis, split: CurveSplit) -> "Figure | None":
    """Draw a panel per test; None if no run was evaluated during training."""
    curves = [(test, bands(test, axis, split)) for test in tests]
    drawn = [(test, lines) for test, lines in curves if any(len(line.x) > 1 for line in lines)]
    if not drawn:
        return None
    figure, axes = panels(len(drawn), height=3.1)
    for panel, (test, lines) in zip(axes, drawn, strict=True):
        seen = styles(test.methods.keys(), test.reference(None))
        for line in lines:
            _draw(panel, line, seen[line.method])
        panel.set_title(clean(f"{test.env} · {test.model}"))
        panel.set_xlabel(TITLES[axis])
        panel.set_ylabel(f"{split} score, %")
        panel.set_ylim(bottom=0)
        panel.margins(x=0.02)
    legend_below(figure, axes[0])
    return figure


def _draw(panel: Any, line: Band, style: Style) -> None:
    label = clean(line.method)
    if len(line.x) == 1:
        panel.axhline(100 * line.mean[0], color=style.colour, linestyle=style.dash, linewidth=1.1, label=label)
        return
    if line.low and line.high:
        panel.fill_between(
            line.x, [100 * low for low in line.low], [100 * high for high in line.high], color=style.colour, alpha=0.13, linewidth=0
        )
    every = max(1, len(line.x) // 8)
    panel.plot(
        line.x,
        [100 * mean for mean in line.mean],
        color=style.colour,
        linestyle=style.dash,
        marker=style.marker,
        markevery=every,
        markersize=3.6,
        label=label,
    )
