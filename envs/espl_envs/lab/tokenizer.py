"""The lab model's vocabulary: one id per word, so that a label or a piece of JSON is one token.

An operator and its meaning are two words wherever they stand, in principles, solutions and notes: the tables of digits are then
learned once for each meaning, and copying is one skill for all texts.
"""

from collections.abc import Iterator

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from espl_envs.rulebook.meanings import MEANINGS, OPERATORS

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
    yield from OPERATORS
    yield from MEANINGS
    yield from [".", ";", "=", "?", ":", "[", "]", "answer"]
    yield from [
        "principles",
        "none",
        "summarise",
        "attempt",
        "critique",
        "problem",
        "truth",
        "right",
        "wrong",
        "stated",
        "over",
        "first",
    ]
    yield from ["aggregate", "added", "changes", "crossover", "set", "A", "B", "C", "D", "E", "F", "won"]
    yield from (f"[G{index}]" for index in range(MAX_PRINCIPLES))
    yield from ('{"op":"add","principle":"', '{"op":"modify","id":"', '{"op":"remove","id":"', '{"op":"merge","ids":["')
    yield from ('"}', '"],"principle":"', '","principle":"', '","evidence":"', '","')


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with a chat template; text is split at white space."""
    vocabulary = {word: index for index, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
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
