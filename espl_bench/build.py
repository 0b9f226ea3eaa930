"""Build the parts of a run from its configuration: environment, engines, wording, budget. Each engine loads its packages when opened."""

import importlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from espl_bench.accounting.budgeted_client import BudgetedClients
from espl_bench.accounting.cost_tracker import Budget, CostTracker, ModelRole, open_cost_tracker, paid_sources
from espl_bench.accounting.ledger import Ledger
from espl_bench.config.checks import check_correction, check_names
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import ToolFormat
from espl_bench.controls import Control, find_control
from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import Chat, Engine, ScoringEngine
from espl_bench.engines.engine_spec import find_engine
from espl_bench.engines.model_source import ModelSource
from espl_bench.engines.model_use import WatchingEngine
from espl_bench.engines.rendered_chat import dated, prove, with_thinking
from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.catalogue import find_environment, make_environment, wording_of
from espl_bench.environment.identity import DataIdentity
from espl_bench.environment.pool import close_env
from espl_bench.environment.text_env import EnvironmentSpec, SingleTurnEnv, TextEnv
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.editor import require_shown
from espl_bench.evolution.operators.form_examples import form_examples
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.loop import RunContext
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.rollouts.rollout import RolloutSpec
from espl_bench.runs.collect_binding import RunParts, collect_binding
from espl_bench.runs.moved import NOT_MOVED, Moved
from espl_bench.runs.provenance_file import DATA_FACTS, GIVEN_FACTS, IDENTITY
from espl_bench.runs.recorded_tools import tool_facts
from espl_bench.seeding import seed_for
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Split
from espl_bench.utils.hashing import fingerprint

UNBOUNDED = Budget()

OpenEngine = Callable[[RunConfig], Engine]
"""Opens the engine of a run; the caller closes it."""


@dataclass(frozen=True, slots=True)
class GivenObjects:
    """Objects that a caller passes in place of those the configuration names. The caller owns the engines, and closes them."""

    engine: Engine | None = None
    editor: Engine | None = None
    env: EnvironmentSpec | None = None

    def facts(self) -> dict[str, Any]:
        """Return the facts for provenance: the class of each engine, and the environment's entry point. Empty if nothing was given."""
        engines = {"engine": self.engine, "editor": self.editor}
        named = {role: _class_name(engine) for role, engine in engines.items() if engine is not None}
        if self.env is not None:
            named["env"] = self.env.entry_point
        return {GIVEN_FACTS: named} if named else {}

    def refuse_missing(self, recorded: Mapping[str, str]) -> None:
        """Raise UsageError if a run was started with objects that are not given now."""
        for role, name in recorded.items():
            if getattr(self, role, None) is None:
                raise UsageError(f"the run was started with {role}={name} from Python; resume it there with such an object: {role}=…")


NOTHING_GIVEN = GivenObjects()


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def environment_of(config: RunConfig, spec: EnvironmentSpec | None = None) -> TextEnv:
    """Make the environment of a run, its control included.

    Args:
        config: names the environment and its options.
        spec: the environment itself, for one that is not registered.

    Raises UsageError if it cannot be made.
    """
    return find_control(config.control).environment(_untouched(config, spec), config.seed)


def require_training_split(config: RunConfig, env: TextEnv) -> None:
    """Raise UsageError if a method learns and its environment has nothing to learn from."""
    if Split.TRAIN not in env.splits and not config.method.is_static:
        raise UsageError(f"environment '{config.env}' is for evaluation only, and {config.method.name} learns; use --method base")


def data_identity_of(config: RunConfig, spec: EnvironmentSpec | None = None) -> DataIdentity:
    """Return the identity of a run's data: of the items as they are without a control. Raises as `environment_of`."""
    env = _untouched(config, spec)
    try:
        return DataIdentity.of(env)
    finally:
        close_env(env)


def _untouched(config: RunConfig, spec: EnvironmentSpec | None) -> TextEnv:
    if spec is not None and spec.name != config.env:
        raise UsageError(f"the configuration is for environment '{config.env}', and env= is '{spec.name}'; give both the same")
    return make_environment(spec or find_environment(config.env, config.env_options), config.env_options)


