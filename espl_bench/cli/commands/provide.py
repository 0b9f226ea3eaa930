"""Bring what a run needs and this machine lacks, data and model, before anything is opened; and tell what was chosen.

Each choice is one line on stderr with the option that changes it.
"""

import shlex
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

from espl_bench.build import environment_of, require_training_split
from espl_bench.cli.commands.corpora import fetch_corpus
from espl_bench.cli.commands.data import fetch_sets
from espl_bench.cli.console import err_console
from espl_bench.config.run_config import RunConfig
from espl_bench.data.corpus_store import is_stored
from espl_bench.data.dataset_spec import CorpusSource
from espl_bench.data.find_data import corpus_complaint
from espl_bench.engines.default_model import default_model
from espl_bench.engines.hub_models import fetch_model, is_cached, is_hub_id, licence_of, without_network
from espl_bench.engines.model_source import is_tiny
from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import DataError, MissingDataError, ModelError, UsageError
from espl_bench.retrieval.default_corpus import default_corpus
from espl_bench.retrieval.open_retriever import require_packages
from espl_bench.utils.formatting import plain


@dataclass(frozen=True, slots=True)
class Provision:
    """How missing things are brought."""

    download: bool = True
    """Whether the network may be asked."""
    quiet: bool = False
    """Whether to draw no progress bars."""


FETCH = Provision()


def tell_defaults(configs: Iterable[RunConfig], given: Container[str]) -> None:
    """Say which engines, models and corpora were chosen for runs where nobody named them, each once; `given` are the named options."""
    for line in dict.fromkeys(line for config in configs for line in _defaults(config, given)):
        _say(line)


def _defaults(config: RunConfig, given: Container[str]) -> Iterator[str]:
    spec = find_environment(config.env, config.env_options)
    if spec.note:
        yield f"environment {spec.name}: {spec.note}"
    if "engine" not in given and not config.policy_source.is_remote:
        yield from _engine(config)
    if (corpus := default_corpus(spec.data, config.env_options)) is not None:
        yield f"corpus {corpus.name}: {corpus.about}; another: --corpus FILE"
    if "model" in given or spec.model is not None or config.policy_source.is_remote:
        return
    chosen = default_model()
    if config.model == chosen.model:
        yield f"model {chosen.model}: {chosen.reason}; another: --model"


def _engine(config: RunConfig) -> Iterator[str]:
    """Yield which engine was chosen and why, on a machine with a GPU; elsewhere there is no choice."""
    import torch  # which the run is about to load

    if not torch.cuda.is_available():
        return
    engine = config.policy_source.engine
    if engine == "vllm":
        yield "engine vllm: the fastest on a GPU; another: --engine hf"
    elif config.optimisation.train_device is None and is_tiny(config.model):
        yield "engine hf on the CPU: a model this small runs faster there than on a GPU; otherwise: --engine vllm, or --train-device cuda"
    else:
        yield f"engine {engine}: vLLM is not installed, which samples faster on a GPU"


def provide(config: RunConfig, how: Provision = FETCH) -> None:
    """Fetch the data sets, the corpus and the models of a run that are not here.

    Raises:
        DataError: something is missing and cannot be fetched. One line names everything that is, with the commands that bring it.
        ModelError: the hub gives no such model.
        UsageError: a package is missing, or the method learns and the environment is for evaluation only.
    """
    corpus = default_corpus(find_environment(config.env, config.env_options).data, config.env_options)
    if corpus is not None:
        require_packages(config.env_options.get("retriever", "bm25"))
    faults = [fault] if (fault := _bring_data(config, how)) else []
    if corpus is not None and not is_stored(corpus):
        faults += _bring_corpus(config.env, corpus, how if not faults else replace(how, download=False))
    faults += _bring_models(config, how if not faults else replace(how, download=False))
    if faults:
        raise DataError("; and ".join(faults))


