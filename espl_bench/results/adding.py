"""What may be published: a finished run whose stored rollouts, graded again, say what it says, and that fits to what is there.

A study is a folder of published runs that one table is made of. In a study a row has each seed once, all seeds of a row were run with the
same configuration, and all runs of a test met the same items. `fitting` says so for a new run, `faults_of` for a whole study.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from espl_bench.analysis import verify
from espl_bench.config.first_form import first_form
from espl_bench.errors import EsplError, RunDirError
from espl_bench.results import attributions
from espl_bench.runs.published import SUFFIX, PublishedResult, RegradedResult, ResultOrigin, read_result, without_folders
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, SUMMARY, RunDir
from espl_bench.types import Split
from espl_bench.utils import atomic_io
from espl_bench.utils.hashing import SHOWN_HASH


@dataclass(frozen=True, slots=True)
class AddedResult:
    """A result and where it lies."""

    path: Path
    result: PublishedResult


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Run directories: those named, and those directly inside a folder that is named. Raises RunDirError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = [path] if (path / CONFIG).exists() else sorted(file.parent for file in path.glob(f"*/{CONFIG}"))
        if not inside:
            raise RunDirError(f"{path} holds no run; name a run directory or a folder of run directories")
        found.extend(inside)
    return list(dict.fromkeys(found))


def examine(folder: Path, progress: verify.Progress) -> PublishedResult:
    """What a run would be published as, after grading all of its rollouts again.

    Raises:
        RunDirError: the run is unfinished, damaged, or its rollouts say something else.
        UsageError: the environment has other data here than the run was started on.
    """
    run = RunDir.open(folder)
    if not (folder / SUMMARY).exists():
        raise RunDirError(f"{folder} is not finished; bring it to its end with: espl-bench resume {folder}")
    found = verify.verify(run, progress)
    if found.differences:
        first = found.differences[0]
        said = f"{first.place}, {first.what}: the run says {first.recorded}, found {first.found}"
        raise RunDirError(f"{folder} was changed or is damaged: {len(found.differences)} differences, first {said}; see espl-bench verify")
    summary = run.summary()
    test = run.read_rollouts(summary.steps, RolloutRow.parse, Split.TEST)
    result = PublishedResult(
        summary=summary,
        config=without_folders(to_jsonable_python(first_form(run.config()))),
        origin=_origin(folder / PROVENANCE),
        regraded=RegradedResult(
            rollouts=found.rollouts,
            files=found.files,
            test_rollouts_sha256=atomic_io.sha256(run.rollout_path(summary.steps, Split.TEST)),
        ),
        sample_outcomes=tuple(tuple(row.outcome for row in test[start : start + summary.k]) for start in range(0, len(test), summary.k)),
    )
    if fault := next(result.faults(), None):
        raise RunDirError(f"{folder} contradicts itself: {fault}; it cannot be published")
    return result


def _origin(path: Path) -> ResultOrigin:
    try:
        return ResultOrigin.of(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirError(f"{path} does not say where the run comes from ({error}); restore it from a copy") from error


def published(study: Path) -> list[AddedResult]:
    """What a study holds, in order of file names. Raises RunDirError naming a file that cannot be read."""
    return [AddedResult(path, read_result(path)) for path in sorted(study.glob(f"*{SUFFIX}"))]


def misfit(new: PublishedResult, there: Sequence[PublishedResult]) -> str | None:
    """Why a result cannot stand beside others in a study; None if it can."""
    run = new.summary
    for old in there:
        other = old.summary
        if new.cell == old.cell:
            return f"seed {run.seed} of {run.row} on {run.environment} is published already, as {old.file_name}"
        if other.environment == run.environment and (theirs := _items(other.data_identity)) != (ours := _items(run.data_identity)):
            return f"its items on {run.environment} are others ({ours}) than those of {other.run_id} ({theirs})"
        if new.cell[:-1] == old.cell[:-1] and (changed := changes(old.config, new.config)):
            return f"seed {run.seed} of {run.row} was run with another configuration than seed {other.seed}: {', '.join(changed)}"
        if new.cell[:-1] == old.cell[:-1] and new.origin.model_sha256 != old.origin.model_sha256:
            return f"seed {run.seed} of {run.row} was run with another model than seed {other.seed}, though of the same name"
    return None


def _items(identity: Mapping[str, str]) -> str:
    return ", ".join(f"{split} {hashed[:SHOWN_HASH]}" for split, hashed in sorted(identity.items())) or "none recorded"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Fields that two configurations of one row do not share, ``name old -> new``; the seed and how endpoints are asked do not count."""
    names = dict.fromkeys([*old, *new])
    free = ("seed", "concurrency", "request_timeout", "request_tries", "checkpoint_every")
    return [f"{name} {old.get(name)!r} -> {new.get(name)!r}" for name in names if name not in free and old.get(name) != new.get(name)]


def add(results: Sequence[PublishedResult], root: Path, study: str | None, replace: bool) -> list[tuple[Path, bool]]:
    """Publish results, each in the folder of its study; says where each lies and whether it is new, in the order given.

    Args:
        results: from `examine`.
        root: the folder of all studies.
        study: whose folder they go to; None: their environment's.
        replace: a seed that is published already makes place for the new run.

    A run that is published already, with the same samples, stays as it is. Raises RunDirError, having written nothing, if one does not fit.
    """
    steps = [step for folder, group in _by_study(results, root, study).items() for step in _planned(group, folder, replace)]
    for step in steps:
        if step.is_new:
            step.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_io.write_atomic(step.path, [atomic_io.encode_text(step.result.to_json())])
            if step.instead_of is not None and step.instead_of != step.path:
                step.instead_of.unlink()
    done = {step.result.cell: (step.path, step.is_new) for step in steps}
    return [done[result.cell] for result in results]


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done with one result."""

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
        others = [each.result for cell, each in there.items() if not (replace and cell == result.cell)]
        if fault := misfit(result, others):
            remedy = "publish it under another name with --study, or put it in the other's place with --replace"
            raise RunDirError(f"{result.summary.run_id} cannot be published in {folder}: {fault}; {remedy}")
        path = folder / result.file_name
        there[result.cell] = AddedResult(path, result)
        yield _Step(path, result, is_new=True, instead_of=old.path if old else None)


def _same_run(old: PublishedResult, new: PublishedResult) -> bool:
    """By id and samples; a later version may name more of the configuration than the one that published it."""
    return old.summary.run_id == new.summary.run_id and old.summary.sample_scores == new.summary.sample_scores


def _by_study(results: Sequence[PublishedResult], root: Path, study: str | None) -> dict[Path, list[PublishedResult]]:
    found: dict[Path, list[PublishedResult]] = {}
    for result in results:
        found.setdefault(root / (study or result.summary.env), []).append(result)
    return found


def studies(root: Path) -> list[Path]:
    """Folders of published runs."""
    return sorted({path.parent for path in root.glob(f"*/*{SUFFIX}")})


def faults_of(study: Path) -> Iterator[str]:
    """Everything that is wrong with a study's records, in one line each."""
    sound: list[PublishedResult] = []
    for path in sorted(study.glob(f"*{SUFFIX}")):
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
