"""What published problems say about the place of an answer: an environment that looks elsewhere would grade obedience as failure."""

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from espl_bench.data.dataset_spec import Wrapper

DAPO: Final = Wrapper(
    before=(
        "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer"
        " (without quotes) where $Answer is the answer to the problem.\n\n"
    ),
    after='\n\nRemember to put your answer on its own line after "Answer:".',
)
VERL_GSM8K: Final = Wrapper(before="", after=' Let\'s think step by step and output the final answer after "####".')

KNOWN_WRAPPERS: Final = (DAPO, VERL_GSM8K)
"""Instructions that published files put around every problem; removed from files of users' own."""


class AnswerPlace(StrEnum):
    """Where a problem may ask for the answer."""

    BOX = "in a box"
    LINE = "after 'Answer:'"
    HASHES = "after '####'"
    TAGS = "between <answer> tags"


_ASKED: Final = {
    AnswerPlace.BOX: re.compile(r"\\boxed|\\fbox"),
    AnswerPlace.LINE: re.compile(
        r"""(?ix) \$answer\b
        | (?:form|format|line|after|with|by|as|write|put|give|begins?|starts?)\b [^\n]{0,80}? ["'“`*]* [ ]* (?:final[ ]+)? answer:"""
    ),
    AnswerPlace.HASHES: re.compile(r"####"),
    AnswerPlace.TAGS: re.compile(r"<answer>"),
}


def places_asked(problem: str) -> set[AnswerPlace]:
    """Return every place in which a problem asks for its answer; empty for most problems."""
    return {place for place, pattern in _ASKED.items() if pattern.search(problem)}


def unread_places(problems: Iterable[str], read: Iterable[AnswerPlace]) -> Counter[AnswerPlace]:
    """Count the problems that ask for the answer only where none is read, by place."""
    readable = set(read)
    asked = [places for problem in problems if (places := places_asked(problem)) and not places & readable]
    return Counter(place for places in asked for place in places)
