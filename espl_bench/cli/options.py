"""The options that make up a run, shared by `run` and `compare`.

Those that set one field come from a table that is generated from the configuration (options_table.py), so that `--help` does not import
it. Their default is None: not given, so that the environment's value, a preset's or the configuration's holds.
"""

import copy
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from espl_bench.cli.completion import of_option
from espl_bench.cli.config_file import CONFIG, META, ConfigFile
from espl_bench.cli.number_or_word import number_or
from espl_bench.cli.options_table import RUN_OPTIONS
from espl_bench.cli.run_option import RunOption, flag_of
from espl_bench.cli.shared_options import ENDPOINTS, MAX_COST, MAX_TOKENS_TOTAL, PRICES, ContactOption, SendKeyOption
from espl_bench.errors import UsageError, unknown
from espl_bench.registry import require

if TYPE_CHECKING:
    from espl_bench.accounting.cost_tracker import Budget

Scalar = str | int | float | bool | None
Function = TypeVar("Function", bound=Callable[..., None])

CHOSEN = "chosen"
"""The parameter through which a command gets the run options that were given."""
CONTEXT = "context"
"""The parameter through which Typer gives the context, which holds the file of options."""


WHAT_RUNS = "What runs"
WORDS = "Learning words"
OUTPUT = "Output"


SPENDING: Mapping[str, tuple[Any, Any]] = {
    "max_cost": (float | None, MAX_COST),
    "max_tokens_total": (int | None, MAX_TOKENS_TOTAL),
    "prices": (str | None, PRICES),
}
"""What a run, a comparison and a resume all take."""


def _named(kind: Any, flag: str, metavar: str, panel: str, help: str) -> tuple[Any, Any]:
    return kind, typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)


