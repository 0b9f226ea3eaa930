"""What `espl-bench attribute` found of a published run: its cells lie beside the run's record, as ``RUN_ID.attribution.json``.

Their rollouts are not stored, so unlike a run's they cannot be graded again; what can be checked is that the cells show the prompts
of the run that is published, on as many items and samples.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from espl_bench import durable
from espl_bench.attribution import FILE, Cells, Words, read_cells
from espl_bench.errors import EsplError, RunDirError
from espl_bench.results.record import SUFFIX, Result, read_result

ENDING = ".attribution.json"


def path_of(record: Path) -> Path:
    """Where the cells of a record lie, or would."""
    return record.with_name(record.name.removesuffix(SUFFIX) + ENDING)


def misfit(cells: Cells, result: Result) -> str | None:
    """Why cells cannot be those of a run; None if they can."""
    run = result.summary
    if cells.step != run.steps:
        return f"they are of step {cells.step}, the run ended at {run.steps}"
    if not (cells.has(Words.ROOT) and cells.has(Words.EVOLVED)):
        return "root and evolved prompt were not tried with both weights"
    words = {cell.words: cell.principles for cell in cells.cells}
    if words[Words.EVOLVED] != run.shown_prompt or list(words[Words.ROOT]) != result.config["root_principles"]:
        return "their prompts are not the run's"
    if any([len(row) for row in cell.sample_scores] != [run.k] * run.n_items for cell in cells.cells):
        return f"they are not of {run.n_items} items x {run.k} samples"
    return None


def publish(folders: Sequence[Path], records: Sequence[Path]) -> list[Path]:
    """Copy the cells of runs that have some beside their records; returns what changed. Raises RunDirError if one does not fit."""
    found: list[tuple[Path, bytes]] = []
    for folder, record in zip(folders, records, strict=True):
        if not (folder / FILE).exists():
            continue
        cells = read_cells(folder / FILE)
        if fault := misfit(cells, read_result(record)):
            raise RunDirError(f"{folder / FILE} does not fit to its run: {fault}; delete it and attribute the run again")
        found.append((path_of(record), cells.encoded()))
    changed = [(path, data) for path, data in found if not path.exists() or path.read_bytes() != data]
    for path, data in changed:
        durable.write_atomic(path, [data])
    return [path for path, _ in changed]


def published(study: Path, row: str) -> list[tuple[Result, Cells]]:
    """The runs of a study's row that have cells, in order of seeds. Raises RunDirError for a file that cannot be read."""
    records = [path for path in sorted(study.glob(f"*{SUFFIX}")) if path_of(path).exists()]
    found = [(read_result(path), read_cells(path_of(path))) for path in records]
    return sorted(((result, cells) for result, cells in found if result.summary.row == row), key=lambda each: each[0].summary.seed)


def faults_of(study: Path) -> Iterator[str]:
    """Everything that is wrong with a study's cells, in one line each."""
    for path in sorted(study.glob(f"*{ENDING}")):
        record = path.with_name(path.name.removesuffix(ENDING) + SUFFIX)
        if not record.exists():
            yield f"{path} belongs to no published run; remove it"
            continue
        try:
            fault = misfit(read_cells(path), read_result(record))
        except EsplError as error:
            yield str(error)
            continue
        if fault:
            yield f"{path} does not fit to its run: {fault}; remove it and add the run again"
