"""`summary.json`: the result of a finished run, the unit of tables and comparisons."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, computed_field, field_validator, model_validator

from espl_bench.accounting.usage import LedgerTotals, Spent
from espl_bench.config.run_config import row_name
from espl_bench.errors import RunDirError, reading
from espl_bench.utils import foreign_files
from espl_bench.utils.content_hash import content_sha256
from espl_bench.utils.foreign_json import InvalidJsonError, parse_record
from espl_bench.utils.names import fault_of_environment, fault_of_line, fault_of_name
from espl_bench.utils.validation import FrozenRecord, first_fault

SCHEMA = "espl-bench/summary/2"
_NAMES_OF_FILES: Final = {"run_id": fault_of_name, "env": fault_of_environment}
"""What is wrong with a name that becomes a part of a file's, by field."""


class CurvePoint(FrozenRecord):
    """One evaluation during the run."""

    step: int
    split: Literal["validation", "test"]
    score: float
    spent: Spent


class Summary(BaseModel):
    """One run's result. Unknown keys are refused, so that a table never mixes schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["espl-bench/summary/2"] = Field(default=SCHEMA, alias="schema")
    run_id: str
    method: str
    control: str | None = None
    """Name of the control, if the run is one."""
    label: str | None = Field(default=None, exclude_if=lambda label: label is None)
    """Name of the variant, if the run has one."""
    env: str
    env_options: dict[str, Any]
    """Options of the environment that differ from its defaults; runs with different ones cannot be compared."""
    model: str
    engine: str
    editor_model: str | None = None
    """The model that wrote the reflections, if not the run's own."""
    seed: int
    steps: int
    score: float
    """Test avg@k in 0..1."""
    k: int
    n_items: int
    validation_score: float | None
    """None for an environment without a validation split."""
    outcomes: dict[str, float]
    """Share of each outcome among the test samples."""
    training_outcomes: dict[str, float] = Field(default_factory=dict)
    """The same for the training rollouts; empty for a method that makes none."""
    sample_scores: tuple[tuple[float, ...], ...]
    """Rewards of the test, items x samples, items in order, for intervals, pairs and pass@k."""
    measures: dict[str, float] = Field(default_factory=dict)
    """Further numbers of the test from the environment, e.g. ``f1``; means over samples."""
    ledger: LedgerTotals
    cost_usd: float | None = None
    """Price of the ledger's tokens at endpoints, at list prices; None if no endpoint was used, or a model has no price."""
    curve: tuple[CurvePoint, ...]
    shown_prompt: tuple[str, ...]
    """The principles of the prompt in the final test."""
    quotes: tuple[str, ...] = ()
    """Items that these principles quote, as ``G3 quotes test/17``."""
    data_identity: dict[str, str] = Field(default_factory=dict)
    """Split → hash of its items, as in provenance; empty for a version that did not hash items that an environment generates."""
    bound: dict[str, str] = Field(default_factory=dict, exclude_if=lambda bound: not bound)
    """Short hashes of the policy's model, of templates and of the environment, and the version of espl-bench; empty for a version that
    did not record them."""
    allowed_changes: tuple[str, ...] = Field(default=(), exclude_if=lambda changes: not changes)
    """What differed when the run was resumed, and was allowed to, as ``config lr 0.001 -> 0.01 after step 2``."""
    choices: dict[str, Any] | None = Field(default=None, exclude_if=lambda choices: choices is None)
    """The choices that can change the result (`config.choices`), which decide the run's row; None in a file of an earlier version."""

    @field_validator("run_id", "method", "control", "label", "env", "model", "engine", "editor_model")
    @classmethod
    def _is_name(cls, name: str | None, info: ValidationInfo) -> str | None:
        """Refuse what is not one printable line, and what cannot be the name of a file where it becomes one."""
        if name is None:
            return None
        fault = _NAMES_OF_FILES.get(info.field_name or "", fault_of_line)(name)
        if fault is not None:
            raise ValueError(f"not a name: {fault}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _without_interval(cls, record: Any) -> Any:
        """Drop the interval from the file, which another version may have computed; it is computed again."""
        return (
            {name: value for name, value in cast(dict[str, Any], record).items() if name != "ci95"} if isinstance(record, dict) else record
        )

    @computed_field
    @property
    def ci95(self) -> tuple[float, float]:
        """Return the interval over the items of this one run (`stats.mean_interval`), to six digits; it ignores other seeds."""
        from espl_bench.stats import mean_interval

        low, high = mean_interval([self.item_scores])
        return round(low, 6), round(high, 6)

    @property
    def content_sha256(self) -> str:
        """Return the hash of what the summary says, without the interval, which follows from the rest."""
        return content_sha256(self, {"ci95": True})

    @property
    def row(self) -> str:
        """Name the method, with its control and its label if it has any. Configurations of it are rows of their own in a table."""
        return row_name(self.method, self.control, self.label)

    @property
    def environment(self) -> str:
        """Return the environment with its options, as in ``rulebook(world=3)``: only runs with the same one compare."""
        return environment_name(self.env, self.env_options)

    @property
    def item_scores(self) -> tuple[float, ...]:
        """Return the mean reward of each test item."""
        return tuple(sum(row) / len(row) for row in self.sample_scores)

    def to_json(self) -> str:
        """Return the file's text: indented, with one line for the samples of an item."""
        return indented(self.model_dump(mode="json", by_alias=True), rows_of=("sample_scores",))


def environment_name(env: str, options: Mapping[str, Any]) -> str:
    """Name an environment with its options."""
    listed = ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
    return f"{env}({listed})" if listed else env


def indented(record: Mapping[str, Any], rows_of: Sequence[str]) -> str:
    """Encode JSON with an indent of two, with one line for each row of the named tables (lists of lists).

    The tables are inserted in place of their empty lists. Quotation marks in strings are escaped, so no text can look like such a list.
    """
    tables: dict[str, Any] = {}

    def emptied(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        items = cast(dict[str, Any], value).items()
        tables.update((name, item) for name, item in items if name in rows_of)
        return {name: list[Any]() if name in rows_of else emptied(item) for name, item in items}

    text = json.dumps(emptied(record), indent=2, ensure_ascii=False)
    for name, table in tables.items():
        rows = [json.dumps(row, ensure_ascii=False) for row in table]
        text = re.sub(rf'^( *)"{name}": \[\]', lambda match, rows=rows: _table(match, rows), text, count=1, flags=re.MULTILINE)
    return text + "\n"


def _table(match: re.Match[str], rows: Sequence[str]) -> str:
    indent = match[1]
    listed = f",\n{indent}  ".join(rows)
    return f"{match[0][:-1]}\n{indent}  {listed}\n{indent}]"


class MisshapenError(ValueError):
    """The samples of a summary are not those that it names."""


def in_shape(summary: Summary) -> Summary:
    """Return the summary. Raises MisshapenError unless it has a score for each of its samples, and at least one."""
    shape = [len(row) for row in summary.sample_scores]
    if not shape or not summary.k or shape != [summary.k] * summary.n_items:
        raise MisshapenError(f"sample_scores: they are not {summary.n_items} items x {summary.k}")
    return summary


def read_summary(path: Path) -> Summary:
    """Read a summary file. Raises RunDirError in one line that names the file."""
    try:
        with reading(path, "a run writes it when it ends: resume the run first"):
            return in_shape(parse_record(Summary, foreign_files.read_record(path)))
    except (InvalidJsonError, MisshapenError) as error:
        raise RunDirError(f"{path} is not a summary: {error}; remove it and resume the run to write it again") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema",) and first["type"] == "literal_error":
            mismatch = f"its schema is '{first['input']}', not '{SCHEMA}'"
            raise RunDirError(f"{path} is not a summary of this version: {mismatch}; run it again with this version") from error
        raise RunDirError(f"{path} is not a summary: {first_fault(error)}; remove it and resume the run to write it again") from error
