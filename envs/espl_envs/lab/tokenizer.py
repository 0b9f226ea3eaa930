"""The lab model's vocabulary: one id per word, so that a label or a piece of JSON is one token.

An operator with the meaning behind it, as in ``@ larger``, counts as one word. To look a meaning up is then to find the word
that begins with the operator, which a small model learns in a few hundred steps; with operator and meaning as two words it
must first build an induction circuit, which had not come after 1,000 steps in some trials and came after 650 in others.
"""

import re
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from espl_envs.rulebook.meanings import MEANINGS, SYMBOLS

SPECIAL = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
MAX_PRINCIPLES = 32
"""Labels G0 … G31 have words of their own; a longer list would be read as unknown words."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} "
    "{% if message.role == 'assistant' %}<|end|> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


def words() -> Iterator[str]:
    """Every word of the language, special words first."""
    yield from SPECIAL
    yield from (str(digit) for digit in range(10))
    yield from SYMBOLS
    yield from (f"{symbol} {meaning}" for symbol in SYMBOLS for meaning in MEANINGS)
    yield from ["digit", ".", ";", "=", "?", ":", ",", "[", "]", "answer"]
    yield from ["principles", "none", "summarise", "attempt", "critique", "problem", "truth", "right", "wrong"]
    yield from ["aggregate", "added", "changes", "crossover", "set", "A", "B", "C", "D", "E", "F", "best", "on"]
    yield from (f"[G{index}]" for index in range(MAX_PRINCIPLES))
    yield from (f"G{index}" for index in range(MAX_PRINCIPLES))
    yield from ('{"op":"add","principle":"', '{"op":"modify","id":"', '{"op":"remove","id":"', '{"op":"merge","ids":["')
    yield from ('"}', '"],"principle":"', '","principle":"', '","evidence":"', '","')


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with a chat template; text is split at white space, but not between operator and meaning."""
    vocabulary = {word: index for index, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    pair = rf"[{''.join(map(re.escape, SYMBOLS))}] (?:{'|'.join(MEANINGS)})(?!\S)"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{pair}|\S+"), behavior="removed", invert=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<|unk|>",
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
