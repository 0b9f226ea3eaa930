"""Bars of the methods for each test, with intervals, as in the paper's figure 11."""

from typing import TYPE_CHECKING

from espl_bench.leaderboard.grouping import TestGroup
from espl_bench.leaderboard.table import tabulate
from espl_bench.plots.style import panels, styles
from espl_bench.utils.formatting import points
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HATCHES = ("", "///", "...", "\\\\\\", "xx", "--")


def draw_bars(tests: tuple[TestGroup, ...]) -> "Figure":
    """Draw a panel per test, with methods from lowest to highest score."""
    figure, axes = panels(len(tests), height=2.9)
    for panel, test in zip(axes, tests, strict=True):
        rows = list(reversed(tabulate(test, None).rows))
        seen = styles(test.methods.keys(), test.reference(None))
        names = sorted(test.methods)
        for x, row in enumerate(rows):
            low, high = (100 * end for end in row.ci95)
            score = 100 * row.score
            hatch = HATCHES[names.index(row.method) % len(HATCHES)]
            panel.bar(x, score, width=0.68, color=seen[row.method].colour, edgecolor="white", hatch=hatch, linewidth=0.5)
            panel.errorbar(x, score, yerr=[[score - low], [high - score]], color="#1c2126", linewidth=0.9, capsize=2.5)
            panel.annotate(points(row.score), (x, high), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7.5)
        panel.set_xticks(range(len(rows)), [clean(row.method).replace("_", "\n", 1).replace(" · ", "\n") for row in rows])
        panel.grid(axis="x", visible=False)
        panel.set_title(clean(f"{test.env} · {test.model}"))
        panel.set_ylabel(f"test avg@{test.k}, %")
        panel.set_ylim(bottom=0)
    return figure