def dialect_of(config: RunConfig, spec: EnvironmentSpec | None = None) -> Dialect:
    """Load the dialect of a run, with the environment's own words. Raises UsageError or TemplateError.

    Args:
        config: names dialect and environment.
        spec: the environment itself, for one that is not registered.
    """
    wording = wording_of(config.env, config.env_options) if spec is None else spec.wording
    return replace(Dialect.load(config.prompts.dialect), wording=wording)


def open_engine(config: RunConfig) -> Engine:
    """Load the model of a run, or reach its endpoint or service. Raises ModelError or EndpointError in one line if it cannot be used."""
    return _open(config.policy_source, config)


def open_editor(config: RunConfig, policy: Engine) -> Engine:
    """Return the engine that writes reflections: the policy's, or one of its own. Raises as `open_engine`."""
    source = config.editor_source
    return policy if source is None else _open(source, config)


def _open(source: ModelSource, config: RunConfig) -> Engine:
    module, _, function = find_engine(source.engine).opener.partition(":")
    return getattr(importlib.import_module(module), function)(source, config)


def open_hf(source: ModelSource, config: RunConfig) -> Engine:
    """Load the model into engine hf."""
    from espl_bench.engines.hf.engine import HfEngine

    return HfEngine.from_pretrained(source.model, adapter_spec(config))


def adapter_spec(config: RunConfig) -> AdapterSpec:
    """Describe the adapter, and how it is trained, to an engine that trains on this machine."""
    return AdapterSpec(
        rank=config.optimisation.lora_rank,
        alpha=config.optimisation.lora_alpha,
        seed=seed_for(config.seed, "adapter"),
        device=config.optimisation.train_device,
        token_budget=config.optimisation.token_budget,
        gradient_checkpointing=config.optimisation.gradient_checkpointing,
        compile_layers=config.optimisation.compile_layers,
        quantization=config.optimisation.train_quantization,
    )


def open_vllm(source: ModelSource, config: RunConfig) -> Engine:
    """Load the model into engine vllm. Raises UsageError without vLLM."""
    if find_spec("vllm") is None:
        raise UsageError("engine vllm needs vLLM; install it with: pip install 'espl-bench[vllm]' (on a CPU see docs/vllm.md)")
    from espl_bench.engines.vllm.engine import VllmEngine
    from espl_bench.engines.vllm.setup import Spread

    return VllmEngine.from_pretrained(
        source.model,
        adapter_spec(config),
        gpu_memory_utilization=config.vllm.gpu_memory_utilization,
        sleep=config.vllm.sleep,
        deterministic=config.vllm.deterministic,
        spread=Spread(
            config.vllm.tensor_parallel_size,
            config.vllm.pipeline_parallel_size,
            config.vllm.data_parallel_size,
            config.vllm.distributed_executor_backend,
        ),
    )


def open_openai(source: ModelSource, config: RunConfig) -> Engine:
    """Reach an OpenAI-compatible endpoint. Raises UsageError without its packages."""
    with _extra("openai"):
        from espl_bench.engines.openai.engine import OpenAIEngine

    assert source.base_url is not None, "check_sources requires it"
    return OpenAIEngine.at(
        source.base_url, source.model, source.api_key_env, config.endpoint.request_timeout, config.endpoint.request_tries
    )


def open_tinker(source: ModelSource, config: RunConfig) -> Engine:
    """Reach a Tinker service. Raises UsageError without its packages, or for a loss that services do not compute."""
    with _extra("tinker"):
        from espl_bench.engines.tinker.conversion import LOSSES
        from espl_bench.engines.tinker.engine import TinkerEngine

    if config.optimisation.loss not in LOSSES:
        raise UsageError(f"a service does not compute loss '{config.optimisation.loss}'; use one of {', '.join(LOSSES)}, or another engine")
    return TinkerEngine.at(
        source.base_url,
        source.model,
        source.api_key_env,
        lora_rank=config.optimisation.lora_rank,
        seed=seed_for(config.seed, "adapter"),
        timeout_s=config.endpoint.request_timeout,
        tries=config.endpoint.request_tries,
    )


