"""How a chat template lets a model think: whether a prompt opens the thoughts itself, and which switch turns thinking on or off.

Some templates (DeepSeek-R1, Qwen 3.5) write ``<think>`` behind the words that open the assistant's turn. A completion then begins inside
its thoughts, and does not hold the opening tag. Whoever reads it puts the tag back (`HfChat.opened`), so that thoughts that were cut off
are unfinished thoughts wherever they were opened.
"""

from collections.abc import Callable, Mapping
from typing import Final

from espl_bench.utils.reasoning import CLOSE, OPEN

NAMES: Final = ("think", "thinking", "thought", "thoughts", "reasoning", "reason", "seed:think")
"""Names of tags that enclose thoughts."""
_PAIRS: Final = (
    *((f"<{name}>", f"</{name}>") for name in NAMES),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
)
_HARMONY: Final = {
    "<|channel|>analysis<|message|>": OPEN,
    "<|end|><|start|>assistant<|channel|>analysis<|message|>": "\n",
    "<|end|><|start|>assistant<|channel|>final<|message|>": CLOSE,
    "<|end|><|start|>assistant<|channel|>commentary<|message|>": CLOSE,
    "<|end|><|start|>assistant": CLOSE,
    "<|channel|>final<|message|>": "",
    "<|channel|>commentary<|message|>": "",
    "<|channel|>commentary": "",
}
FORMS: Final[tuple[Mapping[str, str], ...]] = (*({opening: OPEN, closing: CLOSE} for opening, closing in _PAIRS), _HARMONY)
"""How models mark their thoughts: markers, the opening one first, and what each is read as. A template names those of its model."""

SWITCHES: Final = ("enable_thinking", "thinking")
"""Variables by which templates turn thinking on and off."""

Render = Callable[[Mapping[str, bool]], str]
"""Renders a conversation with values of switches."""


def form_of(template: str) -> Mapping[str, str]:
    """Return the form of a template's thoughts; the common one if it names none."""
    return next((form for form in FORMS if next(iter(form)) in template), FORMS[0])


def opened_thought(opening: str, form: Mapping[str, str]) -> str:
    """Return what opens the assistant's turn from an opening tag on that it does not close; empty if there is none."""
    for marker, read_as in form.items():
        opening = opening.replace(marker, read_as)
    at = opening.rfind(OPEN)
    return "" if at < 0 or CLOSE in opening[at:] else opening[at:]


def opening_of(asked: str, unasked: str, last: str) -> str:
    """Return the words of a prompt that open the assistant's turn.

    Args:
        asked: the prompt.
        unasked: the same conversation without them. Some templates always write them; what follows the last message is taken then.
        last: the text of the last message.
    """
    same = common_start(asked, unasked)
    if same < len(asked) or not last.strip():
        return asked[same:]
    _, found, after = asked.rpartition(last.strip())
    return after if found else ""


def switches_of(renderings: tuple[Render, ...]) -> tuple[str, ...]:
    """Return the switches that a template has: those whose two values give different texts in one of the renderings."""
    return tuple(name for name in SWITCHES if any(render({name: True}) != render({name: False}) for render in renderings))


def common_start(a: str, b: str) -> int:
    """Count the characters with which both texts begin."""
    return next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
