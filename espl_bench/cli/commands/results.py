"""`results add`, `results list` and `results check`: manage published runs."""

import json
from collections.abc import Sequence
from pathlib import Path

from espl_bench.cli.commands.verify import grading_progress
from espl_bench.cli.console import err_console, out_console, plain_table, write_json
from espl_bench.errors import EsplError, RunDirError, UsageError
from espl_bench.results import adding, attributions, generated
from espl_bench.results.adding import AddedResult
from espl_bench.runs.published import PublishedResult
from espl_bench.utils.formatting import percent, plain


def add(runs: Sequence[Path], study: str | None, replace: bool, root: Path, quiet: bool, as_json: bool) -> None:
    """Publish all runs or none, and regenerate the generated files. Raises EsplError."""
    if study is not None and (Path(study).name != study or study.startswith(".")):
        raise UsageError(f"--study takes the name of one folder inside {root}, not '{study}'")
    folders = adding.find_runs(runs)
    examined = _examined(folders, quiet)
    cells = [attributions.examine(folder, result) for folder, result in zip(folders, examined, strict=True)]
    added = adding.add(examined, root, study, replace)
    changed = [
        file for run_cells, (path, _) in zip(cells, added, strict=True) for file in attributions.publish(run_cells, path)
    ] + generated.write(root)
    if as_json:
        record = {
            "added": [str(path) for path, is_new in added if is_new],
            "there_already": [str(path) for path, is_new in added if not is_new],
            "written": [str(path) for path in changed],
        }
        write_json(json.dumps(record, indent=2) + "\n")
        return
    for path, is_new in added:
        out_console().print(plain(f"{'added' if is_new else 'already there'}: {path}"), soft_wrap=True)
    for path in changed:
        out_console().print(plain(f"written: {path}", "dim"), soft_wrap=True)


def _examined(folders: Sequence[Path], quiet: bool) -> list[PublishedResult]:
    """Re-grade every run. If some are refused, print all reasons before the last one ends the command."""
    results: list[PublishedResult] = []
    refused: list[str] = []
    for folder in folders:
        try:
            with grading_progress(quiet, f"{folder.name}: grading again") as progress:
                results.append(adding.examine(folder, progress))
        except EsplError as error:
            refused.append(str(error))
    for reason in refused[:-1]:
        err_console().print(plain(reason), soft_wrap=True)
    if refused:
        raise RunDirError(f"{refused[-1]}; {len(refused)} of {len(folders)} runs were refused, and nothing was published")
    return results


def show(root: Path, as_json: bool) -> None:
    """Print every published run; a damaged record is one line and is left out. Raises RunDirError if none can be read."""
    results, damaged = adding.readable(adding.studies(root))
    for reason in damaged:
        err_console().print(plain(f"! left out: {reason}", "yellow"), soft_wrap=True)
    labels = generated.labels_of([added for _, added in results])
    if as_json:
        listed = [_record(study, added, label) for (study, added), label in zip(results, labels, strict=True)]
        write_json(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
        return
    if not results:
        out_console().print(plain(f"nothing is published in {root}; add a run with: espl-bench results add RUN"), soft_wrap=True)
        return
    table = plain_table(gap=2)
    for heading in ("study", "row", "seed", "environment", "model", "score", "code", "graded again"):
        table.add_column(heading, justify="right" if heading in ("seed", "score", "graded again") else "left")
    for (study, added), label in zip(results, labels, strict=True):
        run, origin = added.result.summary, added.result.origin
        code = (origin.commit or origin.espl_bench)[:12] + ("" if origin.diff_sha256 is None else " +")
        cells = (
            study.name,
            label,
            str(run.seed),
            run.environment,
            run.model,
            percent(run.score),
            code,
            f"{added.result.regraded.rollouts:,}",
        )
        table.add_row(*map(plain, cells))
    out_console().print(table)


def _record(study: Path, added: AddedResult, label: str) -> dict[str, object]:
    run = added.result.summary
    return {
        "study": study.name,
        "file": str(added.path),
        "run_id": run.run_id,
        "row": label,
        "seed": run.seed,
        "environment": run.environment,
        "model": run.model,
        "score": run.score,
        "commit": added.result.origin.commit,
        "rollouts_graded_again": added.result.regraded.rollouts,
    }


def check(root: Path, write: bool, as_json: bool) -> int:
    """Print every fault; return 0 if there is none, else 1. With `write`, first regenerate the files if the records are valid."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder of results; name one with --results")
    studies = adding.studies(root)
    faults = [fault for study in studies for fault in adding.faults_of(study)]
    if not faults:
        for path in generated.write(root) if write else ():
            err_console().print(plain(f"written: {path}", "dim"), soft_wrap=True)
        faults = list(generated.stale(root))
    number = sum(len(adding.published(study)) for study in studies) if not faults else 0
    if as_json:
        write_json(json.dumps({"sound": not faults, "results": number, "faults": faults}, indent=2, ensure_ascii=False) + "\n")
    elif faults:
        for fault in faults:
            out_console().print(plain(fault), soft_wrap=True)
    else:
        out_console().print(
            plain(f"{root}: {number} results in {len(studies)} studies are valid; generated files are up to date"), soft_wrap=True
        )
    return 1 if faults else 0
