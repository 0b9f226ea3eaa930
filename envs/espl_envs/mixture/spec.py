"""The spec of `mixture`, which is made of the specs of its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.environment.catalogue import find_environment
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError
from espl_envs.mixture.parts import MIXTURE as NAME
from espl_envs.mixture.parts import Part, read_parts

MIXTURE: Final = EnvironmentSpec(
    name=NAME,
    gym_id="espl/Mixture-v0",
    entry_point="espl_envs.mixture.env:mixture",
    summary="several environments, trained on in stated shares and tested on each",
    described_by="espl_envs.mixture.spec:describe",
)
ABSENT: Final = "(none)"


def describe(options: Mapping[str, Any]) -> EnvironmentSpec:
    """Return the spec of the mixture with these options. Raises UsageError for parts that one run cannot hold together."""
    parts = read_parts(options.get("parts"), options.get("shares"))
    specs = {part.name: find_environment(part.env, part.options) for part in parts}
    _require_same_words(specs)
    every = list(specs.values())
    chosen = {name: [_default(spec, name) for spec in every] for name in _choices(every)}
    agreed = {name: values[0] for name, values in chosen.items() if _all_same(values)}
    return replace(
        MIXTURE,
        dialect=agreed.pop("dialect", MIXTURE.dialect),
        model=agreed.pop("model", None),
        defaults={name: value for name, value in agreed.items() if value != ABSENT},
        undecided={name: _told(specs, values) for name, values in chosen.items() if not _all_same(values)},
        data=_data(parts, every),
        turns=max(spec.turns for spec in every),
        wording=every[0].wording,
        parts=specs,
        asks_for_items=any(spec.asks_for_items for spec in every),
    )


def _require_same_words(specs: Mapping[str, EnvironmentSpec]) -> None:
    """Raise UsageError if the parts introduce the task, or ask for an answer, in different words: a prompt has one introduction."""
    first = next(iter(specs))
    for name, spec in specs.items():
        if spec.wording != specs[first].wording:
            raise UsageError(
                f"mixture: '{first}' and '{name}' word their task differently, and a prompt has one wording; mix environments that share it"
            )


def _choices(specs: Sequence[EnvironmentSpec]) -> list[str]:
    return list(dict.fromkeys(["dialect", "model", *(name for spec in specs for name in spec.defaults)]))


def _default(spec: EnvironmentSpec, name: str) -> Any:
    return {"dialect": spec.dialect, "model": spec.model}[name] if name in ("dialect", "model") else spec.defaults.get(name, ABSENT)


def _all_same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _told(specs: Mapping[str, EnvironmentSpec], values: Sequence[Any]) -> str:
    """Say what the parts would choose: ``56 for rulebook, 16 for almanac``."""
    return ", ".join(f"{value or 'none'} for {name}" for name, value in zip(specs, values, strict=True))


def _data(parts: Sequence[Part], specs: Sequence[EnvironmentSpec]) -> DataSpec:
    """Return every data set that a part needs, once, so that what is missing can be fetched before a run."""
    trained = [spec.data for part, spec in zip(parts, specs, strict=True) if part.share]
    return DataSpec(
        train=tuple(dict.fromkeys(source for data in trained for source in data.train)),
        validation=tuple(dict.fromkeys(source for data in trained for source in data.validation)),
        test=tuple(dict.fromkeys(source for spec in specs for source in spec.data.test)),
        split_rule="each part has its own",
    )
