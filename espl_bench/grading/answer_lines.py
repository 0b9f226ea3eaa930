r"""Find the answer line of a response: ``Answer: 42``, its heading over the answer, or answer tags. Time is linear in the text."""

import re
from collections import deque
from typing import Final

from espl_bench.grading.boxes import Extracted, has_box, last_box

_LABEL: Final = r"""
    (?:the[ \t]++|my[ \t]++|your[ \t]++|our[ \t]++)?+ (?:final[ \t]++|short[ \t]++|correct[ \t]++)?+ (?:answer|答案|ans\b\.?+)
"""
_ANSWER_LINE: Final = re.compile(
    rf"""
    (?: ^(?:[^\w\n\\]|_)*+ (?:[0-9]{{1,2}}[.)][ \t*_`]*+)?+ (?P<styled>\\(?:text(?:bf|it)?|mathbf|emph|underline)[ ]?\{{[ ]*+)?+ {_LABEL}
      | (?<=[.!?])[ \t]++ (?-i:The[ ]final[ ]answer|Final[ ]answer|Answer) )
    (?: (?:[ \t]++is|是|为)?+ [ \t*_`}}]*+ (?:[:：=]|->|=>|→) | [ \t*_}}]*+(?=\n) | [ \t]++[-–—](?=[ \t]) | [ \t]++is(?=[ \t]) )
    [ \t*_`}}]*+ (?P<answer>[^\n]*+) $
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""An answer line: it begins a line, or a sentence with a capital letter."""
_CONCLUSION: Final = re.compile(
    rf"""
    ^(?:[^\w\n\\]|_)*+ (?:so|thus|hence|therefore|consequently|finally)\b [, \t]*+ {_LABEL} [ \t]++is\b [ \t:*_`]*+ (?P<answer>[^\n]++) $
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""A sentence that concludes, where no line is labelled: ``So the answer is 42.``"""
_REPLY: Final = re.compile(r"^[ \t>#*_`-]*+A[:：][ \t*_`]*+(?P<answer>[^\n]++)$", re.MULTILINE)
"""The reply to ``Q:``, where no line is labelled."""
_CHOICE_B: Final = re.compile(r"^[ \t>#*_`-]*+B[:：]", re.MULTILINE)
"""Then ``A:`` is a choice, not a reply."""
_SAID: Final = re.compile(r"(?:the[ ])?(?:final[ ]|correct[ ])?answer[ ]is\b[ :]*+(?P<rest>.++)", re.IGNORECASE | re.VERBOSE)
_HOPES: Final = ("i hope it is correct", "i hope this is correct", "i hope this helps", "i hope that is correct")
_LINE: Final = re.compile(r"[^\s][^\n]*+")


def last_answer_line(text: str) -> Extracted:
    """Return the text after the last ``Answer:`` that begins a line, or between answer tags; if it holds a box, the box's content.

    An empty last line repeats the one right before it. Without any such line, a sentence that concludes or the reply to ``Q:`` counts.
    """
    tagged = text.rfind("<answer>")
    if tagged >= 0 and _ANSWER_LINE.search(text, tagged + len("<answer>")) is None:
        inside, closed, _ = text[tagged + len("<answer>") :].partition("</answer>")
        if has_box(inside):
            return last_box(inside)
        if closed and inside.strip() and "\n" not in inside.strip():
            return Extracted(inside.strip(), "the last answer tags")
    lines = deque(_ANSWER_LINE.finditer(text), maxlen=2)
    if not lines:
        return _concluded(text)
    rest = _answer(text, lines[-1])
    if not rest and len(lines) == 2 and not text[lines[0].end() : lines[1].start()].strip():
        rest = _answer(text, lines[0])
    if has_box(rest):
        return last_box(rest)
    return Extracted(rest, "the last answer line") if rest else Extracted(None, "the last answer line is empty")


def _concluded(text: str) -> Extracted:
    """Return what a concluding sentence says, or a reply."""
    last = next(iter(deque(_CONCLUSION.finditer(text), maxlen=1)), None)
    if last is None and _CHOICE_B.search(text) is None:
        last = next(iter(deque(_REPLY.finditer(text), maxlen=1)), None)
    if last is None:
        return Extracted(None, "no answer line")
    rest = _without_phrases(_without_marks(last))
    if has_box(rest):
        return last_box(rest)
    return Extracted(rest, "the last conclusion") if rest else Extracted(None, "no answer line")


def _answer(text: str, line: re.Match[str]) -> str:
    """Return what an answer line says; some write the answer below its heading."""
    return _without_phrases(_without_marks(line)) or _next_line(text, line.end())


def _without_marks(line: re.Match[str]) -> str:
    """Remove styling at the end that began before the answer, or within it: ``**Answer: 42**``."""
    answer = line["answer"].strip()
    label = line.group()[: line.start("answer") - line.start()]
    bare = answer.rstrip("*_`\"'")
    marks = answer[len(bare) :]
    if marks and marks[-1] in label:
        answer = bare.rstrip()
    styled = line.re is _ANSWER_LINE and line["styled"] and "}" not in label
    return answer.removesuffix("}") if styled and answer.count("}") > answer.count("{") else answer


def _without_phrases(answer: str) -> str:
    """Remove what few-shot examples taught many models to say, such as ``I hope it is correct``."""
    bare = answer.rstrip(" .!")
    hope = next((hope for hope in _HOPES if bare.lower().endswith(hope)), None)
    if hope is not None and bare[: -len(hope)].strip():
        answer = bare[: -len(hope)].strip()
    said = _SAID.fullmatch(answer)
    return answer if said is None else said["rest"].strip()


def _next_line(text: str, at: int) -> str:
    """Return the next line with anything on it."""
    line = _LINE.search(text, at)
    return "" if line is None else line.group().rstrip().strip("*_`").strip()