def bring_models(config: RunConfig, how: Provision = FETCH) -> None:
    """Fetch the models that are not here. Raises DataError or ModelError as `provide`."""
    if faults := _bring_models(config, how):
        raise DataError("; and ".join(faults))


def _bring_models(config: RunConfig, how: Provision) -> list[str]:
    """Fetch the models that are missing. Returns what is in the way."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    faults: list[str] = []
    for model in absent_models(config):
        if faults or not how.download or HF_HUB_OFFLINE:
            faults.append(
                f"model '{model}' is not in the hub's cache; with a network: hf download {shlex.quote(model)} ; {without_network()}"
            )
        else:
            _say(f"fetching model {model} from the hub, licence {licence_of(model)}; --no-download fetches nothing")
            fetch_model(model, progress=not how.quiet)
    return faults


def provide_all(runs: Iterable[tuple[str, RunConfig]], how: Provision = FETCH) -> None:
    """Fetch what several runs need and this machine lacks, each thing once, before the first of them starts.

    Args:
        runs: each with its name, which begins the message if it lacks something.
        how: as in `provide`, whose errors are raised.
    """
    seen: set[str] = set()
    for name, config in runs:
        needs = repr((config.env, config.env_options, config.policy_source, config.editor_source, config.method.is_static))
        if needs in seen:
            continue
        seen.add(needs)
        try:
            provide(config, how)
        except (DataError, ModelError, UsageError) as error:
            kind = DataError if isinstance(error, DataError) else ModelError if isinstance(error, ModelError) else UsageError
            raise kind(f"{name}: {error}") from error


def absences(config: RunConfig) -> list[str]:
    """Name what a run needs and this machine lacks."""
    corpus = absent_corpus(config)
    try:
        environment_of(config)
        data = []
    except DataError:
        data = [f"the data of {config.env}"]
    return [*data, *([f"corpus {corpus.name}"] if corpus is not None else []), *(f"model {model}" for model in absent_models(config))]


def _bring_data(config: RunConfig, how: Provision) -> str:
    """Make the environment, and fetch the sets that are missing for it. Returns what is in the way, or nothing."""
    try:
        require_training_split(config, environment_of(config))
    except MissingDataError as lack:
        if not how.download:
            return str(lack)
        _say(f"fetching the data of {config.env} from the hub: {', '.join(lack.sources)}; --no-download fetches nothing")
        try:
            fetch_sets(config.env, lack.sources, how.quiet)
        except DataError as error:
            return str(error)
        require_training_split(config, environment_of(config))
    return ""


def _bring_corpus(env: str, corpus: CorpusSource, how: Provision) -> list[str]:
    """Make a corpus. Returns what is in the way, or nothing."""
    if not how.download:
        return [corpus_complaint(env, corpus)]
    sets = ", ".join(dict.fromkeys(source.hub_id for source in corpus.sets))
    _say(f"making the corpus {corpus.name} of {sets} on the hub, licence {corpus.licence.short}; --no-download fetches nothing")
    try:
        fetch_corpus(env, corpus, how.quiet)
    except DataError as error:
        return [f"{error} ; or name your own passages with --corpus FILE"]
    return []


def absent_corpus(config: RunConfig) -> CorpusSource | None:
    """Return the corpus that a run would search and that the data home lacks; None if nothing is missing."""
    corpus = default_corpus(find_environment(config.env, config.env_options).data, config.env_options)
    return None if corpus is None or is_stored(corpus) else corpus


def absent_models(config: RunConfig) -> list[str]:
    """Return the hub ids of a run's models that the hub's cache lacks."""
    sources = [source for source in (config.policy_source, config.editor_source) if source is not None and not source.is_remote]
    models = dict.fromkeys(source.model for source in sources if is_hub_id(source.model))
    return [model for model in models if not is_cached(model)]


def _say(text: str) -> None:
    err_console().print(plain(text), soft_wrap=True)
