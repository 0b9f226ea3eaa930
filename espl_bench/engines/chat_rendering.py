"""Render a model's chat template as transformers does, within the bounds of `utils/bounded_templates.py`.

A chat template is code that comes with a model, from whoever made it. transformers keeps it in a sandbox, which does not end its loops.
So its compiled template is taken from there, with all that transformers gives templates, and compiled again with bounds.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Template
from transformers.utils.chat_template_utils import _compile_jinja_template  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from espl_bench.utils.bounded_templates import bounded, compiled, render


@lru_cache(maxsize=32)
def _template(source: str) -> Template:
    """Compile a template in a bounded copy of the environment that transformers makes for it. Raises jinja2's errors."""
    theirs: Any = _compile_jinja_template("")
    return compiled(bounded(theirs.environment), source)


def render_chat(
    template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, tokens: Mapping[str, Any], *, assistant_speaks: bool
) -> str:
    """Return a conversation as the template words it.

    Args:
        template: the template's text.
        messages: the conversation, as transformers takes it.
        tools: schemas of the tools; None: no tools.
        tokens: names of special tokens and their texts, which templates use.
        assistant_speaks: whether to end with what opens the assistant's turn.

    Raises:
        jinja2.TemplateError: the template refuses the conversation; a `TemplateLimitError` if it does not end.
        TypeError, ValueError, ArithmeticError, LookupError: an expression in it fails.
    """
    given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": assistant_speaks}
    return render(_template(template), {**given, **tokens})
