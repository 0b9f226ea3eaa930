"""Write the score of a run as an entry for the hub: ``.eval_results/NAME.yaml`` in a model's repository.

The hub knows benchmarks by the id of their data set, and tasks of it. A run whose test is one published set knows both; any other has to
be told. Values are in percent. Strings are written as JSON strings, which YAML reads as they are.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import UsageError
from espl_bench.runs.run_dir import RunDir
from espl_bench.runs.summary import Summary
from espl_bench.types import Split

DEFAULT_TASK: Final = "default"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the hub calls a test."""

    dataset: str
    task: str = DEFAULT_TASK
    revision: str | None = None


def published_benchmark(summary: Summary) -> Benchmark | None:
    """Return the benchmark of a run's test if that is one data set of the hub."""
    sets = [source for split, source in find_environment(summary.env, summary.env_options).data if split is Split.TEST]
    return Benchmark(sets[0].hub_id, revision=sets[0].revision) if len(sets) == 1 and "/" in sets[0].hub_id else None


def benchmark_of(summary: Summary, dataset: str | None, task: str | None) -> Benchmark:
    """Return the named benchmark, or that of a run's test. Raises UsageError if it is not one published set and none is named."""
    if dataset is not None:
        return Benchmark(dataset, task or DEFAULT_TASK)
    if (published := published_benchmark(summary)) is None:
        raise UsageError(f"the test of '{summary.env}' is no single data set of the hub; name the benchmark with --dataset OWNER/NAME")
    return replace(published, task=task or DEFAULT_TASK)


def to_eval_results(run: RunDir, benchmark: Benchmark, source_url: str | None = None) -> str:
    """Write the entry. Raises RunDirError for a run that is unfinished."""
    summary, started = run.summary(), run.provenance.started()
    dataset: dict[str, Any] = {"id": benchmark.dataset, "task_id": benchmark.task}
    if benchmark.revision is not None:
        dataset["revision"] = benchmark.revision
    entry: dict[str, Any] = {"dataset": dataset, "value": round(100 * summary.score, 4)}
    if started is not None:
        entry["date"] = started.date().isoformat()
    if source_url is not None:
        entry["source"] = {"url": source_url, "name": "espl-bench"}
    entry["notes"] = _notes(summary)
    return "".join(_lines([entry]))


def _notes(summary: Summary) -> str:
    low, high = summary.ci95
    failed = sum(share for name, share in summary.outcomes.items() if name in ("timeout", "error"))
    told = f"{summary.row}, avg@{summary.k} over {summary.n_items} items, seed {summary.seed}"
    told += f", 95 % over items {100 * low:.1f} to {100 * high:.1f}"
    return f"{told}; {100 * failed:.1f} % of samples failed in grading" if failed else told


def _lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a YAML list of entries."""
    for entry in entries:
        for place, (name, value) in enumerate(entry.items()):
            start = "- " if place == 0 else "  "
            if isinstance(value, Mapping):
                yield f"{start}{name}:\n"
                yield from (f"    {key}: {json.dumps(each, ensure_ascii=False)}\n" for key, each in value.items())  # pyright: ignore[reportUnknownVariableType]
            else:
                yield f"{start}{name}: {json.dumps(value, ensure_ascii=False)}\n"
