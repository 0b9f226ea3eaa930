"""One published run as a small JSON file: its summary, where it comes from, and the outcome of every test sample.

A run directory has tens of megabytes and stays on the machine that ran it. The file has everything needed to recompute every statistic and
to know what was run: the resolved configuration, code, packages and data, without that machine's folders.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espl_bench.config.choices import changes, choices_in, completed, without_folders
from espl_bench.errors import RunDirError, reading
from espl_bench.runs.summary import Summary, in_shape, indented
from espl_bench.types import Outcome
from espl_bench.utils import foreign_files
from espl_bench.utils.content_hash import content_sha256
from espl_bench.utils.foreign_json import parse_record
from espl_bench.utils.names import in_file_names
from espl_bench.utils.validation import FrozenRecord, first_fault

SCHEMA = "espl-bench/result/1"
SUFFIX = ".result.json"
"""Suffix of the file name of a published run."""


class ResultOrigin(FrozenRecord):
    """Origin of the numbers, as far as it matters for running it again."""

    espl_bench: str
    """Version of the package."""
    started_utc: str
    commit: str | None
    """Commit of the checkout that ran; None if the package was installed."""
    diff_sha256: str | None
    """Hash of the uncommitted changes; None if there were none."""
    python: str
    system: str
    """Operating system, without the build of its kernel."""
    packages: dict[str, str | None]
    hardware: dict[str, Any]
    model_sha256: str | None
    """Hash of weights, configuration and tokenizer together; None for a model that is only named."""
    facts: dict[str, Any]
    """Data sets, endpoints and prices."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "ResultOrigin":
        """Extract it from a run's provenance.json."""
        git: Mapping[str, Any] = provenance["git"] or {}
        model: Mapping[str, Any] = provenance["model"]["fingerprint"] or {}
        diff: str = git.get("diff") or ""
        return cls(
            espl_bench=provenance["espl_bench"],
            started_utc=provenance["started_utc"],
            commit=git.get("commit"),
            diff_sha256=hashlib.sha256(diff.encode()).hexdigest() if diff else None,
            python=provenance["python"],
            system=provenance["platform"].partition("-")[0],
            packages=provenance["packages"],
            hardware=provenance["hardware"],
            model_sha256=model.get("sha256"),
            facts=without_folders(provenance["facts"]),
        )


class RegradedResult(FrozenRecord):
    """How much of the run was graded again when it was published."""

    rollouts: int
    files: int
    test_rollouts_sha256: str
    """Hash of the file with the test's rollouts, to recognise the published one."""
    logs_sha256: dict[str, str] = Field(default_factory=dict[str, str], exclude_if=lambda hashes: not hashes)
    """Hash of each log that the summary was derived from again, by file name; empty for a version that did not derive it."""


class PublishedResult(BaseModel):
    """One published run."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["espl-bench/result/1"] = Field(default=SCHEMA, alias="schema")
    summary: Summary
    config: dict[str, Any]
    """Fully resolved. Files and folders are reduced to their names."""
    origin: ResultOrigin
    regraded: RegradedResult
    sample_outcomes: tuple[tuple[Outcome, ...], ...]
    """Outcomes of the test, items x samples, like `summary.sample_scores`."""
    content_sha256: str | None = None
    """Hash of everything else in the record; None in a record of a version that did not write it."""

    def hashed(self) -> str:
        """Compute the hash of everything else."""
        return content_sha256(self, {"content_sha256": True, "summary": {"ci95": True}})

    @property
    def file_name(self) -> str:
        """Return its file name in a study's folder."""
        return self.summary.run_id + SUFFIX

    @property
    def cell(self) -> tuple[str, str, int, int, str, int]:
        """Return the key that must be unique in a study: one seed of one row of one test."""
        run = self.summary
        return (run.environment, run.model, run.k, run.n_items, run.row, run.seed)

    def to_json(self) -> str:
        """Return the file's text: indented, with one line for the samples of an item."""
        record = self.model_dump(mode="json", by_alias=True) | {"content_sha256": self.hashed()}
        return indented(record, rows_of=("sample_scores", "sample_outcomes"))

    def faults(self) -> Iterator[str]:
        """Yield every way in which the record contradicts itself."""
        run = self.summary
        if self.content_sha256 not in (None, self.hashed()):
            yield "its hash is not that of what it says"
        shape = [len(row) for row in run.sample_scores]
        if shape != [run.k] * run.n_items or [len(row) for row in self.sample_outcomes] != shape:
            yield f"samples are not {run.n_items} items x {run.k}"
            return
        if abs(run.score - sum(run.item_scores) / run.n_items) > 1e-12:
            yield f"the score {run.score} is not the mean of its samples"
        counts = Counter(outcome.value for row in self.sample_outcomes for outcome in row)
        if run.outcomes != {name: number / (run.n_items * run.k) for name, number in counts.items()}:
            yield "the shares of outcomes are not those of its samples"
        said: dict[str, object] = {
            "env": run.env,
            "seed": run.seed,
            "engine": run.engine,
            "steps": run.steps,
            "control": run.control,
            "label": run.label,
            "eval_samples": run.k,
        }
        configured: object = self.config.get("method")
        method = cast(dict[str, Any], configured) if isinstance(configured, dict) else {}
        if run.steps == 0 or method.get("optimizer"):  # a method that learns nothing has none, and an optimizer counts its own calls
            said.pop("steps")
        if differing := [name for name, value in said.items() if self.config.get(name) != value]:
            yield f"summary and configuration differ in {', '.join(differing)}"
        if method.get("name") != run.method:
            yield "summary and configuration differ in method"
        if str(self.config.get("model")).rpartition("/")[2] != run.model.rpartition("/")[2]:
            yield "summary and configuration differ in model"
        if not run.run_id.startswith(f"{in_file_names(run.env)}-{run.method}-s{run.seed}-"):
            yield f"the id {run.run_id} is not that of seed {run.seed} of {run.method} on {run.env}"
        own = choices_in(self.config)
        if run.choices is not None and own is not None and (changed := changes(completed(run.choices), own)):
            yield f"summary and configuration differ in {', '.join(changed)}"


def read_result(path: Path) -> PublishedResult:
    """Read a published run. Raises RunDirError in one line that names the file."""
    try:
        with reading(path, "restore it from version control"):
            result = parse_record(PublishedResult, foreign_files.read_record(path))
        in_shape(result.summary)
        return result
    except (ValidationError, ValueError) as error:
        where = f": {first_fault(error) if isinstance(error, ValidationError) else error}"
        raise RunDirError(f"{path} is not a published result{where}; remove it and add the run again") from error
