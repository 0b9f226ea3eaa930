"""Publish runs: a run must be finished, its stored rollouts must re-grade to its results, and it must fit its study.

A study is a folder of published runs from which one table is made. In a study a row has each seed once, all seeds of a row have the
same configuration, and all runs of a test have the same items. `misfit` checks this for a new run, `faults_of` for a whole study.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from espl_bench.analysis import verify
from espl_bench.config.choices import changes, choices_in, without_folders
from espl_bench.config.version_1 import first_form
from espl_bench.errors import EsplError, RunDirError
from espl_bench.results import attributions
from espl_bench.runs.published import SUFFIX, PublishedResult, RegradedResult, ResultOrigin, read_result
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, RunDir
from espl_bench.types import Split
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import writing
from espl_bench.utils.foreign_json import parse_object
from espl_bench.utils.hashing import SHOWN_HASH
from espl_bench.utils.names import fault_of_name, in_file_names


@dataclass(frozen=True, slots=True)
class AddedResult:
    """Published result and its file."""

    path: Path
    result: PublishedResult


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Find the named run directories, and those directly inside a named folder. Raises RunDirError if there is none."""
    runs: list[Path] = []
    for path in paths:
        inside = [path] if foreign_files.exists(path / CONFIG) else _runs_in(path)
        if not inside:
            raise RunDirError(f"{path} holds no run; name a run directory or a folder of run directories")
        runs.extend(inside)
    return list(dict.fromkeys(runs))


def _runs_in(folder: Path) -> list[Path]:
    """List the run directories directly inside a folder. Raises RunDirError for a link there: what it leads to is to be named itself."""
    links: list[str] = []
    if not folder.is_dir():
        return []
    *_, below = foreign_files.folders_below(folder, 1, lambda path, why: links.append(f"{path}: {why}"))
    if links:
        raise RunDirError(links[0])
    return [run for run in below if foreign_files.exists(run / CONFIG)]


def examine(folder: Path, progress: verify.Progress) -> PublishedResult:
    """Re-grade all rollouts of a run and make the record to publish.

    Raises:
        RunDirError: the run is unfinished or damaged, or its rollouts disagree with its results.
        UsageError: the environment's data differ from those that the run was started on.
    """
    run = RunDir.open(folder)
    if not run.is_finished:
        raise RunDirError(f"{folder} is not finished; finish it with: espl-bench resume {folder}")
    verification = verify.verify(run, progress)
    if verification.differences:
        first = verification.differences[0]
        said = f"{first.place}, {first.what}: the run says {first.recorded}, found {first.found}"
        raise RunDirError(
            f"{folder} was changed or is damaged: {len(verification.differences)} differences, first {said}; see espl-bench verify"
        )
    summary = run.summary()
    test = run.read_rollouts(summary.steps, RolloutRow.parse, Split.TEST)
    result = PublishedResult(
        summary=summary,
        config=without_folders(to_jsonable_python(first_form(run.config()))),
        origin=_origin(folder / PROVENANCE),
        regraded=RegradedResult(
            rollouts=verification.rollouts,
            files=verification.files,
            test_rollouts_sha256=foreign_files.sha256(run.rollout_path(summary.steps, Split.TEST), folder),
            logs_sha256={
                name: foreign_files.sha256(folder / name, folder) for name in foreign_files.names(folder) if name.endswith(".jsonl")
            },
        ),
        sample_outcomes=tuple(tuple(row.outcome for row in test[start : start + summary.k]) for start in range(0, len(test), summary.k)),
    )
    if fault := next(result.faults(), None):
        raise RunDirError(f"{folder} contradicts itself: {fault}; it cannot be published")
    return result


