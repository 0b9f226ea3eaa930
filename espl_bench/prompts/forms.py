"""The two forms of a system prompt, and what editors may do to each: a list of principles, or a text of numbered blocks.

In both forms a prompt is a sequence of texts. A principle is one line with a word limit (paper: 32). A block is a paragraph or
several lines; the whole prompt has a word limit (`EditLimits.max_prompt_words`), within which it may also be rewritten from scratch.
The paper's search agents evolve this form. Lineage, evidence and rejections are the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from espl_bench.prompts.principle_text import OpName, clean_principle
from espl_bench.tools.markers import find_chat_marker


class PromptForm(StrEnum):
    """Structure of a system prompt."""

    PRINCIPLES = "principles"
    TEXT = "text"


class BadTextError(ValueError):
    """A text cannot be part of a prompt; the message says why."""


@dataclass(frozen=True, slots=True)
class Form:
    """Cleaning of a form's texts, and the edits each stage may propose."""

    clean: Callable[[str], str]
    """Converts an editor's text to a part of the prompt. Raises BadTextError."""
    critique: frozenset[OpName]
    aggregate: frozenset[OpName]
    crossover: frozenset[OpName]


_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
_EMPTY_LINES = re.compile(r"\n\s*\n")


def clean_block(text: str) -> str:
    """Clean a block: strip lines, drop empty ones and a leading label.

    Raises BadTextError for a text that a chat format would read as the beginning or end of a message: editors see what models
    and the web wrote.
    """
    lines = (" ".join(line.split()) for line in _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n"))
    block = "\n".join(line for line in lines if line)
    if marker := find_chat_marker(block):
        raise BadTextError(f"with {marker!r}, which chat formats read as a marker")
    first, *rest = block.split("\n")
    return "\n".join((clean_principle(first), *rest)).strip()


def split_blocks(text: str) -> tuple[str, ...]:
    """Split a text at its empty lines and clean the blocks. Raises BadTextError like `clean_block`."""
    return tuple(block for part in _EMPTY_LINES.split(text.replace("\r\n", "\n")) if (block := clean_block(part)))


FORMS: Final[Mapping[PromptForm, Form]] = MappingProxyType(
    {
        PromptForm.PRINCIPLES: Form(
            clean_principle,
            critique=frozenset({"add", "modify"}),
            aggregate=frozenset({"modify", "merge"}),
            crossover=frozenset({"add", "modify", "remove"}),
        ),
        PromptForm.TEXT: Form(
            clean_block,
            critique=frozenset({"add", "modify"}),
            aggregate=frozenset({"modify", "merge", "remove", "rewrite"}),
            crossover=frozenset({"add", "modify", "merge", "remove", "rewrite"}),
        ),
    }
)
