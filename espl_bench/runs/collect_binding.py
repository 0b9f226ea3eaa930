"""Collect what a run's numbers depend on: configuration, code, models, items, words."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Final

from pydantic_core import to_jsonable_python

import espl_bench
from espl_bench.accounting.cost_tracker import ModelRole
from espl_bench.config.run_config import RunConfig
from espl_bench.config.version_1 import first_form
from espl_bench.engines.engine import Chat, TemplateChat
from espl_bench.engines.model_source import ModelSource
from espl_bench.environment.catalogue import code_behind
from espl_bench.environment.identity import DataIdentity
from espl_bench.environment.text_env import EnvironmentSpec, TextEnv
from espl_bench.prompts.dialect import Dialect
from espl_bench.registry import CONTROLS, ENGINES, LOSSES, Seam, code_of
from espl_bench.runs.binding import EDITORS, Binding, leaves
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.utils.hashing import model_identity
from espl_bench.utils.source_hash import package_hash, source_hash

FREE: Final = (
    *("checkpoint_every", "stuck_after", "concurrency", "request_timeout", "request_tries"),
    *("api_key_env", "editor_api_key_env", "method.summary"),
)
"""Choices that change no number, so that a resume may have others."""


@dataclass(frozen=True, slots=True)
class RunParts:
    """Opened parts of a run that its binding describes."""

    spec: EnvironmentSpec
    env: TextEnv
    identity: DataIdentity
    dialect: Dialect
    chats: Mapping[ModelRole, Chat]
    """The policy's, and that of a separate editor."""
    loads_model: bool
    """False: an engine was given, and the model's name is only recorded."""


def collect_binding(recorded: RunConfig, placed: RunConfig, parts: RunParts) -> Binding:
    """Describe an opened run.

    Args:
        recorded: the configuration that the run was started with.
        placed: the same with the present places of model and files.
        parts: what was opened.
    """
    return collect_unopened(recorded, placed, parts.loads_model).model_copy(
        update={
            "environment": environment_identity(parts.spec),
            "items": parts.identity.every,
            "templates": _templates(parts),
        }
    )


def collect_unopened(recorded: RunConfig, placed: RunConfig, loads_model: bool) -> Binding:
    """Describe as much of a run as is known before anything is opened: configuration, version and models."""
    return Binding(config=bound_choices(recorded), version=_version(recorded), model=_models(placed) if loads_model else {})


def bound_choices(config: RunConfig) -> dict[str, object]:
    """Return the choices that a run is bound to, by name."""
    found = leaves(to_jsonable_python(first_form(config)))
    return {name: value for name, value in found.items() if name not in FREE}


def _version(config: RunConfig) -> dict[str, str]:
    """Return the version and the source of espl-bench and of everything outside it that the configuration names."""
    own = {"espl_bench": espl_bench.__version__, "source": package_hash(Path(espl_bench.__file__).parent)}
    sources = [source for source in (config.policy_source, config.editor_source) if source is not None]
    named: Iterable[tuple[Seam, str]] = (
        *config.method.named(),
        (LOSSES, config.optimisation.loss),
        *((ENGINES, source.engine) for source in sources),
        *(() if config.control is None else ((CONTROLS, config.control),)),
    )
    return own | dict(_outside(named))


def _outside(named: Iterable[tuple[Seam, str]]) -> Iterator[tuple[str, str]]:
    for seam, name in named:
        code = code_of(seam, name)
        if code.module.partition(".")[0] != espl_bench.__name__:
            yield f"{seam.noun} {name}", f"{code.package} {source_hash(code.module)}"


def _models(config: RunConfig) -> dict[str, str]:
    """Return the identity of each model that is on this machine."""
    editor = config.editor_source
    found = _model(config.policy_source)
    return found if editor is None else {**found, **{f"{EDITORS}{name}": value for name, value in _model(editor).items()}}


def _model(source: ModelSource) -> dict[str, str]:
    return {} if source.is_remote else dict(model_identity(source.model))


def environment_identity(spec: EnvironmentSpec) -> dict[str, str]:
    """Return an environment's id, and the package and the source it is made from."""
    module = spec.entry_point.partition(":")[0]
    registered = code_behind(spec.name)
    package = registered.package if registered is not None else _package_of(module.partition(".")[0])
    source = source_hash(module)
    return {"id": spec.gym_id, "package": package, **({} if source is None else {"source": source})}


@cache
def _package_of(top: str) -> str:
    """Return name and version of the installed package that has a top-level module; empty for a module of no package."""
    return ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(packages_distributions().get(top, ())))


def _templates(parts: RunParts) -> dict[str, str]:
    """Return the hash of everything that words what models are shown."""
    named = dict(parts.dialect.identity())
    for role, chat in parts.chats.items():
        if isinstance(chat, TemplateChat):
            named[f"{EDITORS if role is ModelRole.EDITOR else ''}chat template"] = _sha256(chat.template)
    if isinstance(parts.env, ToolEnv):
        named["tools"] = _sha256(json.dumps([tool.schema() for tool in parts.env.tools], sort_keys=True))
    return named


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
