"""`plot`: draw pictures of runs, as PNG and SVG."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from espl_bench.analysis.study import gather
from espl_bench.cli.console import err_console, out_console
from espl_bench.errors import UsageError, unknown
from espl_bench.leaderboard.learning_curves import CURVE_SPLITS, Axis, CurveSplit
from espl_bench.plots.kinds import KINDS, PlotChoices
from espl_bench.plots.style import drawing, save
from espl_bench.utils.formatting import plain


def choose_kinds(wanted: str | None) -> list[str]:
    """Parse ``--kinds``; all kinds if none is named. Raises UsageError."""
    named = [name.strip() for name in wanted.split(",")] if wanted else list(KINDS)
    for name in named:
        if name not in KINDS:
            raise unknown("kind of picture", name, KINDS)
    return list(dict.fromkeys(named))


def choose_axis(wanted: str) -> Axis:
    """Parse ``--x``. Raises UsageError."""
    if wanted not in list(Axis):
        raise unknown("axis", wanted, list(Axis))
    return Axis(wanted)


def choose_split(wanted: str) -> CurveSplit:
    """Parse ``--split``. Raises UsageError."""
    if wanted not in CURVE_SPLITS:
        raise unknown("split", wanted, CURVE_SPLITS)
    return wanted


def draw(paths: Sequence[Path], out: Path, kinds: Sequence[str], axis: Axis, split: CurveSplit, quiet: bool, as_json: bool) -> None:
    """Draw the kinds that have data, and name those that do not. Raises UsageError or RunDirError."""
    study = gather(paths)
    for line in study.unreadable:
        err_console().print(plain(f"! left out: {line}", "yellow"), soft_wrap=True)
    made: list[Path] = []
    lacking: dict[str, str] = {}
    with drawing():
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name in kinds:
                before = len(made)
                for stem, figure in KINDS[name].draw(study, PlotChoices(axis, split)):
                    made.extend(save(figure, out / stem))
                if len(made) == before:
                    lacking[name] = KINDS[name].needs
        except OSError as error:
            raise UsageError(f"{out} cannot be written ({error.strerror}); choose another --out") from error
    if as_json:
        sys.stdout.write(json.dumps({"pictures": [str(path) for path in made], "lacking": lacking}, indent=2) + "\n")
    else:
        for path in made:
            out_console().print(plain(str(path)), soft_wrap=True)
    if not quiet:
        for name, needs in lacking.items():
            err_console().print(plain(f"! no picture of {name}: it needs {needs}", "yellow"), soft_wrap=True)
    if not made:
        raise UsageError(f"nothing to draw under {paths[0]}: {'; '.join(f'{name} needs {needs}' for name, needs in lacking.items())}")