@contextmanager
def _extra(name: str) -> Generator[None]:
    """Turn a missing package inside the block into a UsageError that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"engine {name} needs {error.name}; install it with: pip install 'espl-bench[{name}]'") from error


def open_run(
    config: RunConfig,
    budget: Budget = UNBOUNDED,
    given: GivenObjects = NOTHING_GIVEN,
    moved: Moved = NOT_MOVED,
    started: datetime | None = None,
) -> RunContext:
    """Open everything a run needs that is not given.

    Args:
        config: every choice, as the run was started with.
        budget: limit on spending.
        given: objects in place of those that the configuration names.
        moved: present places of model and files.
        started: when the run was started, which is the time that chat templates read; None: now.

    Raises EsplError in one line for what cannot be used.
    """
    recorded, config = config, moved.applied(config)
    check_names(config)
    check_correction(config)
    if given.editor is not None and config.editor.model is None:
        raise UsageError("editor= is another model than the policy's; name it, for the record, with editor_model in the configuration")
    env = environment_of(config, given.env)
    require_training_split(config, env)
    env.prepare()
    control = find_control(config.control)
    control.check(env, config.env)
    services = frozenset(role for role, source in paid_sources(config).items() if source.is_service)
    clients = BudgetedClients(open_cost_tracker(config, budget), config.endpoint.concurrency, services)
    engine = given.engine or open_engine(config)
    editor = given.editor or open_editor(config, engine)
    _require_teacher(config, engine, env)
    policy_chat, editor_chat = _chats(config, engine, editor, started or datetime.now(UTC))
    identity = data_identity_of(config, given.env)
    described = given.env or find_environment(config.env, config.env_options)
    wording = dialect_of(config, described)
    dialect, chat = with_tools(wording, policy_chat, env, config.sampling.tool_format)
    spec = _rollout_spec(config, given, env, control, dialect, chat, engine.batches_continuously)
    _prove_templates(config, env, chat, editor_chat)
    spec.prompt_tokens(config.evolution.root_principles, env.problem(env.splits[0], 0).question)  # a broken template fails now
    chats = {ModelRole.POLICY: policy_chat} | ({} if editor is engine else {ModelRole.EDITOR: editor_chat})
    parts = RunParts(described, env, identity, wording, chats, loads_model=given.engine is None)
    return RunContext(
        config=recorded,
        env=env,
        control=control,
        spec=spec,
        engine=engine,
        editor=editor,
        editor_chat=editor_chat,
        clients=clients,
        ledger=Ledger(),
        loss=loss_spec(config),
        limits=_edit_limits(config, dialect),
        data_identity=identity.compared,
        binding=collect_binding(recorded, config, parts),
    )


def _edit_limits(config: RunConfig, dialect: Dialect) -> EditLimits:
    """Return the bounds of the operators, with the examples of the editor's instructions. Raises UsageError as `require_shown`."""
    if not config.method.breeds:
        return config.limits
    require_shown(dialect, config.limits)
    return replace(config.limits, examples=form_examples(dialect, config.limits))


def _require_teacher(config: RunConfig, engine: Engine, env: TextEnv) -> None:
    """Raise UsageError for a method with a teacher, and an engine that it cannot read with or episodes that it cannot be shown."""
    if config.method.teacher is not None and isinstance(env, AgentEnv):
        raise UsageError(
            f"{config.method.name} shows a teacher each episode under another prompt, and an agent words its conversations itself; "
            "use a method without a teacher, e.g. --method espl"
        )
    if config.method.teacher is not None and not isinstance(engine, ScoringEngine):
        raise UsageError(f"{config.method.name} needs an engine that a teacher can read with, and {config.engine} is none; use --engine hf")


def _prove_templates(config: RunConfig, env: TextEnv, chat: Chat, editor_chat: Chat) -> None:
    """Raise ModelError for a chat template that loses what the policy, or an editor that breeds, is to read."""
    replies = isinstance(env, AgentEnv) or not isinstance(env, SingleTurnEnv)
    prove(chat, system=config.prompts.placement is Placement.SYSTEM, replies=replies)
    if config.method.breeds:
        prove(editor_chat, system=False, replies=False)


