"""`table`: compare finished runs."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from espl_bench.cli.console import err_console, out_console, write, write_json
from espl_bench.errors import RunDirError, UsageError, unknown
from espl_bench.leaderboard import markup, paper
from espl_bench.leaderboard.board import NOT_MEASURED, build_board
from espl_bench.leaderboard.collect import FoundRun, collect
from espl_bench.leaderboard.layout import Sheet
from espl_bench.leaderboard.match import MatchAxis
from espl_bench.leaderboard.measured import choose_columns
from espl_bench.leaderboard.render import Format, sheets_to_screen, to_screen, to_text
from espl_bench.runs.measures_file import Measures, read_measures
from espl_bench.runs.run_dir import SUMMARY
from espl_bench.runs.summary import read_summary
from espl_bench.utils.formatting import plain

PUBLISHED = Path("results")
"""Folder that a table is made from by default."""


def choose_format(wanted: str | None, as_json: bool, markdown: bool) -> Format:
    """Parse ``--format`` and its short forms ``--json`` and ``--markdown``. Raises UsageError for an unknown format or several."""
    chosen = [*([_format(wanted)] if wanted else []), *([Format.JSON] if as_json else []), *([Format.MARKDOWN] if markdown else [])]
    if len(chosen) > 1:
        raise UsageError("--format, --json and --markdown each choose a format; use only one")
    return chosen[0] if chosen else Format.SCREEN


def choose_budget(wanted: str | None) -> MatchAxis | None:
    """Parse ``--match``. Raises UsageError for an unknown budget."""
    if wanted is None:
        return None
    if wanted not in list(MatchAxis):
        raise unknown("budget", wanted, list(MatchAxis))
    return MatchAxis(wanted)


def choose_paths(given: Sequence[Path] | None, paper_too: bool) -> list[Path]:
    """Return the named paths, or the published results by default. The paper's table also works without any. Raises UsageError."""
    if given:
        return list(given)
    if PUBLISHED.is_dir():
        return [PUBLISHED]
    if paper_too:
        return []
    raise UsageError("name runs, summary files or folders of runs; there is no results/ here to use by default")


def _format(wanted: str) -> Format:
    if wanted not in list(Format):
        raise unknown("format", wanted, list(Format))
    return Format(wanted)


def choose_measures(wanted: str | None) -> tuple[str, ...]:
    """Parse ``--measures``. Raises UsageError for an unknown one."""
    return choose_columns(wanted) if wanted else ()


def print_table(
    paths: Sequence[Path], against: str | None, budget: MatchAxis | None, wanted: Format, curves: bool, columns: Sequence[str] = ()
) -> None:
    """Find the runs, compute the table and print it. Raises UsageError or RunDirError."""
    runs = collect(paths)
    _tell_unfinished(runs)
    if not runs.entries:
        raise RunDirError(f"no finished run; continue with: espl-bench resume {shlex.quote(str(runs.unfinished[0]))}")
    board = build_board(runs.entries, against, budget, columns, measures_of(runs) if columns else NOT_MEASURED)
    for matched in board.matched:
        for run in matched.left_out:
            missing = f"{runs.places[run]} has no {matched.split} scores from training"
            err_console().print(plain(f"! left out of the scores at equal {matched.budget.value}: {missing}", "yellow"), soft_wrap=True)
    if wanted is Format.SCREEN:
        console = out_console()
        console.print(to_screen(board, console.width, curves))
    else:
        write(to_text(board, wanted, curves))


def measures_of(runs: FoundRun) -> dict[str, Measures]:
    """Read the measures of the runs that have any, by run id; a file that cannot be used is told and left out."""
    found: dict[str, Measures] = {}
    for entry in runs.entries:
        folder = runs.places[entry.summary.run_id]
        if not folder.is_dir():
            continue
        try:
            measures = read_measures(folder, read_summary(folder / SUMMARY))
        except RunDirError as error:
            err_console().print(plain(f"! left out of the measures: {error}", "yellow"), soft_wrap=True)
            continue
        if measures is not None:
            found[entry.summary.run_id] = measures
    if not found:
        raise RunDirError("none of these runs was measured; measure them first: espl-bench measure RUN…")
    return found


def print_paper(paths: Sequence[Path], wanted: Format) -> None:
    """Print the paper's comparison next to these runs. Raises RunDirError."""
    runs = collect(paths) if paths else FoundRun((), ())
    _tell_unfinished(runs)
    compared = paper.compare_with_paper(paper.read_paper(paper.reported_file()), runs.entries)
    print_sheets(wanted, paper.paper_sheets(compared), paper.LEGEND, lambda: paper.to_csv(compared), lambda: paper.to_json(compared))


def print_sheets(wanted: Format, sheets: Sequence[Sheet], legend: str, to_csv: Callable[[], str], to_json: Callable[[], str]) -> None:
    """Print laid-out tables in one of the formats; the two for machines are made from what the sheets were."""
    match wanted:
        case Format.SCREEN:
            console = out_console()
            console.print(sheets_to_screen(sheets, console.width, legend))
        case Format.MARKDOWN:
            write(markup.to_markdown(sheets, legend))
        case Format.LATEX:
            write(markup.to_latex(sheets, legend))
        case Format.HTML:
            write(markup.to_html(sheets, legend))
        case Format.CSV:
            write(to_csv())
        case Format.JSON:
            write_json(to_json())


def _tell_unfinished(runs: FoundRun) -> None:
    """Name the unfinished and the damaged runs on stderr, so that the table is not taken for complete."""
    console = err_console()
    for line in runs.unreadable:
        console.print(plain(f"! left out: {line}", "yellow"), soft_wrap=True)
    for folder in runs.unfinished:
        console.print(plain(f"! not finished, so not in the table: {folder}", "yellow"), soft_wrap=True)