NAMED: Mapping[str, tuple[Any, Any]] = {
    "config": _named(
        Path | None,
        "--config",
        "FILE",
        WHAT_RUNS,
        "TOML file of options, named as here without the dashes in front; what is typed goes before it. Default: none.",
    ),
    "track": _named(
        str | None,
        "--track",
        "A,B",
        OUTPUT,
        "Trackers that are told the run's numbers: tensorboard, wandb, trackio. A resume goes on with them. Default: none.",
    ),
    "preset": _named(
        str | None,
        "--preset",
        "NAME",
        WHAT_RUNS,
        "Named hyper-parameters, which any other option overrides: paper or reference-code. Default: none.",
    ),
    "env_option": _named(
        list[str] | None,
        "--env-option",
        "KEY=VALUE",
        WHAT_RUNS,
        "Option of the environment; may be repeated. The value is a JSON scalar, else text.",
    ),
    "data": _named(
        list[str] | None,
        "--data",
        "SPLIT=FILE",
        WHAT_RUNS,
        "Problems of your own for an environment that takes them (jsonl, qa, mcp-qa): a file, a pattern or a folder; may be repeated.",
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


def _at_endpoints(option: Any) -> tuple[Any, Any]:
    kind, info = get_args(option)
    shown = copy.copy(info)
    shown.rich_help_panel = ENDPOINTS
    return kind, shown


CONFIRMED: Mapping[str, tuple[Any, Any]] = {"contact": _at_endpoints(ContactOption), "send_key": _at_endpoints(SendKeyOption)}
"""What may be used although only a file names it."""


def _retrieval(flag: str, metavar: str, help: str) -> tuple[Any, Any]:
    return _named(str | None, flag, metavar, "Retrieval", help)


RETRIEVAL: Mapping[str, tuple[Any, Any]] = {
    "retriever": _retrieval("--retriever", "NAME", "Of environments that search: bm25, http, ddgs or dense. Default: bm25."),
    "corpus": _retrieval("--corpus", "FILE", "Passages: .jsonl or .parquet with id, title, text. Default: the environment's."),
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
    file: ConfigFile | None = None
    """The file that some of them were read from."""
    confirmed: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Addresses, and variables with keys, that may be used although only the file names them."""

    def budget(self) -> "Budget":
        """Return the spending limits. Raises UsageError for one that is not above zero."""
        return make_budget(self.spending)

    def trackers(self) -> tuple[str, ...]:
        """Return the trackers' names. Raises UsageError for an unknown one, or one that is not installed."""
        if self.track is None:
            return ()
        from espl_bench.monitoring.trackers import choose  # not needed for --help

        return choose(self.track)

    def choices(self) -> dict[str, Any]:
        """Return the choices for `config.resolve`.

        Raises UsageError for an environment option without a value, or an unknown data split.
        """
        pairs = {**parse_pairs(self.env_options), **parse_data(self.data)}
        options = {"env_options": pairs} if pairs else {}
        principles = {"root_principles": self.principles} if self.principles else {}
        return {**self.values, **options, **principles}

    def arguments(self) -> list[str]:
        """Return the same options as command-line arguments."""
        typed = [_typed(flag_of(field), value) for field, value in self.values.items()]
        pairs = [f"--env-option={pair}" for pair in self.env_options]
        files = [f"--data={pair}" for pair in self.data]
        preset = [f"--preset={self.preset}"] if self.preset is not None else []
        track = [f"--track={self.track}"] if self.track is not None else []
        return [*preset, *track, *typed, *pairs, *files, *(f"--principle={principle}" for principle in self.principles), *self.limits()]

    def limits(self) -> list[str]:
        """Return the spending limits alone as command-line arguments: a resume takes these too."""
        return [f"{flag_of(name)}={value}" for name, value in self.spending.items()]


def _typed(flag: str, value: Scalar) -> str:
    """Format one option as a command-line argument."""
    return (flag if value else _negated(flag)) if isinstance(value, bool) else f"{flag}={value}"


def _negated(flag: str) -> str:
    return f"--no-{flag.removeprefix('--')}"


def make_budget(spending: Mapping[str, Any]) -> "Budget":
    """``max_cost``, ``max_tokens_total`` and ``prices`` as a budget. Raises UsageError for a limit that is not above zero."""
    from espl_bench.accounting.cost_tracker import Budget  # not needed for --help

    for name in ("max_cost", "max_tokens_total"):
        value = spending.get(name)
        if value is not None and not value > 0:
            raise UsageError(f"{flag_of(name)} must be above 0, not {value}")
    prices = spending.get("prices")
    if prices == "":
        raise UsageError("--prices is empty; name a file, or leave it out")
    return Budget(spending.get("max_cost"), spending.get("max_tokens_total"), Path(prices).expanduser() if prices else None)


def takes_run_options(command: Function) -> Function:
    """Give a command, whose parameters are keyword-only, every run option as one `Chosen` in its parameter `chosen`.

    Typer reads a command's signature, so the options stand in the signature where `chosen` stood.
    """
    own = list(inspect.signature(command).parameters.values())
    index = [parameter.name for parameter in own].index(CHOSEN)
    parameters = [*own[:index], *map(_parameter, RUN_OPTIONS), *_others(), *own[index + 1 :]]

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
        confirmed = tuple(given.pop("contact") or ()), tuple(given.pop("send_key") or ())
        file = given.pop(CONTEXT).meta.get(META)
        del given[CONFIG]
        chosen = Chosen(values, tuple(pairs), principles, tuple(files), preset, track, spending, file, confirmed)
        check_choices(chosen.values)
        command(**given, chosen=chosen)

    parameters.append(inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
    wrapper.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]  # read by inspect
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper  # pyright: ignore[reportReturnType]  # the same command to whoever calls it by keyword


def check_choices(values: Mapping[str, Scalar]) -> None:
    """Raise UsageError, with the nearest choice, for a value that an option does not have."""
    for option in RUN_OPTIONS:
        value = values.get(option.field)
        if option.choices and isinstance(value, str) and value not in option.choices:
            raise unknown(f"{option.flag} value", value, option.choices)
        if option.seam and isinstance(value, str):
            require(option.seam, value)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """``world=7`` → {"world": 7}: a value is JSON if it reads as such, else text.

    Raises UsageError without "=", and for a list or an object in JSON that is none.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"--env-option takes KEY=VALUE, not '{pair}'")
        parsed[key] = _json_or_text(key, value)
    return parsed


def parse_data(pairs: Sequence[str]) -> dict[str, Scalar]:
    """``train=a.jsonl`` → {"train": "a.jsonl"}. Raises UsageError for what names no split, and for a split that is named twice."""
    from espl_bench.types import Split  # here, because help is shown without it

    splits = tuple(split.value for split in Split)
    parsed: dict[str, Scalar] = {}
    for pair in pairs:
        split, equals, file = pair.partition("=")
        if not file or not equals:
            raise UsageError(f"--data takes SPLIT=FILE, e.g. test=problems.jsonl, not '{pair}'")
        if split not in splits:
            raise unknown("split", split, splits)
        if split in parsed:
            raise UsageError(f"--data names two files for {split}; put them into a folder, or name a pattern: {split}='FOLDER/*.jsonl'")
        parsed[split] = file
    return parsed


def _root_principles(principles: Sequence[str], file: Path | None, blocks: Path | None) -> tuple[str, ...]:
    """Return the root prompt, from the command line or from a file. Raises UsageError for more than one source."""
    named = {"--principle": principles, "--root-prompt": file, "--root-blocks": blocks}
    given = [flag for flag, value in named.items() if value]
    if len(given) > 1:
        raise UsageError(f"{given[1]} and {given[0]} both name the root prompt; give one of them")
    if file is None and blocks is None:
        return tuple(principles)
    from espl_bench.prompts.root_prompt import read_blocks, read_principles  # not needed for --help

    return read_principles(file) if file is not None else read_blocks(blocks or Path())


def _json_or_text(key: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except RecursionError as error:
        raise UsageError(f"--env-option {key} nests too deep to be read") from error
    except ValueError as error:
        if text.startswith(('{"', "[{", '["')):
            raise UsageError(f"--env-option {key} begins as JSON and is none ({error}); mend it, and put it in single quotes") from error
        return text


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _parameter(option: RunOption) -> inspect.Parameter:
    names = [option.flag, *([flag_of(option.formerly)] if option.formerly else [])]
    info = typer.Option(
        *([f"{name}/{_negated(name)}" for name in names] if option.kind is bool else names),
        help=f"{option.help} Default: {option.default}.",
        rich_help_panel=option.panel,
        show_default=False,
        metavar="NAME" if option.choices else {str: "TEXT", int: "N", float: "X", bool: None}[option.kind],
        parser=number_or(option.word) if option.word else None,
        autocompletion=of_option(option),
    )
    kind = option.kind | None
    return inspect.Parameter(option.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])


def _others() -> list[inspect.Parameter]:
    """Return the options that do not set a single field of a run."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])
        for name, (kind, info) in {**NAMED, **RETRIEVAL, **SPENDING, **CONFIRMED}.items()
    ]
