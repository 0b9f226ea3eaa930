"""Bring what a run needs and this machine lacks, data and model, before anything is opened; and tell what was chosen.

Each choice is one line on stderr with the option that changes it.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espl_bench.build import environment_of
from espl_bench.cli.commands.data import fetch_sets
from espl_bench.cli.console import err_console
from espl_bench.config.run_config import RunConfig
from espl_bench.engines.default_model import default_model
from espl_bench.engines.hub_models import fetch_model, is_cached, is_hub_id, licence_of, without_network
from espl_bench.engines.model_source import is_tiny
from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import DataError, MissingDataError
from espl_bench.utils.formatting import plain


@dataclass(frozen=True, slots=True)
class Provision:
    """How missing things are brought."""

    download: bool = True
    """Whether the network may be asked."""
    quiet: bool = False
    """Whether to draw no progress bars."""


FETCH = Provision()


def tell_default(config: RunConfig, given: Mapping[str, Any]) -> None:
    """Say which engine and which model were chosen, where nobody named one."""
    if "engine" not in given and not config.policy_source.is_remote:
        _tell_engine(config)
    if "model" in given or find_environment(config.env).model is not None or config.policy_source.is_remote:
        return
    chosen = default_model()
    if config.model == chosen.model:
        _say(f"model {chosen.model}: {chosen.reason}; another: --model")


def _tell_engine(config: RunConfig) -> None:
    """Say which engine was chosen and why, on a machine with a GPU; elsewhere there is no choice."""
    import torch  # which the run is about to load

    if not torch.cuda.is_available():
        return
    engine = config.policy_source.engine
    if engine == "vllm":
        _say("engine vllm: the fastest on a GPU; another: --engine hf")
    elif config.optimisation.train_device is None and is_tiny(config.model):
        _say("engine hf on the CPU: a model this small runs faster there than on a GPU; otherwise: --engine vllm, or --train-device cuda")
    else:
        _say(f"engine {engine}: vLLM is not installed, which samples faster on a GPU")


def provide(config: RunConfig, how: Provision = FETCH) -> None:
    """Fetch the data sets and the models of a run that are not here.

    Raises:
        DataError: something is missing and cannot be fetched. One line names everything that is, with the commands that bring it.
        ModelError: the hub gives no such model.
    """
    from huggingface_hub.constants import HF_HUB_OFFLINE

    faults = [fault] if (fault := _bring_data(config, how)) else []
    for model in absent_models(config):
        if faults or not how.download or HF_HUB_OFFLINE:
            faults.append(
                f"model '{model}' is not in the hub's cache; with a network: hf download {shlex.quote(model)} ; {without_network()}"
            )
        else:
            _say(f"fetching model {model} from the hub, licence {licence_of(model)}; --no-download fetches nothing")
            fetch_model(model, progress=not how.quiet)
    if faults:
        raise DataError("; and ".join(faults))


def _bring_data(config: RunConfig, how: Provision) -> str:
    """Fetch the sets that are missing. Returns what is in the way, or nothing."""
    if not list(find_environment(config.env).data):
        return ""
    try:
        environment_of(config)
    except MissingDataError as lack:
        if not how.download:
            return str(lack)
        _say(f"fetching the data of {config.env} from the hub: {', '.join(lack.sources)}; --no-download fetches nothing")
        try:
            fetch_sets(config.env, lack.sources, how.quiet)
        except DataError as error:
            return str(error)
    return ""


def absent_models(config: RunConfig) -> list[str]:
    """Return the hub ids of a run's models that the hub's cache lacks."""
    sources = [source for source in (config.policy_source, config.editor_source) if source is not None and not source.is_remote]
    models = dict.fromkeys(source.model for source in sources if is_hub_id(source.model))
    return [model for model in models if not is_cached(model)]


def _say(text: str) -> None:
    err_console().print(plain(text), soft_wrap=True)
