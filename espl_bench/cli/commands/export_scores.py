"""`export-scores`: write the scores of a run in formats of others."""

from enum import StrEnum
from pathlib import Path

from espl_bench.cli.console import out_console, write
from espl_bench.errors import UsageError, unknown
from espl_bench.runs.run_dir import RunDir
from espl_bench.scores.export_hub import benchmark_of, to_eval_results
from espl_bench.scores.export_inspect import to_inspect
from espl_bench.utils import atomic_io
from espl_bench.utils.formatting import plain


class Target(StrEnum):
    """A format."""

    INSPECT = "inspect"
    EVAL_RESULTS = "eval-results"


def export(folder: Path, target: str, out: Path | None, dataset: str | None, task: str | None, source_url: str | None) -> None:
    """Write the scores to a file, or to standard output. Raises EsplError."""
    if target not in list(Target):
        raise unknown("format", target, list(Target))
    if target == Target.INSPECT and (dataset or task or source_url):
        raise UsageError("--dataset, --task and --source belong to --to eval-results; leave them out")
    run = RunDir.open(folder)
    text = to_inspect(run) if target == Target.INSPECT else to_eval_results(run, benchmark_of(run.summary(), dataset, task), source_url)
    if out is None:
        write(text)
        return
    if out.exists():
        raise UsageError(f"{out} is there already; choose another with --out, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_io.write_atomic(out, [text.encode("utf-8")])
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror or error}); choose another with --out") from error
    out_console().print(plain(str(out)), soft_wrap=True)