def _origin(path: Path) -> ResultOrigin:
    try:
        return ResultOrigin.of(parse_object(foreign_files.read_record(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunDirError(f"{path} does not state the origin of the run ({error}); restore it from a copy") from error


def published(study: Path) -> list[AddedResult]:
    """List the results of a study in order of file names. Raises RunDirError naming a file that cannot be read."""
    return [AddedResult(path, read_result(path)) for path in foreign_files.files_named(study, SUFFIX)]


def readable(studies: Iterable[Path]) -> tuple[list[tuple[Path, AddedResult]], list[EsplError]]:
    """List study and result of every published run, and why others cannot be read. Raises RunDirError if none of several can be."""
    results: list[tuple[Path, AddedResult]] = []
    damaged: list[EsplError] = []
    for study in studies:
        for path in foreign_files.files_named(study, SUFFIX):
            try:
                results.append((study, AddedResult(path, read_result(path))))
            except EsplError as error:
                damaged.append(error)
    if damaged and not results:
        raise damaged[0]
    return results, damaged


def misfit(new: PublishedResult, there: Sequence[PublishedResult]) -> str | None:
    """Explain why a result does not fit a study; None if it does."""
    run = new.summary
    for old in there:
        other = old.summary
        if new.cell == old.cell:
            return f"seed {run.seed} of {run.row} on {run.environment} is already published, as {old.file_name}"
        if other.environment == run.environment and _differ(other.data_identity, run.data_identity):
            ours, theirs = _items(run.data_identity), _items(other.data_identity)
            return f"its items on {run.environment} ({ours}) differ from those of {other.run_id} ({theirs})"
        if new.cell[:-1] == old.cell[:-1] and (changed := _changes(old.config, new.config)):
            return f"seed {run.seed} of {run.row} was run with another configuration than seed {other.seed}: {', '.join(changed)}"
        if new.cell[:-1] == old.cell[:-1] and new.origin.model_sha256 != old.origin.model_sha256:
            return f"seed {run.seed} of {run.row} was run with another model of the same name than seed {other.seed}"
        if new.cell[:-1] == old.cell[:-1] and _differ(other.bound, run.bound, "templates"):
            return f"seed {run.seed} of {run.row} was run with other templates than seed {other.seed}"
    return None


def _differ(theirs: Mapping[str, str], ours: Mapping[str, str], *names: str) -> bool:
    """Return True if two records differ in these names, or in any. An empty record is of a version that did not make it."""
    if not theirs or not ours:
        return False
    return any(theirs.get(name) != ours.get(name) for name in names or {*theirs, *ours})


def _items(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{split} {hashed[:SHOWN_HASH]}" for split, hashed in sorted(identity.items())) or "none recorded"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List what differs between two configurations; of one that this version cannot read, every field but the seed."""
    ours, theirs = choices_in(new), choices_in(old)
    if ours is None or theirs is None:
        ours, theirs = ({name: value for name, value in config.items() if name != "seed"} for config in (new, old))
    return changes(theirs, ours)


def add(results: Sequence[PublishedResult], root: Path, study: str | None, replace: bool) -> list[tuple[Path, bool]]:
    """Publish results, each in the folder of its study. Returns each file and whether it is new, in the order given.

    Args:
        results: from `examine`.
        root: the folder of all studies.
        study: name of their study; None: their environment's name.
        replace: replace a seed that is already published.

    An already published run with the same samples is left unchanged. Raises RunDirError, without writing anything, if one does not fit,
    and if a file cannot be written.
    """
    for result in results:
        if fault := fault_of_name(study or in_file_names(result.summary.env)):
            raise RunDirError(f"{result.summary.run_id} cannot be published in a study of that name: {fault}; name one with --study")
    steps = [step for folder, group in _by_study(results, root, study).items() for step in _planned(group, folder, replace)]
    for step in steps:
        if step.is_new:
            with writing(step.path, "repeat the command: what is added already stays"):
                step.path.parent.mkdir(parents=True, exist_ok=True)
                atomic_io.write_atomic(step.path, [atomic_io.encode_text(step.result.to_json())])
                if step.instead_of is not None and step.instead_of != step.path:
                    foreign_files.remove(step.instead_of)
    done = {step.result.cell: (step.path, step.is_new) for step in steps}
    return [done[result.cell] for result in results]


@dataclass(frozen=True, slots=True)
class _Step:
    """Planned action for one result."""

    path: Path
    result: PublishedResult
    is_new: bool
    instead_of: Path | None = None


def _planned(results: Sequence[PublishedResult], folder: Path, replace: bool) -> Iterator[_Step]:
    there = {old.result.cell: old for old in published(folder)}
    for result in results:
        old = there.get(result.cell)
        if old and _same_run(old.result, result):
            yield _Step(old.path, result, is_new=False)
            continue
        others = [other.result for cell, other in there.items() if not (replace and cell == result.cell)]
        if fault := misfit(result, others):
            remedy = "publish it in another study with --study, or replace the other one with --replace"
            raise RunDirError(f"{result.summary.run_id} cannot be published in {folder}: {fault}; {remedy}")
        path = folder / result.file_name
        there[result.cell] = AddedResult(path, result)
        yield _Step(path, result, is_new=True, instead_of=old.path if old else None)


def _same_run(old: PublishedResult, new: PublishedResult) -> bool:
    """Compare id and samples only: a later version may record more of the configuration than the one that published it."""
    return old.summary.run_id == new.summary.run_id and old.summary.sample_scores == new.summary.sample_scores


def _by_study(results: Sequence[PublishedResult], root: Path, study: str | None) -> dict[Path, list[PublishedResult]]:
    by_study: dict[Path, list[PublishedResult]] = {}
    for result in results:
        by_study.setdefault(root / (study or in_file_names(result.summary.env)), []).append(result)
    return by_study


def studies(root: Path) -> list[Path]:
    """List the folders of published runs."""
    folders = (root / name for name in foreign_files.names(root))
    return [folder for folder in folders if foreign_files.is_folder(folder) and foreign_files.files_named(folder, SUFFIX)]


def faults_of(study: Path) -> Iterator[str]:
    """Yield each fault of a study's records, one line each."""
    sound: list[PublishedResult] = []
    for path in foreign_files.files_named(study, SUFFIX):
        try:
            result = read_result(path)
        except EsplError as error:
            yield str(error)
            continue
        yield from (f"{path} contradicts itself: {fault}; remove it and add the run again" for fault in result.faults())
        if path.name != result.file_name:
            yield f"{path} holds the run {result.summary.run_id}; rename it to {result.file_name}"
        if fault := misfit(result, sound):
            yield f"{path} does not belong here: {fault}; remove one of them"
        sound.append(result)
    yield from attributions.faults_of(study)
