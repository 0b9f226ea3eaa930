"""From a configuration to an engine. The only place that knows which engines exist; each loads its packages when opened."""

from importlib.util import find_spec

from espl_bench.config.run_config import RunConfig
from espl_bench.engines.protocol import Engine
from espl_bench.engines.source import Source
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for


def open_engine(config: RunConfig) -> Engine:
    """Load the model of a run, or reach its endpoint or service. Raises ModelError or EndpointError in one line if it cannot be used."""
    return _open(config.policy_source, config)


def open_editor(config: RunConfig, policy: Engine) -> Engine:
    """The engine that reflections are asked of: the policy's, or one of its own. Raises as `open_engine`."""
    source = config.editor_source
    return policy if source is None else _open(source, config)


def _open(source: Source, config: RunConfig) -> Engine:
    match source.engine:
        case "hf":
            from espl_bench.engines.hf.engine import HfEngine

            return HfEngine.from_pretrained(
                source.model,
                lora_rank=config.lora_rank,
                lora_alpha=config.lora_alpha,
                seed=seed_for(config.seed, "adapter"),
                device=config.train_device,
                token_budget=config.token_budget,
                gradient_checkpointing=config.gradient_checkpointing,
            )
        case "vllm":
            return _open_vllm(source, config)
        case "openai":
            try:
                from espl_bench.engines.openai.engine import OpenAIEngine
            except ModuleNotFoundError as error:
                raise UsageError(f"engine openai needs {error.name}; install it with: pip install 'espl-bench[openai]'") from error

            assert source.base_url is not None, "check_sources requires it"
            return OpenAIEngine.at(source.base_url, source.model, source.api_key_env, config.request_timeout, config.request_tries)
        case "tinker":
            try:
                from espl_bench.engines.tinker.engine import TinkerEngine
            except ModuleNotFoundError as error:
                raise UsageError(f"engine tinker needs {error.name}; install it with: pip install 'espl-bench[tinker]'") from error

            return TinkerEngine.at(
                source.base_url,
                source.model,
                source.api_key_env,
                lora_rank=config.lora_rank,
                seed=seed_for(config.seed, "adapter"),
                timeout_s=config.request_timeout,
                tries=config.request_tries,
            )


def _open_vllm(source: Source, config: RunConfig) -> Engine:
    if find_spec("vllm") is None:
        raise UsageError("engine vllm needs vLLM; install it with: pip install 'espl-bench[vllm]' (on a CPU see docs/vllm.md)")
    from espl_bench.engines.vllm.engine import VllmEngine
    from espl_bench.engines.vllm.setup import Spread

    return VllmEngine.from_pretrained(
        source.model,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        seed=seed_for(config.seed, "adapter"),
        train_device=config.train_device,
        token_budget=config.token_budget,
        gradient_checkpointing=config.gradient_checkpointing,
        gpu_memory_utilization=config.gpu_memory_utilization,
        sleep=config.sleep,
        deterministic=config.deterministic,
        spread=Spread(
            config.tensor_parallel_size,
            config.pipeline_parallel_size,
            config.data_parallel_size,
            config.distributed_executor_backend,
        ),
    )
