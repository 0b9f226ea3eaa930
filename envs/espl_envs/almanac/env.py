"""Almanac: learn which words and which source to query, and look something up in two steps without a slip."""

import random
from collections.abc import Mapping
from functools import cache
from itertools import permutations, product
from typing import Any, ClassVar

from espl_bench.environment.text_env import Verdict
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for
from espl_bench.tools.tool_env import ToolEnv, ToolLimits
from espl_bench.tools.tool_spec import BadArgumentsError, ToolSpec
from espl_bench.types import Outcome, Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.almanac.index import open_index
from espl_envs.almanac.pages import Entry, Question, as_reply, hidden_almanac
from espl_envs.almanac.words import NAMES, RELATIONS, SOURCES
from espl_envs.last_answer import last_answer
from espl_envs.search.env import SEARCH

SIDES: Mapping[Split, tuple[int, ...]] = {Split.TRAIN: (0, 1), Split.VALIDATION: (2,), Split.TEST: (3,)}
"""Quarters of all questions, by their hash: a question belongs to one split in every world."""


class AlmanacEnv(ToolEnv):
    """Questions about people, for an agent that has to learn how to ask and which source to believe.

    Description:
        ``who is ada 's rival 's cook ?`` takes two searches: who is Ada's rival, and who is that person's cook? The almanac finds
        something only if a query names the relation by its house word, for example ``ada rival amber``. Four sources answer,
        ``ledger ben ; rumour cora ; mural ben ; ballad dov .``, of which one is reliable in a given world; ``ada rival amber source
        ledger`` asks that one alone. House words and the reliable source are declarative and fit into a list of principles; asking
        about the right person, twice in a row, and answering with the name read is procedural and has to be practised.

    Action space:
        Text. A call of ``search`` with one query, ``<tool_call>{"name": "search", "arguments": {"query_list": ["ada rival amber
        source ledger"]}}</tool_call>``; a text without a call is the answer: the one word that follows the last word ``answer``.

    Observation space:
        Text: the question, then the replies: the sources' claims, ``nothing .``, or the fault of a call.

    Rewards:
        1 if the answer is the right person, else 0.

    Episode end:
        Terminated by an answer, or by a text that holds neither answer nor call. Truncated, with the limit named, after three
        turns without an answer, or by a response of more than 2,000 characters.

    Splits:
        train 256 and validation 64 items, three quarters of one step, one quarter of two; test 100 items of two steps. Item i is
        a pure function of (world, split, i), and no question occurs twice: each belongs to one split by its hash.

    Arguments:
        world: Seed of house words, reliable source and facts; every number is another world.

    Version history:
        v0: first version.
    """

    tools: ClassVar[tuple[ToolSpec, ...]] = (SEARCH,)
    max_response_chars: ClassVar[int] = 2_000
    limits_of_all: ClassVar[ToolLimits] = ToolLimits(turns=3, calls=3, reply_chars=400, heard_chars=1_200)
    sizes: ClassVar[dict[Split, int]] = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}
    steps: ClassVar[dict[Split, tuple[int, ...]]] = {Split.TRAIN: (1, 1, 1, 2), Split.VALIDATION: (1, 1, 1, 2), Split.TEST: (2,)}

    def __init__(self, world: int = 0) -> None:
        """Raise UsageError unless `world` is a whole number from 0."""
        super().__init__(self.limits_of_all)
        if not is_whole(world, least=0):
            raise UsageError(f"almanac: world must be a whole number from 0, not {world!r}")
        self.world = world

    def prepare(self) -> None:
        """Write the world's pages."""
        open_index(self.world)

    def size(self, split: Split) -> int:
        """Return 256, 64 or 100."""
        return self.sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split."""
        rounds, turn = divmod(index, len(self.steps[split]))
        length = self.steps[split][turn]
        before = rounds * self.steps[split].count(length) + self.steps[split][:turn].count(length)
        question = _questions(self.world, split, length)[before]
        answer = hidden_almanac(self.world).answer(question)
        return Problem(f"{split}/{index}", split, index, question.question, answer, gold=f"answer {answer}")

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Search for one query. Raises BadArgumentsError for none or several."""
        queries = arguments["query_list"]
        if len(queries) != 1:
            raise BadArgumentsError(f"query_list holds {len(queries)} queries; give 1")
        [result] = open_index(self.world).retrieve(queries, top_k=len(SOURCES))
        return as_reply([Entry(passage.title, passage.text) for passage in result.passages])

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Compare the text after the last ``answer`` with the truth."""
        behind = last_answer(response)
        if not behind:
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if behind == [problem.answer] else Outcome.WRONG)


@cache
def _questions(world: int, split: Split, length: int) -> tuple[Question, ...]:
    """Return every question of a split and of one length, in the world's own order."""
    side = list(_side(split, length))
    random.Random(seed_for(world, "almanac", split.value, length)).shuffle(side)
    return tuple(side)


@cache
def _side(split: Split, length: int) -> tuple[Question, ...]:
    every = (Question(person, relations) for person, relations in product(NAMES, permutations(RELATIONS, length)))
    return tuple(question for question in every if seed_for(0, "almanac", "side", question.question) % 4 in SIDES[split])
