"""What a summary says and what it follows from: the run writes its summary from here, and `verify` derives the same again.

A summary travels alone, into tables and published records. So nothing in it is taken on trust: its names and settings follow from
the run's configuration, its numbers and its prompt from the run's logs, and what no log holds (seconds, the evaluations' tokens, prices) is
bound by the hash of the whole that provenance keeps.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from espl_bench.accounting.usage import Spent
from espl_bench.config.choices import choices_of
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.config.version_1 import first_form
from espl_bench.runs.binding import EDITORS, Binding, What
from espl_bench.runs.log_rows import EvaluationRow, LearningCost
from espl_bench.runs.population_events import BornEvent, PopulationEvent
from espl_bench.utils.names import in_file_names


def run_id(config: RunConfig) -> str:
    """Name a configuration: method, environment, seed, and eight digits of its hash."""
    digest = hashlib.sha256(to_json(first_form(config))).hexdigest()[:8]
    return f"{in_file_names(config.env)}-{config.method.name}-s{config.seed}-{digest}"


def names_and_settings(config: RunConfig, binding: Binding) -> dict[str, Any]:
    """Return the fields of a summary that follow from the configuration, and from what the run is bound to."""
    return {
        "run_id": run_id(config),
        "method": config.method.name,
        "control": config.control,
        "label": config.label,
        "env": config.env,
        "env_options": config.env_options,
        "model": _name(config.model, binding),
        "engine": config.engine,
        "editor_model": _name(config.editor.model, binding) if config.editor.model else None,
        "seed": config.seed,
        "k": config.evaluation.eval_samples,
        "choices": choices_of(config),
        "bound": _bound(binding),
    }


def _name(model: str, binding: Binding) -> str:
    """Return the display name of a model, also of a folder that is elsewhere by now."""
    hashed = any(name.removeprefix(EDITORS) == "config.json" for name in binding.model)
    return Path(model).name if hashed else model_name(model)


def _bound(binding: Binding) -> dict[str, str]:
    digests = {what.value: binding.digest(what) for what in (What.MODEL, What.TEMPLATES, What.ENVIRONMENT)}
    version = binding.version.get("espl_bench")
    return {**{name: digest for name, digest in digests.items() if digest}, **({What.VERSION.value: version} if version else {})}


def spent_until(steps: int, cost: LearningCost, seconds: Mapping[int, float]) -> Spent:
    """Return what learning had cost after that many steps, without its price; `seconds` are those of each step."""
    return Spent(**asdict(cost), seconds=sum(seconds[step] for step in range(1, steps + 1)))


def prompt_shown(events: Sequence[PopulationEvent], evaluation: EvaluationRow) -> tuple[str, ...] | None:
    """Return the principles of the prompt that an evaluation showed; None if the population never had it."""
    born = (event for event in events if isinstance(event, BornEvent) and event.id == evaluation.prompt_id)
    return next((tuple(event.principles) for event in born), None)
