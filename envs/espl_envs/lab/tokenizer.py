"""A lab model's vocabulary: one id per word, so that a label or a piece of JSON is one token.

A topic and its choice are two words everywhere, in principles, solutions and notes: so the meaning of a choice is learned once, and
copying is one skill for all texts.
"""

from collections.abc import Iterator

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from espl_envs.lab.skills import Course

SPECIAL = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
MAX_PRINCIPLES = 32
"""Labels G0 … G31 have words of their own; a longer list would be read as unknown words."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} "
    "{% if message.role == 'assistant' %}<|end|> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


def words(course: Course) -> Iterator[str]:
    """Yield every word of a course's language: special words, the course's own, then those shared by all courses."""
    yield from SPECIAL
    yield from course.words
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


def build_tokenizer(course: Course) -> PreTrainedTokenizerFast:
    """Build a word-level tokenizer with a chat template; text is split at white space."""
    vocabulary = {word: index for index, word in enumerate(words(course))}
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
