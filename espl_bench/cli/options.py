"""The options that make up a run, declared once and shared by `run` and `compare`.

Every default is None, "the environment's or the paper's": the value itself stands in config.py, and the help repeats it.
This module must stay light, because `--help` imports it: what it repeats from config.py is compared with it by a test.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from espl_bench.errors import UsageError, unknown
from espl_bench.types import Split

if TYPE_CHECKING:
    from espl_bench.accounting.budget import Budget

Scalar = str | int | float | bool | None
Command = TypeVar("Command", bound=Callable[..., None])

SPLITS = tuple(split.value for split in Split)
CHOSEN = "chosen"
"""The parameter through which a command gets the run options that were given."""


@dataclass(frozen=True, slots=True)
class RunOption:
    """One field of RunConfig or Method that the command line may set."""

    field: str
    kind: type[str] | type[int] | type[float] | type[bool]
    """A bool is a flag with a --no- form."""
    panel: str
    help: str
    default: str
    """As the help says it."""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As typed."""
        return f"--{self.field.replace('_', '-')}"


ROLLOUTS = "Rollouts"
WEIGHTS = "Learning weights"
WORDS = "Learning words"
EVALUATION = "Evaluation and checkpoints"
DEVICES = "Devices"
ENDPOINTS = "Endpoints"
OWN = "the method's own"
BY_LOSS = "the loss's own"

