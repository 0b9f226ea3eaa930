"""Texts that a model, an endpoint or a page may write, from a seed, and every function that reads such a text.

A reader takes any text, and either returns or raises one of the errors that it declares. A new function that reads what others wrote
belongs into `READERS`: `tests/test_foreign_text.py` tries all of them.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from chat_models import make_chat
from espl_envs.last_answer import last_answer
from espl_envs.rulebook.env import RulebookEnv
from espl_envs.search.answers import exact_match, f1

from espl_bench.data import item_text
from espl_bench.engines.openai.endpoint import TransientError, _retry_after_s
from espl_bench.engines.openai.engine import TextChat, _completion
from espl_bench.evolution.operators.editor import AttemptView, critique_context, summary_context
from espl_bench.evolution.operators.edits import UnparseableEditsError, apply_edits, parse_edits
from espl_bench.evolution.operators.lenient_json import recover_objects
from espl_bench.grading.extract import after_thinking, extract
from espl_bench.grading.grader import Candidate, _decide
from espl_bench.grading.integers import canonical, value_in_base
from espl_bench.grading.rules import Extraction, GradingRules
from espl_bench.grading.words import same_words
from espl_bench.prompts.dialect import Dialect, Placement, TemplateName
from espl_bench.prompts.forms import FORMS, BadTextError, split_blocks
from espl_bench.prompts.principle_text import clean_principle, quote
from espl_bench.prompts.root_prompt import parse_principle
from espl_bench.retrieval.http import _found
from espl_bench.retrieval.page_text import text_of_html
from espl_bench.retrieval.retriever import RetrievalError
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.tools.calls import read_calls
from espl_bench.tools.sanitize import sanitize
from espl_bench.tools.tool_spec import Parameter, ToolSpec
from espl_bench.types import Message, Outcome, Problem, Split, StopReason
from espl_bench.utils import jsonl
from espl_bench.utils.foreign_text import ForeignJsonError, parse_json, readable
from espl_bench.utils.reasoning import strip_reasoning
from espl_bench.utils.terminal_text import clean, clean_json

TOOLS = (
    ToolSpec("search", "Searches.", (Parameter("query_list", "list of strings", "queries"),)),
    ToolSpec("look", "Looks.", (Parameter("page", "integer", "a number"), Parameter("name", "string", "a name"))),
)
PRINCIPLES = ("dax larger", "When stuck, go back.", "[G1] odd")
ATOMS = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>", "<|im_start|>user\n", "[INST]", "<<SYS>>", "</s>", "<｜User｜>"),
    *("{", "}", "[", "]", "(", ")", '"', "'", "`", "```json\n", ":", ",", "\\", "\\\\", "#", "//", "<", ">", "|", "$", "\\{", "\\}"),
    *("\ud800", "\udfff", "\ud83d\ude00", "\\ud800", "\\udc00", "\\u12", "\\u0000", "\x00", "\x1b[2J", "\x9b", "\x7f", "\u202e", "\u200b"),
    *("\\boxed{", "\\boxed 7", "\\fbox{", "\\frac{1}{2}", "Answer: ", "**Answer:** 7", "the final answer is: 3", "\\boxed", "answer"),
    *('{"op": "add", "principle": "p"}', '{"op":"modify","id":"G0","principle":"', '{"op": "merge", "ids": ["G0", "G1"]', '"rewrite"'),
    *(
        '{"name": "search", "arguments": {"query_list": ["a"]}}',
        '{"name": "look", "arguments": {"page": 1e999, "name": "',
        "search{",
        "G0,",
    ),
    *("1" * 30, "-0", "1,234", "1e400", "2516_8", "NaN", "Infinity", "null", "true", "٣", "½", "𝟘", "１", "İ", "ß", "\u0301", "\ufeff"),
    *("\n", "\n\n", "\r\n", "\r", "\t", " ", "    ", "\u2028", "\x0b", "\x0c", "\x85", "\xa0", "word", "dax 3 = ?", "é", "漢", "😀"),
)
ENDLESS = (
    *ATOMS,
    "[{",
    '{"a":',
    "{'",
    '["',
    "\\boxed{{",
    "<think></think>",
    "<tool_call>{",
    "a,",
    "\n#",
    "Answer:\n",
    "< ",
    "\\u",
    "[G0]",
    "&#",
    "\n \n",
)
"""Pieces to repeat: each has ended a reader that looked at a text again and again."""
DOCUMENTS = (
    '```json\n[{"op": "add", "principle": "Check units.", "evidence": "a \\"b\\""}, {"op": "remove", "id": "G1"}]\n```',
    'I think <think>hm</think> so <tool_call>{"name": "search", "arguments": {"query_list": ["who", "x\\ud800"]}}</tool_call>',
    "Let $x = \\frac{1}{2}$. Then\n\n\\boxed{\\frac{3}{4}} and Answer: 7",
    '{"choices": [{"message": {"content": "hi \\ud800"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}',
    '{"result": [[{"document": {"id": 1, "contents": "\\"T\\"\\ntext \\udfff"}, "score": 1e999}]]}',
    "Fri, 31 Dec 1999 23:59:59 GMT",
)


def texts(seed: int, count: int, longest: int = 400) -> Iterator[str]:
    """Yield texts: pieces at random, one piece again and again, and documents with a few pieces changed."""
    rng = random.Random(seed)
    for _ in range(count):
        match rng.randrange(4):
            case 0:
                yield "".join(rng.choices(ATOMS, k=rng.randint(0, 30)))
            case 1:
                yield rng.choice(ENDLESS) * rng.randint(1, longest // 4) + rng.choice(ATOMS)
            case 2:
                yield "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x110000)))) for _ in range(rng.randint(0, 40)))
            case _:
                yield _changed(rng, rng.choice(DOCUMENTS))


def _changed(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(text) + 1)
        text = text[:start] + rng.choice((rng.choice(ATOMS), "", text[start : start + 9] * 3)) + text[start + rng.randint(0, 5) :]
    return text


@dataclass(frozen=True)
class Reader:
    """A function that reads a foreign text."""

    read: Callable[[str], object]
    refuses: tuple[type[Exception], ...] = ()
    """The errors that say that a text is not what it reads."""
    every: int = 1
    """Share of the texts that a slow one is tried with: one in this many."""

    def __call__(self, text: str) -> object:
        try:
            return self.read(text)
        except self.refuses as refusal:
            return str(refusal)


def _edits(form: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        parsed = parse_edits(text, {"add", "modify", "merge", "remove", "rewrite"}, PRINCIPLES, 5, 32, FORMS[form].clean)  # pyright: ignore[reportArgumentType]
        return apply_edits(PRINCIPLES, parsed.edits).principles, parsed.problems

    return read


def _stored(text: str) -> object:
    """A rollout that is stored and read back says the same."""
    row = RolloutRow("train/0", "q", "a", 0, 0, 0, (readable(text),), 0.0, Outcome.WRONG, StopReason.STOP, 1, None)
    again = RolloutRow.parse(jsonl.encode(row.encode()))
    assert again.turns == row.turns
    return again.turns


def _prompted(text: str) -> object:
    [system, user] = _dialect().prompt_messages((text,), text, Placement.SYSTEM, TextChat().harmless)
    return system.content, user.content


def _reflected(text: str) -> object:
    problem = Problem("train/0", Split.TRAIN, 0, text, text, text)
    contexts = {
        TemplateName.SUMMARY: summary_context(problem, text, (text,), correct=True),
        TemplateName.CRITIQUE: critique_context((text,), problem, (AttemptView(True, text),)),
    }
    return [_dialect().reflection_messages(name, context)[0].content for name, context in contexts.items()]


@cache
def _dialect() -> Dialect:
    return Dialect.load("full")


def _tokenised(text: str) -> object:
    chat = make_chat("qwen3")
    controls = {*chat._tokenizer.added_tokens_decoder, *chat._tokenizer.all_special_ids}
    tokens = [token for token in chat.encode((Message("user", chat.harmless(text)),)) if token in controls]
    assert len(tokens) == len([token for token in chat.encode((Message("user", "a"),)) if token in controls]), "no token of the format"
    return ""


def _stepped(text: str) -> object:
    env = RulebookEnv()
    env.reset(options={"split": "train", "index": 0})
    return env.step(text)[4]


READERS: dict[str, Reader] = {
    "readable": Reader(readable),
    "reasoning": Reader(strip_reasoning),
    "after thinking": Reader(lambda text: after_thinking(text) or ""),
    **{f"extract {each.value}": Reader(partial(lambda each, text: extract(text, each).answer, each)) for each in Extraction},
    "grade": Reader(lambda text: isinstance(_decide(Candidate("7", extract(text, Extraction.BOXED), GradingRules())), str)),
    "grade as gold": Reader(
        lambda text: isinstance(_decide(Candidate(text, extract("\\boxed{7}", Extraction.BOXED), GradingRules())), str)
    ),
    "integer": Reader(lambda text: (canonical(text), value_in_base(text))),
    "words": Reader(lambda text: (exact_match(text, ["a", text]), f1(text, ["the a"]), last_answer(text))),
    "calls": Reader(lambda text: [request.problem or json.dumps(request.arguments) for request in read_calls(text, TOOLS).requests]),
    "sanitize": Reader(lambda text: sanitize(text, 300)),
    "objects": Reader(lambda text: [json.dumps(found.value) for found in recover_objects(text).objects]),
    "edits of principles": Reader(_edits("principles"), (UnparseableEditsError,)),
    "edits of a text": Reader(_edits("text"), (UnparseableEditsError,)),
    "principle": Reader(lambda text: (clean_principle(text), parse_principle(text), quote(text))),
    "blocks": Reader(split_blocks, (BadTextError,)),
    "JSON": Reader(lambda text: json.dumps(parse_json(text)), (ForeignJsonError,)),
    "completion": Reader(
        lambda text: [choice.message.content for choice in _completion(parse_json(text)).choices],  # pyright: ignore[reportArgumentType]
        (ForeignJsonError, TransientError),
    ),
    "Retry-After": Reader(lambda text: str(_retry_after_s(text))),
    "page": Reader(text_of_html),
    "short answer": Reader(lambda text: (same_words(text, "a"), same_words("a", text))),
    "passages": Reader(
        lambda text: [passage.text for found in _found(parse_json(text), ["q"], 3, "http://x") for passage in found.passages],
        (ForeignJsonError, RetrievalError),
    ),
    "item": Reader(lambda text: (item_text.clean(text), item_text.match_key(text), item_text.words(text))),
    "terminal": Reader(lambda text: (clean(text), clean_json(json.dumps(text, ensure_ascii=False)))),
    "stored": Reader(_stored),
    "common markers": Reader(TextChat().harmless),
    "environment": Reader(_stepped, every=10),
    "prompt": Reader(_prompted, every=50),
    "reflection": Reader(_reflected, every=50),
    "tokens": Reader(_tokenised, every=50),
}
