"""Evolution tree of one run: time to the right, mutation and crossover edges, each prompt coloured by its rating."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from espl_bench.analysis.lineage_layout import lanes
from espl_bench.analysis.study import RunRecord
from espl_bench.plots.style import WIDTH, panels
from espl_bench.runs.view import PromptView, ancestry
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CROSSOVER = "#d55e00"
MUTATION = "#59626d"
LANE = 0.26
"""Inches."""
HIGHEST: Final = 100.0
"""Inches; the lanes of a wider tree are closer together."""
DRAWN: Final = 1000
"""Prompts in one picture; of more, the newest of those that living prompts descend from."""
EDGES: Final = 4 * DRAWN
"""Edges in one picture; of more, those to first parents."""


def draw_tree(record: RunRecord) -> "Figure | None":
    """Draw the tree; None for a run without children."""
    prompts = _drawn(record.view.prompts, record.view.shown_id)
    if len(prompts) < 2:
        return None
    lane = _lanes(record.view.prompts, prompts)
    by_id = {prompt.id: prompt for prompt in prompts}
    figure, (panel,) = panels(1, height=min(HIGHEST, max(1.8, 0.9 + LANE * (max(lane.values()) + 1))))
    figure.set_figwidth(WIDTH)
    for parent, prompt, first in _edges(by_id):
        _draw_edge(panel, parent, prompt, lane, first)
    faces = panel.scatter(
        [prompt.born_step for prompt in prompts],
        [lane[prompt.id] for prompt in prompts],
        c=[prompt.rating.mu for prompt in prompts],
        cmap="viridis",
        s=26,
        linewidths=[1.6 if prompt.id == record.view.shown_id else 0.6 for prompt in prompts],
        edgecolors="#1c2126",
        zorder=3,
    )
    shown = by_id[record.view.shown_id]
    panel.annotate(f"#{shown.id}", (shown.born_step, lane[shown.id]), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7)
    figure.colorbar(faces, ax=panel, label="rating μ", pad=0.02, aspect=16)
    panel.plot([], [], color=MUTATION, linewidth=1.0, label="mutation")
    panel.plot([], [], color=CROSSOVER, linewidth=1.3, label="crossover, best parent")
    panel.plot([], [], color=CROSSOVER, linewidth=0.8, linestyle=(0, (2, 2)), label="crossover, others")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=2.6)
    number = len(record.view.prompts)
    several = f"{number} prompts" if len(prompts) == number else f"{len(prompts):,} of {number:,} prompts"
    panel.set_title(clean(f"{record.name}: {several}"))
    panel.set_xlabel("iteration of birth")
    panel.set_ylim(max(lane.values()) + 0.8, -0.8)
    panel.set_yticks([])
    panel.grid(axis="y", visible=False)
    panel.spines["left"].set_visible(False)
    return figure


def _drawn(prompts: Sequence[PromptView], shown_id: int) -> Sequence[PromptView]:
    """Choose the prompts of a picture: all, or if they are too many, the shown one and the newest `DRAWN` ancestors of living ones."""
    if len(prompts) <= DRAWN:
        return prompts
    kept = {*sorted(ancestry(prompts))[-DRAWN:], shown_id}
    return [prompt for prompt in prompts if prompt.id in kept]


def _edges(drawn: Mapping[int, PromptView]) -> list[tuple[PromptView, PromptView, bool]]:
    """List parent, child, and whether it is the child's first parent."""
    edges = [
        (drawn[parent], prompt, number == 0)
        for prompt in drawn.values()
        for number, parent in enumerate(dict.fromkeys(prompt.parents))
        if parent in drawn
    ]
    return edges if len(edges) <= EDGES else [edge for edge in edges if edge[2]]


def _lanes(prompts: Sequence[PromptView], drawn: Sequence[PromptView]) -> dict[int, int]:
    """Lay out a tree and close the lanes in which nothing is drawn."""
    lane = lanes(prompts)
    used = {number: place for place, number in enumerate(sorted({lane[prompt.id] for prompt in drawn}))}
    return {prompt.id: used[lane[prompt.id]] for prompt in drawn}


def _draw_edge(panel: Any, parent: PromptView, child: PromptView, lane: dict[int, int], first: bool) -> None:
    """Draw a curve that starts and ends horizontally; within one lane a flat bow, so that the line of descent does not hide it."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x0, y0, x1, y1 = parent.born_step, lane[parent.id], child.born_step, lane[child.id]
    bow = 0.42 if y0 == y1 and not first else 0.0
    middle = (x0 + x1) / 2
    path = Path([(x0, y0), (middle, y0 + bow), (middle, y1 + bow), (x1, y1)], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    crossed = child.origin == "crossover"
    width = (1.3 if first else 0.8) if crossed else 1.0
    style: Any = "solid" if first else (0, (2, 2))
    panel.add_patch(
        PathPatch(path, facecolor="none", edgecolor=CROSSOVER if crossed else MUTATION, linewidth=width, linestyle=style, zorder=2)
    )