RUN_OPTIONS: tuple[RunOption, ...] = (
    RunOption("model", str, "What runs", "Folder or hub id of a causal language model with a chat template.", "the environment's"),
    RunOption(
        "engine",
        str,
        "What runs",
        "What samples and trains; openai only samples.",
        "the fastest that is here",
        ("hf", "vllm", "openai", "tinker"),
    ),
    RunOption("steps", int, "What runs", "Iterations.", "100"),
    RunOption(
        "control", str, "What runs", "Take away what is learned from.", "none", ("random-reward", "shuffled-answers", "irrelevant-prompt")
    ),
    RunOption("num_prompts", int, ROLLOUTS, "K: prompts per iteration.", "3"),
    RunOption("batch_size", int, ROLLOUTS, "P: problems per iteration.", "10"),
    RunOption("group_size", int, ROLLOUTS, "G: rollouts per problem and prompt.", "5"),
    RunOption("temperature", float, ROLLOUTS, "Of rollouts and evaluations.", "1.0"),
    RunOption("top_p", float, ROLLOUTS, "Below 1 the loss corrects for another distribution than was sampled.", "1.0"),
    RunOption("max_tokens", int, ROLLOUTS, "Tokens per turn.", "1024"),
    RunOption("max_episode_tokens", int, ROLLOUTS, "Tokens per episode of several turns, prompt and observations included.", "none"),
    RunOption("cohorts", int, ROLLOUTS, "Groups of episodes, of which one is sampled while others wait for tools.", "1"),
    RunOption("tool_format", str, ROLLOUTS, "How tools are worded.", "text", ("text", "native")),
    RunOption("lr", float, WEIGHTS, "Adam's learning rate.", "4e-5"),
    RunOption("loss", str, WEIGHTS, "Policy-gradient loss.", "importance_sampling", ("importance_sampling", "ppo", "cispo")),
    RunOption("clip_low", float, WEIGHTS, "Lower bound of the probability ratio (ppo, cispo).", BY_LOSS),
    RunOption("clip_high", float, WEIGHTS, "Upper bound of the probability ratio (ppo, cispo).", BY_LOSS),
    RunOption("grad_clip", float, WEIGHTS, "Upper bound of the gradient's norm; 0: none.", "1.0"),
    RunOption("baseline", str, WEIGHTS, "What a reward is compared with.", OWN, ("per_prompt", "across_prompts")),
    RunOption("lora_rank", int, WEIGHTS, "Rank of the adapter.", "32"),
    RunOption("lora_alpha", float, WEIGHTS, "Scale of the adapter.", "32.0"),
    RunOption("token_budget", int, WEIGHTS, "Tokens of one training micro-batch.", "4096"),
    RunOption("gradient_checkpointing", bool, WEIGHTS, "Train with less memory, in more time.", "off"),
    RunOption("correction", str, WEIGHTS, "How ratios of trainer to sampler are truncated.", "token", ("token", "sequence", "none")),
    RunOption("correction_cap", float, WEIGHTS, "Where they are truncated.", "2.0"),
    RunOption("mask_truncated", bool, WEIGHTS, "Leave rollouts that were cut out of the loss.", "off"),
    RunOption("selector", str, WORDS, "Which prompts are rolled out.", OWN, ("top_plus_random", "softmax", "ucb", "lucb", "uniform")),
    RunOption("population_size", int, WORDS, "Newest prompts that live.", OWN),
    RunOption("crossover_prob", float, WORDS, "Chance of a crossover per iteration.", OWN),
    RunOption("editor", str, WORDS, "Whose weights write the reflections.", OWN, ("reference", "current")),
    RunOption("editor_model", str, WORDS, "Another model that writes the reflections.", "the run's own"),
    RunOption("editor_engine", str, WORDS, "What opens it.", "the policy's", ("hf", "vllm", "openai", "tinker")),
    RunOption("editor_base_url", str, WORDS, "Its endpoint.", "the policy's"),
    RunOption("editor_api_key_env", str, WORDS, "Variable that holds its key.", "the policy's"),
    RunOption("editor_temperature", float, WORDS, "Of reflections.", "1.0"),
    RunOption("editor_max_tokens", int, WORDS, "Tokens of one reflection.", "1024"),
    RunOption("max_edits", int, WORDS, "Edits that one problem's critique may propose.", "2"),
    RunOption("max_principle_words", int, WORDS, "Words of one principle.", "32"),
    RunOption("prompt_form", str, WORDS, "What evolves.", "principles", ("principles", "text")),
    RunOption("max_prompt_words", int, WORDS, "Words of a whole prompt.", "none"),
    RunOption("sigma_growth", float, WORDS, "Added doubt about a child's rating.", "1.0"),
    RunOption("tie", float, WORDS, "Mean rewards this close are a draw.", "0.01"),
    RunOption("placement", str, WORDS, "Message that holds the principles.", "system", ("system", "user")),
    RunOption("dialect", str, WORDS, "Templates: a built-in name or a folder.", "the environment's"),
    RunOption("train_device", str, DEVICES, "Where weights are trained, e.g. cuda:1.", "none"),
    RunOption("gpu_memory_utilization", float, DEVICES, "Share of the memory that vllm takes.", "none"),
    RunOption("sleep", bool, DEVICES, "Let vllm free its memory while weights are trained, on one card.", "off"),
    RunOption("deterministic", bool, DEVICES, "Have vllm compute alike whatever it is batched with.", "off"),
    RunOption("tensor_parallel_size", int, DEVICES, "Devices over which vllm spreads every layer.", "1"),
    RunOption("pipeline_parallel_size", int, DEVICES, "Groups of devices, each with a stretch of vllm's layers.", "1"),
    RunOption("data_parallel_size", int, DEVICES, "Replicas of all that.", "1"),
    RunOption(
        "distributed_executor_backend",
        str,
        DEVICES,
        "What starts vllm's workers: processes of this machine, or Ray on a cluster",
        "mp",
        ("mp", "ray"),
    ),
    RunOption("stuck_after", float, DEVICES, "Seconds after which a rollout that does not move is named; 0: never.", "600"),
    RunOption(
        "base_url",
        str,
        ENDPOINTS,
        "Address of an OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1, or of a Tinker service.",
        "none",
    ),
    RunOption("api_key_env", str, ENDPOINTS, "Variable that holds the key.", "the variable OPENAI_API_KEY or TINKER_API_KEY"),
    RunOption("concurrency", int, ENDPOINTS, "Requests in flight.", "16"),
    RunOption("request_timeout", float, ENDPOINTS, "Seconds of one try.", "600"),
    RunOption("request_tries", int, ENDPOINTS, "Tries of a request before the run ends, to be resumed.", "8"),
    RunOption("shown", str, EVALUATION, "Prompt that stands for the method.", OWN, ("best", "newest")),
    RunOption("eval_every", int, EVALUATION, "Iterations between validations; 0: only at the end.", "10"),
    RunOption("test_every", int, EVALUATION, "Iterations between tests, which steer nothing; 0: only at the end.", "0"),
    RunOption("eval_samples", int, EVALUATION, "k: samples per item.", "4"),
    RunOption("checkpoint_every", int, EVALUATION, "Iterations between points a resume can start from.", "10"),
)


