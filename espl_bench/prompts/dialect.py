"""Dialects: how prompts and reflections are worded for one kind of model.

A dialect is a folder of Jinja templates, one per message the harness ever writes. The policy's prompt is rendered by one function,
`Dialect.prompt_messages`, in training and in evaluation alike, so that no method is tested on a format it was not trained on. Templates
only decide wording; the loop and the operators decide content.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateNotFound, TemplateSyntaxError
from jinja2 import TemplateError as JinjaError
from jinja2.loaders import FileSystemLoader
from jinja2.meta import find_referenced_templates
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from espl_bench.errors import TemplateError, UsageError
from espl_bench.prompts.root_prompt import read_principles
from espl_bench.registry import DIALECTS, find
from espl_bench.tools.markers import neutralise_common
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Message
from espl_bench.utils.bounded_templates import TemplateLimitError, bounded
from espl_bench.utils.bounded_templates import render as rendered

BUILT_IN = Path(__file__).parent / "templates"
COMPACT, FULL, SEARCH, SHORT = (BUILT_IN / name for name in ("compact", "full", "search", "short"))
"""The registered dialects; an entry point of `espl_bench.dialects` names a folder."""
IRRELEVANT = "irrelevant.txt"
"""File with one principle per line; only a control needs it."""
REMEDY = "compare it with the built-in dialects"
_BACKTICKS = re.compile("`+")


Harmless = Callable[[str], str]
"""Neutralises the markers of a chat format in a text (`Chat.harmless`)."""


class Placement(StrEnum):
    """Message that holds the principles. The paper says system; its reference code puts them into the user message."""

    SYSTEM = "system"
    USER = "user"


class TemplateName(StrEnum):
    """The messages that every dialect must word."""

    SYSTEM = "system"
    PROBLEM = "problem"
    SUMMARY = "summary"
    CRITIQUE = "critique"
    AGGREGATE = "aggregate"
    CROSSOVER = "crossover"


def fenced(text: str) -> str:
    """Put a foreign text between two fences that it cannot close, because they are longer than any run of backticks in it.

    A filter of every template: ``{{ question | fenced }}``. The text itself is unchanged.
    """
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def passed(value: object, harmless: Harmless) -> object:
    """Return a template's value with every text in it neutralised, in lists and records too. Tools are the environment's own words."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list | tuple):
        return [passed(item, harmless) for item in cast(Sequence[object], value)]
    if is_dataclass(value) and not isinstance(value, type | ToolSpec):
        return replace(value, **{each.name: passed(getattr(value, each.name), harmless) for each in fields(value)})
    return value


@dataclass(frozen=True)
class Dialect:
    """A folder of templates. `Dialect.load("compact")`, or the path of a folder of your own."""

    folder: Path
    tools: tuple[ToolSpec, ...] = ()
    """Tools to describe to the policy in words; empty if its chat format describes them."""

    @classmethod
    def load(cls, name: str) -> "Dialect":
        """Load a registered dialect by name, or a folder that holds every template. Raises UsageError or TemplateError."""
        folder = Path(name) if "/" in name else Path(find(DIALECTS, name))
        if not folder.is_dir():
            raise UsageError(f"unknown dialect '{name}': no folder {folder}; name a registered dialect or a folder of templates")
        for template in TemplateName:
            if not (folder / f"{template}.jinja").is_file():
                raise TemplateError(f"{folder / template}.jinja is missing; a dialect needs every template of {BUILT_IN / 'compact'}")
        dialect = cls(folder)
        for template in TemplateName:
            dialect.compiled(template)
        return dialect

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        loader = FileSystemLoader(self.folder)
        environment = ImmutableSandboxedEnvironment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        cast(Any, environment).filters["fenced"] = fenced
        return bounded(environment)

    def render(self, template: TemplateName, *, harmless: Harmless = neutralise_common, **context: object) -> str:
        """Render one message from values whose texts `harmless` has passed. Raises TemplateError naming the file."""
        compiled = self.compiled(template)
        try:
            return rendered(compiled, {name: passed(value, harmless) for name, value in context.items()}).strip()
        except TemplateLimitError as error:
            raise TemplateError(f"{self._file(template)} does not end: {error}; {REMEDY}") from error
        except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError) as error:  # errors that an expression can raise
            raise TemplateError(f"{self._file(template)} does not render: {error}; {REMEDY}") from error

    def compiled(self, template: TemplateName) -> Template:
        """Compile a template, checking its syntax. Raises TemplateError naming the file and the line."""
        file = self._file(template)
        try:
            return self._environment.get_template(file.name)
        except TemplateNotFound as error:
            raise TemplateError(f"{file} is missing; restore it or choose another dialect") from error
        except TemplateSyntaxError as error:
            raise TemplateError(f"{file}:{error.lineno} is not a template: {error}; {REMEDY}") from error
        except UnicodeDecodeError as error:
            raise TemplateError(f"{file} is not UTF-8 text; {REMEDY}") from error
        except (RecursionError, MemoryError, SyntaxError) as error:  # of the parsers, for a template that nests too deep
            raise TemplateError(f"{file} nests too deep; {REMEDY}") from error

    def _file(self, template: TemplateName) -> Path:
        return self.folder / f"{template}.jinja"

    @cached_property
    def _irrelevant(self) -> tuple[str, ...]:
        return read_principles(self.folder / IRRELEVANT)

    def irrelevant(self) -> tuple[str, ...]:
        """Return principles that are unrelated to any task. Raises UsageError without the file."""
        return self._irrelevant

    def identity(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file that may be rendered, by name: the templates, what they include, and `IRRELEVANT`.

        Raises TemplateError as `compiled`.
        """
        found: dict[str, str] = {}
        waiting = [*(self._file(template).name for template in TemplateName), IRRELEVANT]
        while waiting:
            name = waiting.pop()
            path = self.folder / name
            if name in found or not path.is_file():
                continue
            content = path.read_bytes()
            found[name] = hashlib.sha256(content).hexdigest()
            if name != IRRELEVANT:
                waiting.extend(self._included(name, content))
        return found

    def _included(self, name: str, content: bytes) -> list[str]:
        """Return the names of the files that one includes; all of the folder if it computes a name."""
        try:
            named = list(find_referenced_templates(self._environment.parse(content.decode())))
        except (TemplateSyntaxError, UnicodeDecodeError) as error:
            raise TemplateError(f"{self.folder / name} is not a template: {error}; {REMEDY}") from error
        if None not in named:
            return [each for each in named if each is not None]
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]

    def prompt_messages(
        self, principles: Sequence[str], question: str, placement: Placement, harmless: Harmless = neutralise_common
    ) -> tuple[Message, ...]:
        """Render one problem under one system prompt, as the policy sees it in training, validation and test.

        `harmless` is that of the policy's chat.
        """
        system = self.render(TemplateName.SYSTEM, harmless=harmless, principles=principles, tools=self.tools)
        problem = self.render(TemplateName.PROBLEM, harmless=harmless, question=question)
        if placement is Placement.USER:
            return (Message("user", f"{system}\n\n{problem}"),)
        return (Message("system", system), Message("user", problem))

    def reflection_messages(
        self, template: TemplateName, context: Mapping[str, object], harmless: Harmless = neutralise_common
    ) -> tuple[Message, ...]:
        """Render one request to the editor, as a single user message; `harmless` is that of the editor's chat."""
        return (Message("user", self.render(template, harmless=harmless, **context)),)
