"""The resolved configuration of a run: frozen, complete, and written into the run directory before anything happens."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from espl_bench.config.flag import Affects, Flag
from espl_bench.config.flat import flatten, into_sections
from espl_bench.config.sections import (
    DEVICES,
    EVALUATION,
    BatchSection,
    EditorSection,
    EndpointSection,
    EvaluationSection,
    EvolutionSection,
    OptimisationSection,
    PromptsSection,
    SamplingSection,
    Section,
    VllmSection,
)
from espl_bench.engines.model_source import ModelSource
from espl_bench.errors import OptionError
from espl_bench.evolution.operators.proposal import EditLimits, ReflectionRules
from espl_bench.method import Method
from espl_bench.registry import CONTROLS, ENGINES

SCHEMA = "espl-bench/config/2"
"""Schema tag on disk. Files without one are of the first version, which was flat."""


_LABEL = re.compile(r"[\w.+=@-]([\w.+=@ -]{0,38}[\w.+=@-])?")


class RunConfig(Section):
    """Every choice of a run. Defaults are the paper's unless the docstring says otherwise.

    On disk the sections are tables under their names; `into_sections` also takes flat names, which files of the first version have.
    """

    method: Annotated[Method, Flag(typed=False, axis=True)]
    env: Annotated[str, Flag(typed=False, axis=True)]
    env_options: Annotated[dict[str, Any], Flag(typed=False, axis=True)] = Field(default_factory=dict)
    """Passed to the environment, e.g. rulebook's `world`."""
    model: Annotated[str, Flag(default="the environment's", axis=True)]
    """Folder or hub id of a causal language model with a chat template; for an endpoint or a service, the name it is served under."""
    engine: Annotated[str, Flag(default="vllm if CUDA and vLLM are available, else hf", lists_choices=True, seam=ENGINES)] = "hf"
    """What samples and trains: hf, vllm, openai (which only samples) or tinker."""
    steps: Annotated[int, Flag(affects=Affects.LEARNING)] = Field(default=100, ge=0)
    """Iterations of num_prompts x batch_size x group_size rollouts each."""
    seed: Annotated[int, Flag(typed=False, axis=True)] = Field(default=0, ge=0)
    control: Annotated[str | None, Flag(default="none", lists_choices=True, seam=CONTROLS)] = None
    """Ablation control: which learning signal is removed, by random-reward, shuffled-answers or irrelevant-prompt."""
    checkpoint_every: Annotated[int, Flag(panel=EVALUATION, affects=Affects.NOTHING)] = Field(default=10, ge=1)
    """Iterations between the checkpoints that a run can be resumed from."""
    stuck_after: Annotated[float, Flag(panel=DEVICES, affects=Affects.NOTHING)] = Field(default=600.0, ge=0)
    """Seconds without progress after which a rollout is reported as stuck; 0: never."""
    label: Annotated[str | None, Flag(default="none", affects=Affects.NOTHING)] = None
    """Name of a variant, shown with the method in tables. It changes no result."""

    batch: BatchSection = BatchSection()
    sampling: SamplingSection = SamplingSection()
    optimisation: OptimisationSection = OptimisationSection()
    evolution: EvolutionSection = EvolutionSection()
    prompts: PromptsSection = PromptsSection()
    editor: EditorSection = EditorSection()
    evaluation: EvaluationSection = EvaluationSection()
    vllm: VllmSection = VllmSection()
    """Left at its defaults, and absent on disk, unless one of the engines is vllm."""
    endpoint: EndpointSection = EndpointSection()
    """Names no address or key, and is absent on disk, unless one of the engines is remote."""

    @field_validator("label")
    @classmethod
    def _names_a_variant(cls, value: str | None) -> str | None:
        if value is not None and not _LABEL.fullmatch(value):
            raise OptionError("{label} takes up to 40 letters, digits, spaces and . + = @ - _, not '{value}'", {"value": value})
        return value

    @model_validator(mode="before")
    @classmethod
    def _of_any_version(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        values = dict(cast(Mapping[str, Any], value))
        tag = values.pop("schema", None)
        if tag is None:
            return into_sections(cls, values)
        if tag != SCHEMA:
            raise ValueError(f"schema '{tag}' is not {SCHEMA}; read it with the version that wrote it")
        return values

    @model_validator(mode="after")
    def _engines_have_what_is_theirs(self) -> Self:
        policy, editor = self.policy_source, self.editor_source
        engines = {source.engine for source in (policy, editor) if source is not None}
        if "vllm" not in engines and (chosen := chosen_fields(self.vllm)):
            raise OptionError(f"{{{chosen[0]}}} is about vLLM; add {{engine}} vllm, or leave it out")
        if self.vllm.sleep and self.optimisation.train_device is not None:
            raise OptionError("{sleep} shares one device, {train_device} takes another; give one of them")
        if "," in (self.optimisation.train_device or ""):
            if "hf" in engines:
                raise OptionError("{train_device} names several devices, and engine hf uses one; name one, or use {engine} vllm")
            if self.optimisation.train_quantization is not None:
                raise OptionError("{train_quantization} holds the base on one device, {train_device} names several; leave one of them out")
        for name in ("base_url", "api_key_env"):
            if getattr(self.endpoint, name) is not None and not policy.is_remote:
                raise OptionError(f"{{{name}}} is for an endpoint; add {{engine}} openai or tinker")
            if editor is not None and getattr(self.editor, name) is not None and not editor.is_remote:
                raise OptionError(f"{{editor_{name}}} is for an endpoint; add {{editor_engine}} openai or tinker")
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        idle = {name for name in ("vllm", "endpoint") if not chosen_fields(getattr(self, name)) and not self._reads(name)}
        return {"schema": SCHEMA, **{name: value for name, value in handler(self).items() if name not in idle}}

    def _reads(self, section: str) -> bool:
        """Return whether one of the engines reads a section."""
        sources = [source for source in (self.policy_source, self.editor_source) if source is not None]
        return any(source.engine == "vllm" if section == "vllm" else source.is_remote for source in sources)

    def flat(self) -> dict[str, Any]:
        """Return every choice under its flat name, as flags and grids use it."""
        return flatten(self)

    def varied(self, **choices: object) -> "RunConfig":
        """Return the same configuration with some choices, by flat name, changed."""
        return RunConfig.model_validate(self.flat() | choices)

    @property
    def row(self) -> str:
        """Name the method, with its control and its label if it has any."""
        return row_name(self.method.name, self.control, self.label)

    @property
    def folder_name(self) -> str:
        """Return the name of the run's folder in a comparison: method, label if it has one, and seed."""
        label = [self.label.replace(" ", "-")] if self.label else []
        return "-".join([self.method.name, *label, f"s{self.seed}"])

    @property
    def limits(self) -> EditLimits:
        """Return the bounds of the operators."""
        return EditLimits(
            max_edits=self.evolution.max_edits,
            max_words=self.evolution.max_principle_words,
            attempts=self.batch.group_size,
            sigma_growth=self.evolution.sigma_growth,
            form=self.evolution.prompt_form,
            max_prompt_words=self.evolution.max_prompt_words,
            crossover_prob=self.method.crossover_prob,
            rules=ReflectionRules(
                aggregation=self.evolution.aggregation,
                unreadable_aggregation=self.evolution.unreadable_aggregation,
                unchanged_child=self.evolution.unchanged_child,
                word_limit=self.evolution.word_limit,
                reflect_on=self.evolution.reflect_on,
                summary_shows=self.evolution.summary_shows,
            ),
        )

    @property
    def iterations(self) -> int:
        """Return the number of steps actually made: 0 if nothing learns."""
        return 0 if self.method.is_static else self.steps

    @property
    def policy_source(self) -> ModelSource:
        """Return the model that is rolled out."""
        return ModelSource(self.engine, self.model, self.endpoint.base_url, self.endpoint.api_key_env)

    @property
    def editor_source(self) -> ModelSource | None:
        """Return the editor's model; None if the policy writes its own reflections."""
        editor = self.editor
        if editor.model is None:
            return None
        engine = editor.engine or self.engine
        policy = self.policy_source if engine == self.engine else ModelSource(engine, editor.model)
        return ModelSource(engine, editor.model, editor.base_url or policy.base_url, editor.api_key_env or policy.api_key_env)


def row_name(method: str, control: str | None, label: str | None) -> str:
    """Name what a run's row is a configuration of, as in ``espl (random-reward) · warm``."""
    under = f"{method} ({control})" if control else method
    return f"{under} · {label}" if label else under


def chosen_fields(section: Section) -> tuple[str, ...]:
    """Return the names of the fields that differ from their defaults."""
    return tuple(name for name, info in type(section).model_fields.items() if getattr(section, name) != info.default)


def model_name(model: str) -> str:
    """Return the display name of a model: a folder's own name, else the name unchanged."""
    return Path(model).name if os.path.isdir(model) else model
