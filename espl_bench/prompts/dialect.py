"""Dialects: how prompts and reflections are worded for one kind of model.

A dialect is a folder of Jinja templates, one per message the harness ever writes. The policy's prompt is rendered by one function,
`Dialect.prompt_messages`, in training and in evaluation alike, so that no method is tested on a format it was not trained on. Templates
only decide wording; the loop and the operators decide content.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateNotFound, TemplateSyntaxError
from jinja2 import TemplateError as JinjaError
from jinja2.loaders import FunctionLoader, split_template_path
from jinja2.meta import find_referenced_templates
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from espl_bench.environment.text_env import USUAL_WORDING, Wording
from espl_bench.errors import TemplateError, UsageError, reading
from espl_bench.prompts.root_prompt import principles_of
from espl_bench.registry import DIALECTS, find, names, require
from espl_bench.tools.markers import neutralise_common
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Message
from espl_bench.utils import foreign_files
from espl_bench.utils.bounded_templates import TemplateLimitError, bounded
from espl_bench.utils.bounded_templates import render as rendered
from espl_bench.utils.named_files import read_named

BUILT_IN = Path(__file__).parent / "templates"
COMPACT, FULL, SEARCH, SHORT, TASK = (BUILT_IN / name for name in ("compact", "full", "search", "short", "task"))
"""The registered dialects; an entry point of `espl_bench.dialects` names a folder."""
IRRELEVANT = "irrelevant.txt"
"""File with one principle per line; only a control needs it."""
EXTENDS = "extends.txt"
"""File that names the registered dialect from which a folder takes the files that it does not hold."""
REMEDY = "compare it with the built-in dialects"
LARGEST = 2**24
"""Most bytes of a file of a dialect."""
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


def _stamp(path: Path) -> int | None:
    there = foreign_files.status(path)
    return None if there is None else there.st_mtime_ns


@dataclass(frozen=True)
class Dialect:
    """A folder of templates. `Dialect.load("compact")`, or the path of a folder of your own."""

    folder: Path
    installed: bool = False
    """True for the dialect of a package, whose files an installer may have linked. In any other folder no link is followed: what it leads
    to would be sent to a model."""
    tools: tuple[ToolSpec, ...] = ()
    """Tools to describe to the policy in words; empty if its chat format describes them."""
    wording: Wording = USUAL_WORDING
    """The environment's own words."""
    heirs: tuple[Path, ...] = ()
    """Folders for which this dialect is looked into."""

    @classmethod
    def load(cls, name: str) -> "Dialect":
        """Load a registered dialect by name, or a folder of templates; what it lacks comes from the dialect that it extends.

        Raises UsageError or TemplateError.
        """
        installed = "/" not in name
        folder = Path(find(DIALECTS, name)) if installed else Path(name)
        if not folder.is_dir():
            raise UsageError(f"unknown dialect '{name}': no folder {folder}; name a registered dialect or a folder of templates")
        with reading(folder, "name a folder of templates", UsageError):
            held = foreign_files.names(folder)
        dialect = cls(folder, installed)
        for template in TemplateName:
            if f"{template}.jinja" not in held and dialect.base is None:
                remedy = f"write it, or name in {EXTENDS} the dialect that it is taken from, e.g. full"
                raise TemplateError(f"{folder / template}.jinja is missing; {remedy}")
            dialect.compiled(template)
        return dialect

    @cached_property
    def base(self) -> "Dialect | None":
        """The dialect that this one extends. Raises UsageError if there is none of that name, TemplateError if it extends this one."""
        try:
            content = self._read_own(EXTENDS)
        except JinjaError as error:
            raise TemplateError(f"{error}; {REMEDY}") from error
        return None if content is None else self._named(content.decode(errors="replace").strip())

    def _named(self, name: str) -> "Dialect":
        """Find a registered dialect to inherit from. A folder that is extended by what it extends would be searched without end."""
        require(DIALECTS, name)
        folder = Path(find(DIALECTS, name))
        if self.installed and folder in (self.folder, *self.heirs):
            raise TemplateError(f"{self.folder / EXTENDS} names '{name}', which extends it in turn; name another dialect")
        return Dialect(folder, installed=True, heirs=(*self.heirs, self.folder))

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        loader = FunctionLoader(self._source)
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
        except JinjaError as error:
            raise TemplateError(f"{error}; {REMEDY}") from error

    def _source(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        """Return a template's text, its file and whether that is still the same, as jinja2 asks; None if there is none.

        Raises UnicodeDecodeError, and JinjaError for what is not read.
        """
        holder, own_name = self._holder(name)
        path = holder.folder.joinpath(*split_template_path(own_name))
        stamp, content = _stamp(path), holder._read_own(own_name)
        return None if content is None else (content.decode(), str(path), lambda: _stamp(path) == stamp)

    def _read(self, name: str) -> bytes | None:
        """Read a file of the folder or of the dialect it extends; None if there is none. Raises as `_read_own`."""
        holder, own_name = self._holder(name)
        return holder._read_own(own_name)

    def _holder(self, name: str) -> "tuple[Dialect, str]":
        """Return the dialect that holds a file, and its name there: ``full/problem.jinja`` is that of the dialect full."""
        if self._read_own(name) is not None:
            return self, name
        named, _, rest = name.partition("/")
        if rest and named in names(DIALECTS):
            return self._named(named)._holder(rest)
        return (self, name) if self.base is None else self.base._holder(name)

    def _read_own(self, name: str) -> bytes | None:
        """Read a file of the folder or below; None if there is none. Raises JinjaError unless it is a regular file of a bounded size."""
        path = self.folder.joinpath(*split_template_path(name))
        try:
            return read_named(path, LARGEST) if self.installed else foreign_files.read_bytes(path, self.folder, LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise JinjaError(f"{path} is not read ({error.strerror or error})") from error

    def _file(self, template: TemplateName) -> Path:
        return self.folder / f"{template}.jinja"

    @cached_property
    def _irrelevant(self) -> tuple[str, ...]:
        file = self.folder / IRRELEVANT
        if (content := self._file_content(IRRELEVANT)) is None:
            raise UsageError(f"{file} is missing; write irrelevant principles into it, one a line")
        return principles_of(content, file)

    def irrelevant(self) -> tuple[str, ...]:
        """Return principles that are unrelated to any task. Raises UsageError without the file."""
        return self._irrelevant

    def identity(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file that may be rendered, by name: the templates, what they include, and `IRRELEVANT`.

        An environment's own wording is hashed beside them.

        Raises TemplateError as `compiled`.
        """
        found: dict[str, str] = {}
        waiting = [*(self._file(template).name for template in TemplateName), IRRELEVANT]
        while waiting:
            name = waiting.pop()
            content = None if name in found else self._file_content(name)
            if content is None:
                continue
            found[name] = hashlib.sha256(content).hexdigest()
            if name != IRRELEVANT:
                waiting.extend(self._included(name, content))
        if self.wording != USUAL_WORDING:
            found["wording"] = hashlib.sha256(json.dumps(asdict(self.wording)).encode()).hexdigest()
        return found

    def _file_content(self, name: str) -> bytes | None:
        try:
            return self._read(name)
        except TemplateNotFound:  # a name outside, which is not rendered either
            return None
        except JinjaError as error:
            raise TemplateError(f"{error}; {REMEDY}") from error

    def _included(self, name: str, content: bytes) -> list[str]:
        """Return the names of the files that one includes; all of the folder if it computes a name."""
        try:
            named = list(find_referenced_templates(self._environment.parse(content.decode())))
        except (TemplateSyntaxError, UnicodeDecodeError) as error:
            raise TemplateError(f"{self.folder / name} is not a template: {error}; {REMEDY}") from error
        if None not in named:
            return [each for each in named if each is not None]
        return [path.relative_to(self.folder).as_posix() for path in foreign_files.files_below(self.folder)]

    def prompt_messages(
        self, principles: Sequence[str], question: str, placement: Placement, harmless: Harmless = neutralise_common
    ) -> tuple[Message, ...]:
        """Render one problem under one system prompt, as the policy sees it in training, validation and test.

        `harmless` is that of the policy's chat.
        """
        words = asdict(self.wording)
        system = self.render(TemplateName.SYSTEM, harmless=harmless, principles=principles, tools=self.tools, **words)
        problem = self.render(TemplateName.PROBLEM, harmless=harmless, question=question, **words)
        if placement is Placement.USER:
            return (Message("user", f"{system}\n\n{problem}"),)
        return (Message("system", system), Message("user", problem))

    def reflection_messages(
        self, template: TemplateName, context: Mapping[str, object], harmless: Harmless = neutralise_common
    ) -> tuple[Message, ...]:
        """Render one request to the editor, as a single user message; `harmless` is that of the editor's chat."""
        return (Message("user", self.render(template, harmless=harmless, **context)),)
