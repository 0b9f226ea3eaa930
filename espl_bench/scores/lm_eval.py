"""Read scores from the samples of lm-evaluation-harness: ``samples_TASK_TIME.jsonl``, as ``--log_samples`` writes them.

A line is a document under one filter. It names its metrics and holds their values as fields. The model stands in ``results_TIME.json``
beside the file, the task in the file's name. The seeds there are those of the evaluation, not of a training run, and pair nothing.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from espl_bench.data.files import read_records
from espl_bench.errors import DataError
from espl_bench.scores.score import Score, Selection, Source, choose, number
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object
from espl_bench.utils.named_files import read_named

_NAME: Final = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d{2}-\d{2}T[\d-]+(?:\.\d+)?)")
LARGEST_RESULTS: Final = 2**28
"""Most bytes of a file of results."""


def is_lm_eval(first: Mapping[str, Any]) -> bool:
    """Return whether a file's first record is a sample of the harness."""
    return "doc_id" in first and "filtered_resps" in first


def read_lm_eval(source: Source, selection: Selection) -> Iterator[Score]:
    """Yield the scores of a file of samples. Raises UsageError if several metrics or filters are there and none is named."""
    named = _NAME.fullmatch(source.path.name.removesuffix(".gz").removesuffix(".jsonl"))
    task = named["task"] if named else source.path.stem
    stated: Mapping[str, Any] = _results(source.path, named["time"]) if named else {}
    method = source.method or str(stated.get("model_name") or "") or source.path.parent.name or source.path.stem
    records = list(read_records(source.path))
    wanted = _chosen(records, source.path, selection)
    for place, record in enumerate(records, start=1):
        if record.get("filter", "none") != wanted[1]:
            continue
        if "doc_id" not in record:
            raise DataError(f"{source.path}, line {place} has no doc_id; it is no sample of lm-evaluation-harness")
        yield Score(task, method, source.run or "", str(record["doc_id"]), number(record.get(wanted[0])))


def _chosen(records: list[dict[str, Any]], path: Path, selection: Selection) -> tuple[str, str]:
    """Return the metric and the filter that are meant: ``exact_match`` or, as the harness writes it, ``exact_match,strict-match``."""
    there: dict[str, tuple[str, str]] = {}
    for record in records:
        for name in record.get("metrics") or ():
            if number(record.get(name)) is not None:
                there.setdefault(f"{name},{record.get('filter', 'none')}", (name, record.get("filter", "none")))
    if not there:
        raise DataError(f"{path} names no metric with a number for each sample; log another task, or convert it to a table")
    return choose(there, selection, path, lambda name, wanted: wanted in (name, there[name][0]))


def _results(samples: Path, time: str) -> Mapping[str, Any]:
    """Return the results that were written with the samples; empty if they are not there."""
    path = samples.with_name(f"results_{time}.json")
    if not path.is_file():
        return {}
    try:
        return parse_object(read_named(path, LARGEST_RESULTS))
    except (InvalidJsonError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it, or name the row: NAME={samples}") from error
