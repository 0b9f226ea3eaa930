"""Attributions of published runs: the cells of `espl-bench attribute`, stored next to a record as ``RUN_ID.attribution.json``.

Their rollouts are not stored, so unlike a run's they cannot be re-graded. The checks cover the rest: the cells use the
prompts of the published run, on the same number of items and samples.
"""

from collections.abc import Iterator
from pathlib import Path

from espl_bench.analysis.attribution import FILE, Cells, PromptChoice, read_cells
from espl_bench.errors import EsplError, RunDirError
from espl_bench.runs.published import SUFFIX, PublishedResult, read_result
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import writing
from espl_bench.utils.foreign_files import files_named

ENDING = ".attribution.json"


def path_of(record: Path) -> Path:
    """Return the file for the cells of a record."""
    return record.with_name(record.name.removesuffix(SUFFIX) + ENDING)


def misfit(cells: Cells, result: PublishedResult) -> str | None:
    """Explain why cells do not belong to a run; None if they do."""
    run = result.summary
    if cells.step != run.steps:
        return f"they are of step {cells.step}, but the run ended at {run.steps}"
    if not (cells.has(PromptChoice.ROOT) and cells.has(PromptChoice.EVOLVED)):
        return "root and evolved prompt were not tried with both weights"
    words = {cell.words: cell.principles for cell in cells.cells}
    if words[PromptChoice.EVOLVED] != run.shown_prompt or list(words[PromptChoice.ROOT]) != result.config["root_principles"]:
        return "their prompts are not the run's"
    if any([len(row) for row in cell.sample_scores] != [run.k] * run.n_items for cell in cells.cells):
        return f"they are not of {run.n_items} items x {run.k} samples"
    return None


def examine(folder: Path, result: PublishedResult) -> Cells | None:
    """Read the cells of a run to publish; None if it was not attributed. Raises RunDirError if they do not belong to the run."""
    if not foreign_files.exists(folder / FILE):
        return None
    cells = read_cells(folder / FILE)
    if fault := misfit(cells, result):
        raise RunDirError(f"{folder / FILE} does not belong to its run: {fault}; delete it and attribute the run again")
    return cells


def publish(cells: Cells | None, record: Path) -> list[Path]:
    """Write cells next to their record; returns the file if it changed. Raises RunDirError if it cannot be written."""
    path = path_of(record)
    if cells is None or (foreign_files.exists(path) and foreign_files.read_record(path) == cells.encoded()):
        return []
    with writing(path, "repeat the command"):
        atomic_io.write_atomic(path, [cells.encoded()])
    return [path]


def published(study: Path, row: str) -> list[tuple[PublishedResult, Cells]]:
    """List the runs of a study's row that have cells, in order of seeds. Raises RunDirError for a file that cannot be read."""
    records = [path for path in files_named(study, SUFFIX) if foreign_files.exists(path_of(path))]
    pairs = [(read_result(path), read_cells(path_of(path))) for path in records]
    return sorted(((result, cells) for result, cells in pairs if result.summary.row == row), key=lambda pair: pair[0].summary.seed)


def faults_of(study: Path) -> Iterator[str]:
    """Yield each fault of a study's cells, one line each."""
    for path in files_named(study, ENDING):
        record = path.with_name(path.name.removesuffix(ENDING) + SUFFIX)
        if not foreign_files.exists(record):
            yield f"{path} does not belong to a published run; remove it"
            continue
        try:
            fault = misfit(read_cells(path), read_result(record))
        except EsplError as error:
            yield str(error)
            continue
        if fault:
            yield f"{path} does not belong to its run: {fault}; remove it and add the run again"