MAX_COST = typer.Option(
    "--max-cost",
    metavar="USD",
    help="End the run, to be resumed, when its endpoints have cost this. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
MAX_TOKENS_TOTAL = typer.Option(
    "--max-tokens-total",
    metavar="N",
    help="The same for tokens, prompts included. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
PRICES = typer.Option(
    "--prices",
    metavar="FILE",
    help="TOML file of prices that go before the packaged ones. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
SPENDING: Mapping[str, tuple[Any, Any]] = {
    "max_cost": (float | None, MAX_COST),
    "max_tokens_total": (int | None, MAX_TOKENS_TOTAL),
    "prices": (str | None, PRICES),
}
"""What a run, a comparison and a resume all take."""


def _named(kind: Any, flag: str, metavar: str, panel: str, help: str) -> tuple[Any, Any]:
    return kind, typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)


NAMED: Mapping[str, tuple[Any, Any]] = {
    "track": _named(
        str | None,
        "--track",
        "A,B",
        "Output",
        "Trackers that are told the run's numbers: tensorboard, wandb, trackio. A resume goes on with them. Default: none.",
    ),
    "preset": _named(
        str | None,
        "--preset",
        "NAME",
        "What runs",
        "Named hyper-parameters, which any other option overrides: paper or reference-code. Default: none.",
    ),
    "env_option": _named(
        list[str] | None,
        "--env-option",
        "KEY=VALUE",
        "What runs",
        "Option of the environment; may be repeated. The value is a JSON scalar, else text.",
    ),
    "data": _named(
        list[str] | None,
        "--data",
        "SPLIT=FILE",
        "What runs",
        "Problems of your own for an environment that takes them (jsonl); may be repeated.",
    ),
    "principle": _named(list[str] | None, "--principle", "TEXT", WORDS, "Principle of the root prompt; may be repeated. Default: none."),
    "root_prompt": _named(
        Path | None, "--root-prompt", "FILE", WORDS, "Text file with the root prompt, one principle a line. Default: none."
    ),
    "root_blocks": _named(
        Path | None,
        "--root-blocks",
        "FILE",
        WORDS,
        "Text file with the root prompt as free text, an empty line between two blocks. Default: none.",
    ),
}
"""Options that are read by a rule of their own, by name."""


def _retrieval(flag: str, metavar: str, help: str) -> tuple[Any, Any]:
    return _named(str | None, flag, metavar, "Retrieval", help)


RETRIEVAL: Mapping[str, tuple[Any, Any]] = {
    "retriever": _retrieval("--retriever", "NAME", "Of environments that search: bm25, http, ddgs or dense. Default: bm25."),
    "corpus": _retrieval("--corpus", "FILE", "Passages, for bm25 and dense: .jsonl or .parquet with id, title, text. Default: none."),
    "retriever_url": _retrieval("--retriever-url", "URL", "Of an http retriever. Default: none."),
    "embedder": _retrieval("--embedder", "NAME", "sentence-transformers model of dense. Default: none."),
    "retrieval_cache": _retrieval("--retrieval-cache", "MODE", "off, record or replay. Default: off, for ddgs record."),
}
"""Environment options with a flag of their own, by name."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The run options that were given."""

    values: Mapping[str, Scalar]
    """By field of RunConfig or Method; only those given."""
    env_options: tuple[str, ...]
    """``KEY=VALUE`` as typed."""
    principles: tuple[str, ...]
    """The root prompt's principles."""
    data: tuple[str, ...] = ()
    """``SPLIT=FILE`` as typed: files of the user's own, which become environment options named by the split."""
    preset: str | None = None
    track: str | None = None
    """Trackers, with commas between: no part of a run's configuration either."""
    spending: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    """The limits on what endpoints may be asked that were given, by parameter: no part of a run's configuration."""

    def budget(self) -> "Budget":
        """The limits. Raises UsageError for one that is not above zero."""
        return make_budget(self.spending)

    def trackers(self) -> tuple[str, ...]:
        """Their names. Raises UsageError for an unknown one, or one that is not installed."""
        if self.track is None:
            return ()
        from espl_bench.monitoring.trackers import choose  # not needed for --help

        return choose(self.track)

    def choices(self) -> dict[str, Any]:
        """As `config.resolve` takes them. Raises UsageError for an environment option without a value, or data of no split."""
        pairs = {**parse_pairs(self.env_options), **parse_data(self.data)}
        options = {"env_options": pairs} if pairs else {}
        principles = {"root_principles": self.principles} if self.principles else {}
        return {**self.values, **options, **principles}

    def arguments(self) -> list[str]:
        """The same options as they would be typed."""
        flags = {option.field: option.flag for option in RUN_OPTIONS}
        typed = [_typed(flags[field], value) for field, value in self.values.items()]
        pairs = [f"--env-option={pair}" for pair in self.env_options]
        files = [f"--data={pair}" for pair in self.data]
        preset = [f"--preset={self.preset}"] if self.preset is not None else []
        track = [f"--track={self.track}"] if self.track is not None else []
        return [*preset, *track, *typed, *pairs, *files, *(f"--principle={principle}" for principle in self.principles), *self.limits()]

    def limits(self) -> list[str]:
        """The limits alone, as they would be typed: a resume takes these too."""
        return [f"--{name.replace('_', '-')}={value}" for name, value in self.spending.items()]


def _typed(flag: str, value: Scalar) -> str:
    """One option as it would be typed."""
    return (flag if value else _negated(flag)) if isinstance(value, bool) else f"{flag}={value}"


def _negated(flag: str) -> str:
    return f"--no-{flag.removeprefix('--')}"


def make_budget(spending: Mapping[str, Any]) -> "Budget":
    """``max_cost``, ``max_tokens_total`` and ``prices`` as a budget. Raises UsageError for a limit that is not above zero."""
    from espl_bench.accounting.budget import Budget  # not needed for --help

    for name in ("max_cost", "max_tokens_total"):
        value = spending.get(name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0, not {value}")
    prices = spending.get("prices")
    return Budget(spending.get("max_cost"), spending.get("max_tokens_total"), Path(prices) if prices else None)


def takes_run_options(command: Command) -> Command:
    """Give a command, whose parameters are keyword-only, every run option as one `Chosen` in its parameter `chosen`.

    Typer reads a command's signature, so the options stand in the signature where `chosen` stood.
    """
    own = list(inspect.signature(command).parameters.values())
    place = [parameter.name for parameter in own].index(CHOSEN)
    parameters = [*own[:place], *map(_parameter, RUN_OPTIONS), *_others(), *own[place + 1 :]]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        pairs, files, preset = given.pop("env_option") or (), given.pop("data") or (), given.pop("preset")
        retrieval = [f"{name}={value}" for name in RETRIEVAL if (value := given.pop(name)) is not None]
        pairs = (*pairs, *retrieval)
        track = given.pop("track")
        principles = _root_principles(given.pop("principle") or (), given.pop("root_prompt"), given.pop("root_blocks"))
        values = {option.field: given.pop(option.field) for option in RUN_OPTIONS}
        spending = {name: value for name in SPENDING if (value := given.pop(name)) is not None}
        values = {name: value for name, value in values.items() if value is not None}
        chosen = Chosen(values, tuple(pairs), principles, tuple(files), preset, track, spending)
        check_choices(chosen.values)
        command(**given, chosen=chosen)

    wrapper.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]  # read by inspect
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper  # pyright: ignore[reportReturnType]  # the same command to whoever calls it by keyword


def check_choices(values: Mapping[str, Scalar]) -> None:
    """Raise UsageError, with the nearest choice, for a value that an option does not have."""
    for option in RUN_OPTIONS:
        value = values.get(option.field)
        if option.choices and isinstance(value, str) and value not in option.choices:
            raise unknown(f"{option.flag} value", value, option.choices)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Scalar]:
    """``world=7`` → {"world": 7}: a value is a JSON scalar if it reads as one, else text. Raises UsageError without "="."""
    parsed: dict[str, Scalar] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"--env-option takes KEY=VALUE, not '{pair}'")
        parsed[key] = _scalar(value)
    return parsed


