"""`report` and `view`: show runs as a page to explore."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from espl_bench.analysis.study import gather
from espl_bench.cli.console import err_console, out_console, write_json
from espl_bench.errors import UsageError
from espl_bench.report import page_writer
from espl_bench.report.live_server import HOST, Viewer, WatchedRun
from espl_bench.utils import atomic_io
from espl_bench.utils.formatting import plain


def write_report(paths: Sequence[Path], out: Path, max_mib: float, title: str | None, quiet: bool, as_json: bool) -> None:
    """Read the runs, build the page and write it atomically. Raises UsageError or RunDirError."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the page, e.g. --out {out / 'report.html'}")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} is not a file; name the page, e.g. --out report.html")
    study = gather(paths)
    with _progress(quiet) as progress:
        made = page_writer.build(study, title or _named(paths), int(max_mib * page_writer.MIB), progress)
    study = made.study
    for line in study.unreadable:
        err_console().print(plain(f"! left out: {line}", "yellow"), soft_wrap=True)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_io.write_atomic(out, [made.page])
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}); choose another --out") from error
    size = len(made.page) / page_writer.MIB
    if as_json:
        record = {
            "report": str(out),
            "bytes": len(made.page),
            "runs": len(study.records),
            "rollouts": made.kept,
            "stored_rollouts": made.stored,
        }
        write_json(json.dumps(record, indent=2) + "\n")
        return
    sampled = "" if made.kept == made.stored else f" of {made.stored:,} (the others do not fit; see --max-mib)"
    out_console().print(plain(f"{out}: {size:.1f} MiB, {len(study.records)} runs, {made.kept:,} rollouts{sampled}"), soft_wrap=True)


def serve(paths: Sequence[Path], port: int, title: str | None) -> None:
    """Serve until Ctrl-C; the runs may begin later. Raises UsageError if the port is taken, RunDirError if none of the runs can be read."""
    watched = WatchedRun(paths, title or _named(paths))
    try:
        viewer = Viewer(watched, port)
    except OSError as error:
        raise UsageError(f"{HOST}:{port} cannot be used ({error.strerror}); choose another --port") from error
    with viewer:
        out_console().print(plain(f"{viewer.url} (Ctrl-C stops it)"), soft_wrap=True)
        if watched.waits:
            err_console().print(
                plain(f"! no run yet in {', '.join(map(str, paths))}; the page shows it when it begins", "yellow"), soft_wrap=True
            )
        viewer.serve_forever()


def _named(paths: Sequence[Path]) -> str:
    names = [path.resolve().name for path in paths]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


@contextmanager
def _progress(quiet: bool) -> Generator[page_writer.Progress]:
    """Show a progress bar on stderr if it is a terminal and `quiet` is off."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("reading rollouts"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("runs"))
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("reading rollouts", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
