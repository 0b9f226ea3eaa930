"""What a run with a configuration would connect to, and which variable of the environment it would send there."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from espl_bench.config.run_config import RunConfig
from espl_bench.engines.model_source import ModelSource

ENDPOINT_KEY: Final = "OPENAI_API_KEY"
SERVICE_KEY: Final = "TINKER_API_KEY"
"""Variables that hold the key unless a configuration names another."""
WEB: Final = "ddgs"
"""Name of the retriever that searches the live web."""
_PLACES: Final = re.compile(r"(^|_)(url|uri|host|endpoint|address|server|base)$")
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*$")
_COMMANDS: Final = re.compile(r"(^|_)(command|cmd|mcp)$")
"""Options that name a program to run, as a command line or as a list."""
_KEYS: Final = re.compile(r"(key|token|secret|password|credential)s?(_env|_var|_variable|_name)$|^env_(key|token)")


@dataclass(frozen=True, slots=True)
class Contact:
    """A place that a run connects to."""

    place: str
    """Address, or the name of a service; what a user confirms."""
    role: str
    """What is there, for a message."""
    key: str | None = None
    """Variable whose value is sent there, if it is set; None: nothing secret."""
    is_program: bool = False
    """True if the place is a command that is run here."""

    def __str__(self) -> str:
        """Describe it: ``the model m at http://x/v1, which gets the key in OPENAI_API_KEY``."""
        sends = f", which gets the key in {self.key}" if self.key else ""
        return f"{self.role} {'by running' if self.is_program else 'at'} {self.place}{sends}"


def contacts_of(config: RunConfig) -> tuple[Contact, ...]:
    """Return every contact of a run, without its trackers; empty for one that stays on this machine."""
    editor = config.editor_source
    found = [*_of_source(config.policy_source, "the model"), *(_of_source(editor, "the editor") if editor else ())]
    return tuple(dict.fromkeys([*found, *contacts_of_environment(config)]))


def _of_source(source: ModelSource, role: str) -> Iterator[Contact]:
    if source.is_remote:
        usual = SERVICE_KEY if source.is_service else ENDPOINT_KEY
        yield Contact(source.base_url or source.engine, f"{role} {source.model}", source.api_key_env or usual)


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts among the options, those in lists and objects too, with their names: ``server_url`` for url in server.

    Options that stand behind a question mark, as in ``nq?retriever=ddgs``, are texts of their own.
    """
    if isinstance(value, str) and value:
        yield name, value
        yield from parse_qsl(value.partition("?")[2])
    elif isinstance(value, Mapping):
        for key, each in cast(Mapping[str, Any], value).items():
            yield from _texts(each, f"{name}_{key}" if name else key)
    elif isinstance(value, list | tuple) and _COMMANDS.search(name):
        yield name, shlex.join(map(str, cast(Sequence[object], value)))
    elif isinstance(value, list | tuple):
        for each in cast(Sequence[Any], value):
            yield from _texts(each, name)


def contacts_of_environment(config: RunConfig) -> Iterator[Contact]:
    """Take every option of the environment that looks like an address, a program to run, or the name of a variable with a key."""
    for name, value in _texts(config.env_options):
        if _COMMANDS.search(name) and not _ADDRESS.match(value):
            yield Contact(value, f"the environment's {name}", is_program=True)
        elif "://" in value or _PLACES.search(name):
            yield Contact(value, f"the environment's {name}")
        elif name == "retriever" and value == WEB:
            yield Contact(WEB, "the web search")
        elif _KEYS.search(name):
            yield Contact(config.env, f"the environment's {name}", value)