def parse_data(pairs: Sequence[str]) -> dict[str, Scalar]:
    """``train=a.jsonl`` → {"train": "a.jsonl"}. Raises UsageError for what names no split, and for a split that is named twice."""
    parsed: dict[str, Scalar] = {}
    for pair in pairs:
        split, equals, file = pair.partition("=")
        if not file or not equals:
            raise UsageError(f"--data takes SPLIT=FILE, e.g. test=problems.jsonl, not '{pair}'")
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if split in parsed:
            raise UsageError(f"--data names two files for {split}; put the problems into one")
        parsed[split] = file
    return parsed


def _root_principles(principles: Sequence[str], file: Path | None, blocks: Path | None) -> tuple[str, ...]:
    """The root prompt, from the command line or from a file. Raises UsageError for more than one of these."""
    named = {"--principle": principles, "--root-prompt": file, "--root-blocks": blocks}
    given = [flag for flag, value in named.items() if value]
    if len(given) > 1:
        raise UsageError(f"{given[1]} and {given[0]} both name the root prompt; give one of them")
    if file is None and blocks is None:
        return tuple(principles)
    from espl_bench.prompts.root_prompt import read_blocks, read_principles  # not needed for --help

    return read_principles(file) if file is not None else read_blocks(blocks or Path())


def _scalar(text: str) -> Scalar:
    try:
        value = json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _parameter(option: RunOption) -> inspect.Parameter:
    info = typer.Option(
        f"{option.flag}/{_negated(option.flag)}" if option.kind is bool else option.flag,
        help=f"{_with_choices(option)} Default: {option.default}.",
        rich_help_panel=option.panel,
        show_default=False,
        metavar="NAME" if option.choices else {str: "TEXT", int: "N", float: "X", bool: None}[option.kind],
    )
    kind = option.kind | None
    return inspect.Parameter(option.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])


def _with_choices(option: RunOption) -> str:
    """E.g. ``Policy-gradient loss: importance_sampling, ppo or cispo.``, the choices behind the help."""
    if len(option.choices) < 2:
        return option.help
    return f"{option.help.rstrip('.')}: {', '.join(option.choices[:-1])} or {option.choices[-1]}."


def _others() -> list[inspect.Parameter]:
    """The options that are no single field of a run."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])
        for name, (kind, info) in {**NAMED, **RETRIEVAL, **SPENDING}.items()
    ]
