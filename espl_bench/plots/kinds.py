"""Registry of pictures by name, and the data that each one needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espl_bench.analysis.study import Study
from espl_bench.leaderboard.grouping import group
from espl_bench.leaderboard.learning_curves import Axis, CurveSplit
from espl_bench.plots.bars import draw_bars
from espl_bench.plots.curves import draw_curves
from espl_bench.plots.measures import draw_measures
from espl_bench.plots.ratings import draw_ratings
from espl_bench.plots.steps import draw_mismatch, draw_outcomes, draw_prompts
from espl_bench.plots.tree import draw_tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class PlotChoices:
    """Options of a picture."""

    axis: Axis = Axis.ITERATIONS
    split: CurveSplit = "validation"


Drawn = tuple[str, "Figure"]
"""File name without extension, and the picture."""


@dataclass(frozen=True, slots=True)
class PlotKind:
    """Kind of picture."""

    summary: str
    needs: str
    """Data that the picture needs, for the message if they are missing."""
    draw: Callable[[Study, PlotChoices], Iterator[Drawn]]


def _one(name: str, figure: "Figure | None") -> Iterator[Drawn]:
    if figure is not None:
        yield name, figure


def _curves(study: Study, choices: PlotChoices) -> Iterator[Drawn]:
    yield from _one(f"curves-{choices.split}-{choices.axis}", draw_curves(group(study.entries), choices.axis, choices.split))


def _bars(study: Study, choices: PlotChoices) -> Iterator[Drawn]:
    del choices
    if study.entries:
        yield "bars", draw_bars(group(study.entries))


def _trees(study: Study, choices: PlotChoices) -> Iterator[Drawn]:
    del choices
    for record in study.records:
        yield from _one(f"tree-{record.name}", draw_tree(record))


KINDS: dict[str, PlotKind] = {
    "curves": PlotKind("learning curves with bands over seeds", "finished runs with evaluations during training", _curves),
    "bars": PlotKind("methods side by side, per test", "finished runs", _bars),
    "tree": PlotKind("the evolution tree of each run", "run directories in which prompts were bred", _trees),
    "ratings": PlotKind(
        "rating against held-out score, and calibration",
        "run directories with ratings",
        lambda s, _: _one("ratings", draw_ratings(s.records)),
    ),
    "prompts": PlotKind(
        "length and diversity of prompts",
        "run directories in which prompts were bred",
        lambda s, _: _one("prompts", draw_prompts(s.records)),
    ),
    "outcomes": PlotKind(
        "the mix of outcomes in training", "run directories with training rollouts", lambda s, _: _one("outcomes", draw_outcomes(s.records))
    ),
    "mismatch": PlotKind(
        "trainer's against sampler's probabilities",
        "run directories whose weights learn",
        lambda s, _: _one("mismatch", draw_mismatch(s.records)),
    ),
    "measures": PlotKind(
        "score against drift from the base, and how a second task is learned",
        "run directories that were measured (espl-bench measure)",
        lambda s, _: _one("measures", draw_measures(s.records)),
    ),
}
