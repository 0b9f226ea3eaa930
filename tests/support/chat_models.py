"""Chats of several model families without their weights: a byte-level tokenizer with the family's special tokens, and its template.

The templates beside this file have the structure of the families' own, in words of ours. Whoever has the real ones in a folder (the
package `trl` ships many) names it by ESPL_BENCH_CHAT_TEMPLATES, and the same properties are tried on them.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from checked import integer
from espl_envs.lab.courses.rulebook import RulebookCourse
from espl_envs.lab.tokenizer import build_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from espl_bench.engines.chat import HfChat
from espl_bench.errors import ModelError
from espl_bench.types import Message

FOLDER = Path(__file__).parent / "chat_templates"
REAL = os.environ.get("ESPL_BENCH_CHAT_TEMPLATES")
TEXTS = ["who wrote the book of which the film of 1994 was made, and where was its author born ?"] * 8
"""What a few merges are learned from."""


@dataclass(frozen=True)
class Family:
    """A tokenizer's special tokens; the last one ends a turn."""

    bos: str | None
    special: tuple[str, ...]
    added: tuple[str, ...] = ()
    """Added tokens that are not special: they survive decoding."""


QWEN = Family(None, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"))
FAMILIES = {
    "chatml": QWEN,
    "qwen25": QWEN,
    "qwen3": Family(None, QWEN.special, (*QWEN.added, "<think>", "</think>")),
    "qwen35": Family(None, QWEN.special, (*QWEN.added, "<think>", "</think>")),
    "llama31": Family("<|begin_of_text|>", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>")),
    "mistral": Family(
        "<s>",
        (
            *("<s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
            "</s>",
        ),
    ),
    "r1": Family(
        "<｜begin▁of▁sentence｜>",
        ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        ("<think>", "</think>"),
    ),
    "endless": Family(None, ("<|endoftext|>",)),
}
LAB = "lab"
NAMES = (*FAMILIES, LAB)
SPEAKING = tuple(name for name in NAMES if name != "endless")
"""Those that end a turn."""
NATIVE = ("qwen25", "qwen3", "llama31", "mistral")
"""Those with a tool format of their own."""


@cache
def make_chat(name: str) -> HfChat:
    """The chat of a family."""
    if name == LAB:
        tokenizer = build_tokenizer(RulebookCourse())
        return HfChat(tokenizer, frozenset({integer(tokenizer.eos_token_id)}), name)
    return build_chat(name, FAMILIES[name], (FOLDER / f"{name}.jinja").read_text())


def build_chat(name: str, family: Family, template: str) -> HfChat:
    """A chat of any template."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(family.special))
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in family.added])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=family.bos, eos_token=family.special[-1])
    fast.chat_template = template
    return HfChat(fast, frozenset({integer(fast.eos_token_id)}), name)


MARKER = re.compile(r"<[|｜]?[^<>\s'\"{}]{1,40}>|\[/?[A-Z_]{2,30}\]|\[e~\[|\]~!?b[\[\]]")


def build_real(name: str, template: str, *, special: bool = True) -> HfChat | None:
    """A chat of a real template: what it writes behind an assistant's words ends a turn, or what opens the user's next one, as in GLM.

    Its markers are special tokens, or plain text; which of the two they are, its model's tokenizer knows. None if it words no plain chat.
    """
    markers = tuple(dict.fromkeys(MARKER.findall(template)))
    plain = build_chat(name, Family("<|bos|>", ("<|bos|>", *markers, "<|nothing|>")), template)
    talk = (Message("user", "a"), Message("assistant", "SAID"))
    ends = (_end_of(plain, messages) for messages in (talk, (*talk, Message("user", "b"))))
    end = next(filter(None, ends), None)
    others = tuple(marker for marker in markers if marker != end) if special else ()
    return build_chat(name, Family("<|bos|>", ("<|bos|>", *others, end)), template) if end else None


def _end_of(chat: HfChat, messages: Sequence[Message]) -> str | None:
    try:
        text = chat._text(messages, assistant_speaks=False)
    except ModelError:
        return None
    end = MARKER.search(text, text.rfind("SAID"))
    return end and end[0]


def real_templates() -> Iterator[tuple[str, str]]:
    """Name and text of every template in the folder that somebody named."""
    for path in sorted(Path(REAL).glob("*.jinja")) if REAL else ():
        yield path.stem, path.read_text(encoding="utf-8")
