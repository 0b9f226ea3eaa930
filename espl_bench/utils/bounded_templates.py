"""Render templates that somebody else wrote: jinja2's sandbox, with bounds on steps, output, CPU time and the size of any value.

The sandbox keeps a template away from Python; it does not keep it from looping, doubling a text or computing ``9 ** 9 ** 9``. So the code
that jinja2 generates counts: each block of statements that is entered is a step, and each character that is written counts once more,
inside macros too. Operators, filters and methods that can make a large value from small ones are asked beforehand.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import wraps
from typing import Any, Final, TypeVar, cast

from jinja2 import Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

MAX_SOURCE: Final = 1_000_000
"""Maximum characters of a template."""
MAX_STEPS: Final = 100_000
"""Maximum blocks of statements entered in one rendering."""
MAX_CHARS: Final = 16 * 2**20
"""Maximum characters written in one rendering, and of any text on the way; also the items of any list."""
MAX_NUMBER: Final = 100_000
"""Largest number that a filter or method takes as an argument: widths and counts."""
MAX_BITS: Final = 4_096
"""Largest whole number that is computed."""
MAX_CPU_S: Final = 20.0
"""CPU seconds of one rendering: a last resort, far above what `MAX_STEPS` ordinary steps take."""

_STEPS_PER_LOOK: Final = 64
_DIGITS: Final = re.compile(r"\d+")

Result = TypeVar("Result")


class TemplateLimitError(TemplateRuntimeError):
    """A template does more than a template for prompts needs."""


class _Meter(threading.local):
    """What the rendering in progress on this thread has used."""

    steps = 0
    chars = 0
    deadline = float("inf")


class _CountingGenerator(CodeGenerator):
    """Generates code that reports every block of statements it enters."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """Report the step and the characters of the block's own text first."""
        statements = list(nodes)
        self.writeline(f"environment.spend({sum(map(_own_chars, statements))})")
        super().blockvisit(statements, frame)

    def _output_child_to_const(self, node: nodes.Expr, *arguments: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Leave every expression to the rendering, where it is counted."""
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, *arguments)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        """Count the items that a loop's condition leaves out."""
        if node.test is not None:
            counted = nodes.Call(nodes.EnvironmentAttribute("passes"), [], [], None, None)
            node.test = nodes.And(counted, node.test, lineno=node.lineno)
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """Bound the size of the joined text."""
        self.write("environment.sized(")
        super().visit_Concat(node, frame)
        self.write(")")


def _own_chars(node: nodes.Node) -> int:
    parts = node.nodes if isinstance(node, nodes.Output) else []
    return sum(len(part.data) for part in parts if isinstance(part, nodes.TemplateData))


class _Bounds(SandboxedEnvironment):
    """Mixed into a sandbox by `bounded`."""

    code_generator_class = _CountingGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    meter: _Meter

    def spend(self, chars: int = 0) -> None:
        """Count a step and characters. Raises TemplateLimitError."""
        meter = self.meter
        meter.steps += 1
        meter.chars += chars
        if meter.steps > MAX_STEPS:
            raise TemplateLimitError(f"it takes more than {MAX_STEPS:,} steps")
        if meter.chars > MAX_CHARS:
            raise TemplateLimitError(f"it writes more than {MAX_CHARS:,} characters")
        if meter.steps % _STEPS_PER_LOOK == 0 and time.thread_time() > meter.deadline:
            raise TemplateLimitError(f"it takes more than {MAX_CPU_S:g} s")

    def written(self, value: object) -> object:
        """Count what an expression writes, and return it."""
        text = value if isinstance(value, str) else str(value)
        self.spend(len(text))
        return text

    def passes(self) -> bool:
        """Count a step, and return True."""
        self.spend()
        return True

    def sized(self, value: Result) -> Result:
        """Return a value that is not too large."""
        if isinstance(value, Sized) and not isinstance(value, range) and len(value) > MAX_CHARS:
            raise TemplateLimitError(f"it makes a value of more than {MAX_CHARS:,} characters or items")
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute what stays small."""
        _check_operands(operator, left, right)
        return self.sized(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # jinja2's own signature
        """Call with arguments that are not too large, for a result that is not."""
        owner: object = getattr(__obj, "__self__", None)
        _check_arguments(str(getattr(__obj, "__name__", "")), owner, (*args, *kwargs.values()))
        return __self.sized(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Look at the widths of a text that formats."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_widths(value.__self__)
        return wrapped


def bounded(environment: SandboxedEnvironment) -> SandboxedEnvironment:
    """Return a copy of a sandbox whose templates, rendered by `render`, are bounded."""
    copied = environment.overlay(optimized=False)
    copied.__class__ = type("BoundedEnvironment", (_Bounds, type(environment)), {})
    ours = cast(_Bounds, copied)
    ours.meter = _Meter()
    ours.finalize = ours.written
    given: Any = environment
    ours.filters = {name: _guarded(name, each, ours) for name, each in given.filters.items()}
    ours.globals = {name: value for name, value in given.globals.items() if name != "lipsum"}
    return ours


def compiled(environment: SandboxedEnvironment, source: str) -> Template:
    """Compile a text in an environment of `bounded`. Raises jinja2's errors, and TemplateLimitError for one that nests too deep."""
    if len(source) > MAX_SOURCE:
        raise TemplateLimitError(f"it has {len(source):,} characters, more than {MAX_SOURCE:,}")
    try:
        return environment.from_string(source)
    except (RecursionError, MemoryError, SyntaxError) as error:  # of jinja2's parser, or of Python's for the code that jinja2 generates
        raise TemplateLimitError("it nests too deep") from error


def render(template: Template, context: Mapping[str, object]) -> str:
    """Render a template of a bounded environment. Raises jinja2's errors, and TemplateLimitError."""
    meter = cast(_Bounds, template.environment).meter
    meter.steps, meter.chars, meter.deadline = 0, 0, time.thread_time() + MAX_CPU_S
    try:
        return template.render(context)
    except RecursionError as error:
        raise TemplateLimitError("it calls itself too often") from error
    except MemoryError as error:
        raise TemplateLimitError("it takes too much memory") from error


def _guarded(name: str, each: Callable[..., Any], environment: _Bounds) -> Callable[..., Any]:
    """Wrap a filter, which keeps the marks that tell jinja2 what to pass to it."""

    @wraps(each)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        args = tuple(list(cast(Iterator[Any], value)) if isinstance(value, Iterator) else value for value in args)
        told = [value for value in (*args, *kwargs.values()) if isinstance(value, Sized | int | float) and not isinstance(value, Context)]
        _check_arguments(name, told[0] if told else None, tuple(told[1:]))
        return environment.sized(each(*args, **kwargs))

    return guarded


def _check_arguments(name: str, subject: object, arguments: tuple[Any, ...]) -> None:
    """Raise TemplateLimitError for a width or count that is too large, and for texts whose product is."""
    numbers = [value for value in arguments if isinstance(value, int | float) and not isinstance(value, bool)]
    if any(abs(value) > MAX_NUMBER for value in numbers):
        raise TemplateLimitError(f"it asks {name} for more than {MAX_NUMBER:,}")
    texts = [len(value) for value in arguments if isinstance(value, Sized)]
    own = len(subject) if isinstance(subject, Sized) else 0
    if name in _MULTIPLYING and own * (sum(texts) + sum(map(abs, map(int, numbers)))) > 64 * MAX_CHARS:
        raise TemplateLimitError(f"it asks {name} for too long a text")
    if name == "format" and isinstance(subject, str):
        _check_widths(subject)


_MULTIPLYING: Final = frozenset({"replace", "join", "indent", "expandtabs", "translate", "wordwrap"})
"""Filters and methods whose result may be as long as the product of what they are given."""


def _check_widths(text: str) -> None:
    """Raise TemplateLimitError for a format whose numbers, widths perhaps, are too large."""
    if any(len(digits) > 5 for digits in _DIGITS.findall(text)):
        raise TemplateLimitError("it formats to too large a width")


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Raise TemplateLimitError where the result of an operator would be too large."""
    if operator == "%" and isinstance(left, str):
        _check_widths(left)
        _check_arguments("%", None, cast(tuple[Any, ...], right) if isinstance(right, tuple) else (right,))
    if operator == "*":
        sides: list[Any] = [left, right]
        for many, times in (sides, sides[::-1]):
            size = len(cast(Sized, many)) if isinstance(many, str | list | tuple) else 0
            if isinstance(times, int) and size * times > MAX_CHARS:
                raise TemplateLimitError(f"it makes a value of more than {MAX_CHARS:,} characters or items")
    if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MAX_BITS:
            raise TemplateLimitError(f"it computes a number of more than {MAX_BITS:,} bits")
