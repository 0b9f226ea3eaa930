"""Style of all pictures: colours and dashes that colour-blind readers and grey prints can tell apart, sizes, and saving.

The same runs give the same SVG to the byte: no date, no random ids.
"""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from espl_bench.errors import UsageError

MISSING = "pictures need matplotlib; install it with: pip install 'espl-bench[report]'"
DPI = 200
WIDTH = 6.8
"""Inches: the text width of a two-column page."""
GREY = "#6d747c"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9")
"""After Okabe and Ito (2008)."""
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1.4)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
OUTCOME_COLOURS = {
    "correct": "#009e73", "wrong": "#d55e00", "no_answer": "#e6c229", "truncated": "#56b4e9", "timeout": "#aa4499", "error": "#222222",
}  # fmt: skip
OUTCOME_HATCHES = {"correct": "", "wrong": "///", "no_answer": "...", "truncated": "xx", "timeout": "++", "error": "**"}
"""Keep shares distinguishable without colour."""
SETTINGS = {
    "font.size": 8.5,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#59626d",
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e5e0",
    "grid.linewidth": 0.6,
    "xtick.color": "#3a4149",
    "ytick.color": "#3a4149",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "espl-bench",
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
    "text.usetex": False,
    "text.parse_math": False,
    "path.simplify": False,
}
"""Text stays text in the SVG, and dollar signs in a name do not start a formula."""


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, dash and marker of one method."""

    colour: str
    dash: Any
    marker: str


def styles(labels: Collection[str], reference: str) -> dict[str, Style]:
    """Assign a style to each label: grey to the reference, the others in order of their names."""
    others = sorted(label for label in labels if label != reference)
    return {**{label: style_at(index) for index, label in enumerate(others)}, reference: Style(GREY, (0, (2, 1.5)), "x")}


def style_at(index: int) -> Style:
    """Return the style of a place. Of thirty-six no two are the same: when the colours begin again, dashes and markers have moved on."""
    turn = index // len(PALETTE)
    return Style(PALETTE[index % len(PALETTE)], DASHES[(index + turn) % len(DASHES)], MARKERS[(index + 2 * turn) % len(MARKERS)])


@contextmanager
def drawing() -> Generator[None]:
    """Apply the project's style and draw without a screen. Raises UsageError if matplotlib is not installed."""
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError as error:
        raise UsageError(MISSING) from error
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS, "backend": "agg"}):
        yield


def panels(number: int, height: float = 2.6, columns: int = 2, **options: Any) -> tuple[Any, list[Any]]:
    """Make a figure with that many axes, in rows of `columns`; each is `height` inches high.

    matplotlib's types are too loose for better annotations.
    """
    from matplotlib.figure import Figure

    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else WIDTH * 0.72, height * rows))
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for spare in axes[number:]:
        spare.remove()
    return figure, axes[:number]


def legend_below(figure: Any, axes: Any) -> None:
    """Add one legend below all panels, in as many columns as fit."""
    columns = 5 if figure.get_figwidth() >= WIDTH else 3
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)), handlelength=2.8)


def save(figure: Any, stem: Path) -> list[Path]:
    """Write ``stem.png`` and ``stem.svg``; returns both. Raises OSError."""
    made = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")]
    figure.savefig(made[0], dpi=DPI, metadata={"Software": None})
    figure.savefig(made[1], metadata={"Date": None, "Creator": None})
    return made