def _chats(config: RunConfig, engine: Engine, editor: Engine, started: datetime) -> tuple[Chat, Chat]:
    """Return the chats of the policy and of the editor, which thinks as the policy does if it is the policy."""
    policy, of_editor = (dated(each.chat, started) for each in (engine, editor))
    inherited = config.sampling.thinking if editor is engine else None
    return (
        with_thinking(policy, config.sampling.thinking, "--thinking"),
        with_thinking(of_editor, config.editor.thinking or inherited, "--editor-thinking"),
    )


def _rollout_spec(
    config: RunConfig, given: GivenObjects, env: TextEnv, control: Control, dialect: Dialect, chat: Chat, continuous: bool
) -> RolloutSpec:
    return RolloutSpec(
        make_env=lambda: environment_of(config, given.env),
        dialect=dialect,
        placement=config.prompts.placement,
        chat=chat,
        temperature=config.sampling.temperature,
        top_p=config.sampling.top_p,
        max_tokens=config.sampling.max_tokens,
        run_seed=config.seed,
        sampling_groups=config.sampling.sampling_groups,
        max_episode_tokens=config.sampling.max_episode_tokens,
        native_tools=isinstance(env, ToolEnv) and config.sampling.tool_format == "native",
        show=lambda principles: control.principles(principles, dialect),
        continuous=continuous,
    )


def with_tools(dialect: Dialect, chat: Chat, env: TextEnv, tool_format: ToolFormat) -> tuple[Dialect, Chat]:
    """Teach the dialect, or the chat, the environment's tools, if it has any. Raises EsplError if the chat cannot take them."""
    if not isinstance(env, ToolEnv):
        return dialect, chat
    if tool_format == "native":
        return dialect, chat.with_tools(tuple(env.tools))
    return replace(dialect, tools=tuple(env.tools)), chat


def source_facts(config: RunConfig, cost_tracker: CostTracker) -> dict[str, Any]:
    """Return the facts for provenance about a separate editor and about endpoints; empty for a run with neither."""
    models = {ModelRole.POLICY: config.policy_source, ModelRole.EDITOR: config.editor_source}
    named = {role.value: _source_fact(source) for role, source in models.items() if source is not None}
    if config.editor_source is None and not config.policy_source.is_remote:
        return {}
    return {"models": named, "prices": {model: price.model_dump() for model, price in cost_tracker.prices.items()}}


def _source_fact(source: ModelSource) -> dict[str, Any]:
    identity = {"base_url": source.base_url} if source.is_remote else {"fingerprint": fingerprint(Path(source.model))}
    return {"engine": source.engine, "model": source.model, **identity}


def model_facts(context: RunContext) -> dict[str, Any]:
    """Return the facts for provenance about what the policy's adapter reaches; empty for an engine that does not know."""
    engine = context.engine
    return {"model_use": engine.model_use.facts()} if isinstance(engine, WatchingEngine) else {}


def model_lines(context: RunContext) -> tuple[str, ...]:
    """Return what a user should know of how the policy's model is used, each in a line."""
    engine = context.engine
    return engine.model_use.lines(trains=context.config.method.learns_weights) if isinstance(engine, WatchingEngine) else ()


def data_facts(context: RunContext) -> dict[str, Any]:
    """Return the facts for provenance about a run's data."""
    return {DATA_FACTS: {**context.env.data_facts(), **tool_facts(context.env), IDENTITY: dict(context.data_identity)}}


def loss_spec(config: RunConfig) -> LossSpec:
    """Return the configured loss, with its own clip range where the configuration leaves it open."""
    from espl_bench.learning.losses import default_loss  # it loads torch, which whoever only reads a run can do without

    spec = default_loss(config.optimisation.loss)
    low = spec.clip_low if config.optimisation.clip_low is None else config.optimisation.clip_low
    high = spec.clip_high if config.optimisation.clip_high is None else config.optimisation.clip_high
    return LossSpec(config.optimisation.loss, low, high, config.optimisation.correction, config.optimisation.correction_cap)
