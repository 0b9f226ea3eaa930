"""Refuse, in one line, models and engines that do not fit together, and options that would have no effect."""

from collections.abc import Collection
from urllib.parse import urlsplit

from espl_bench.config.run_config import RunConfig
from espl_bench.engines.source import ModelSource
from espl_bench.engines.spec import find_engine
from espl_bench.errors import UsageError

SERVICE_DECIDES = ("lora_alpha", "token_budget", "gradient_checkpointing", "correction", "correction_cap", "train_device")
"""Options that a service leaves no choice of."""


VLLM_ONLY = (
    "gpu_memory_utilization",
    "sleep",
    "deterministic",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "distributed_executor_backend",
)
"""Options that mean nothing to another engine."""


def check_sources(config: RunConfig, given: Collection[str]) -> None:
    """Raise UsageError in one line for sources that cannot be, or for an option that would have no effect.

    Args:
        config: the resolved configuration.
        given: names of the fields that were chosen, rather than left to a default.
    """
    policy, editor = config.policy_source, config.editor_source
    if not find_engine(policy.engine).trains and config.method.learns_weights:
        raise UsageError(
            f"options: {config.method.name} trains weights, and those of --engine {policy.engine} are the endpoint's; "
            f"use --engine hf, or a method that freezes weights: {', '.join(_methods_without_training())}"
        )
    engines = {source.engine for source in (policy, editor) if source is not None}
    for name in VLLM_ONLY:
        if getattr(config, name) != type(config).model_fields[name].default and "vllm" not in engines:
            raise UsageError(f"options: --{name.replace('_', '-')} is about vLLM; add --engine vllm, or leave it out")
    if config.sleep and config.train_device is not None:
        raise UsageError("options: --sleep shares one device, --train-device takes another; give one of them")
    if policy.is_endpoint and "model" not in given:
        raise UsageError("options: --engine openai needs --model, the name under which the endpoint serves it")
    if policy.is_service:
        for name in SERVICE_DECIDES:
            if name in given:
                raise UsageError(f"options: --{name.replace('_', '-')} is the service's to decide with --engine tinker; leave it out")
    _check_address(policy, "--base-url", "--engine openai")
    if editor is not None:
        if "editor" in given and config.method.editor == "current":
            raise UsageError("options: --editor current means the policy's own weights, --editor-model another model; give one of them")
        if not config.method.operators:
            raise UsageError(f"options: {config.method.name} writes no reflections, so --editor-model has no use; leave it out")
        _check_address(editor, "--editor-base-url", "--editor-engine openai")
    else:
        for name in ("editor_engine", "editor_base_url", "editor_api_key_env"):
            if name in given:
                raise UsageError(f"options: --{name.replace('_', '-')} is about another editor; name it with --editor-model")
    for name, source in (("base_url", policy), ("api_key_env", policy), ("editor_base_url", editor), ("editor_api_key_env", editor)):
        if name in given and source is not None and not source.is_remote:
            raise UsageError(f"options: --{name.replace('_', '-')} is for an endpoint; add --{_engine_option(name)} openai or tinker")


def _check_address(source: ModelSource, flag: str, engine: str) -> None:
    if not source.is_remote or (source.is_service and source.base_url is None):
        return
    if source.base_url is None:
        raise UsageError(f"options: {engine} needs {flag}, e.g. http://127.0.0.1:8000/v1")
    try:
        parts = urlsplit(source.base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise UsageError(f"options: {flag} is no address; e.g. http://127.0.0.1:8000/v1") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"options: {flag} holds more than an address, and it is written down; put the key into the environment")
    if not sound:
        raise UsageError(f"options: {flag} is no address of http or https; e.g. http://127.0.0.1:8000/v1")


def _engine_option(name: str) -> str:
    return "editor-engine" if name.startswith("editor_") else "engine"


def _methods_without_training() -> list[str]:
    from espl_bench.method import find_method
    from espl_bench.registry import METHODS, names

    return [name for name in names(METHODS) if not find_method(name).learns_weights]
