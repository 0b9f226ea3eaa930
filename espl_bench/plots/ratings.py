"""Check the ratings: do highly rated prompts score high on held-out items, and do favourites win as often as predicted?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espl_bench.analysis.rating_history import Duel, duels, histories, rating_at
from espl_bench.analysis.study import RunRecord, by_row
from espl_bench.plots.style import Style, legend_below, panels, styles
from espl_bench.runs.population_events import RatedEvent
from espl_bench.types import Split
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 8
"""Number of bins for chances from a half to one."""
FEWEST = 5
"""Smallest number of duels in a drawn bin."""


@dataclass(frozen=True, slots=True)
class Examined:
    """Evaluation of a prompt: its rating at that time, and its score."""

    mu: float
    sigma: float
    score: float
    split: Split


def examined(record: RunRecord) -> list[Examined]:
    """List a run's evaluations of rated prompts."""
    past = histories(record.events)
    points: list[Examined] = []
    for row in record.view.evaluations:
        rating = rating_at(past[row.prompt_id], row.step)
        if rating and row.step > 0:
            points.append(Examined(rating.mu, rating.sigma, row.score, row.split))
    return points


def draw_ratings(records: Sequence[RunRecord]) -> "Figure | None":
    """Draw both panels; None if nothing was rated."""
    rated = [record for record in records if any(isinstance(event, RatedEvent) and len(event.means) > 1 for event in record.events)]
    if not rated:
        return None
    figure, (left, right) = panels(2, height=3.1)
    rows = by_row(rated)
    seen = styles(rows, "")
    for label, of_label in rows.items():
        _draw_scores(left, [point for record in of_label for point in examined(record)], seen[label], label)
        _draw_calibration(
            right, [duel for record in of_label for duel in duels(record.events, record.view.config.evolution.tie)], seen[label], label
        )
    left.set_title("Rating and held-out score")
    left.set_xlabel("rating μ when it was evaluated (bars: ± σ)")
    left.set_ylabel("score, %")
    left.set_ylim(bottom=0)
    right.plot([50, 100], [50, 100], color="#59626d", linewidth=0.9, linestyle=(0, (2, 2)), label="as predicted")
    right.set_title("Calibration")
    right.set_xlabel("chance of the favourite by the ratings before, %")
    right.set_ylabel("share it won, draws half, %")
    right.set_ylim(0, 103)
    right.legend(loc="lower right", fontsize=7.5)
    legend_below(figure, left)
    return figure


def _draw_scores(panel: Any, points: Sequence[Examined], style: Style, label: str) -> None:
    for split in Split:
        of_split = [point for point in points if point.split is split]
        if not of_split:
            continue
        hollow = split is not Split.TEST
        panel.errorbar(
            [point.mu for point in of_split],
            [100 * point.score for point in of_split],
            xerr=[point.sigma for point in of_split],
            fmt=style.marker,
            color=style.colour,
            markersize=4,
            markerfacecolor="white" if hollow else style.colour,
            linewidth=0.5,
            label=f"{clean(label)}, {split}",
        )


def _draw_calibration(panel: Any, all_duels: Sequence[Duel], style: Style, label: str) -> None:
    bins: list[list[Duel]] = [[] for _ in range(BINS)]
    for duel in all_duels:
        bins[min(BINS - 1, int((duel.expected - 0.5) * 2 * BINS))].append(duel)
    full = [duels_ for duels_ in bins if len(duels_) >= FEWEST]
    expected = [100 * sum(duel.expected for duel in full_bin) / len(full_bin) for full_bin in full]
    won = [sum(duel.won for duel in full_bin) / len(full_bin) for full_bin in full]
    error = [196 * (share * (1 - share) / len(full_bin)) ** 0.5 for share, full_bin in zip(won, full, strict=True)]
    panel.errorbar(
        expected, [100 * share for share in won], yerr=error, fmt=style.marker, linestyle=style.dash, color=style.colour, markersize=4,
        linewidth=1.0, elinewidth=0.6, label=f"{clean(label)}, {len(all_duels):,} pairs",
    )  # fmt: skip
