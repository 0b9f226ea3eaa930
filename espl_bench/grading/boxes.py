r"""Find the boxes of a response, ``\boxed{…}`` and ``\fbox{…}``. Time is linear in the text, whatever it holds.

A box that was begun and not closed is a truncated answer: it does not count, and no earlier box is taken instead. Braces are
counted as TeX counts them, so ``\{`` and ``\}`` do not open or close anything.
"""

import re
from dataclasses import dataclass
from typing import Final

_BOX_WORDS: Final = ("\\boxed", "\\fbox")
_BOX_START = re.compile(r"\\(?:boxed|fbox)\s*+\{")
_TOKEN = re.compile(
    r"""
    (?P<box>\\(?:boxed|fbox)\s*+\{)
  | (?P<bare>\\(?:boxed|fbox)(?![A-Za-z])\s*+)
  | \\(?:\\(?!boxed|fbox)|[^\\])   # a doubled backslash before a box is a slip: the box is meant
  | [{}]
    """,
    re.VERBOSE,
)
_ONLY_BOX = re.compile(r"\\(?:boxed|fbox)\s*+\{([^{}\\]*+)\}[^{}\\]*+")
"""A box that holds and is followed by no other brace or command: of such a text nothing else needs to be looked at."""
_NUMBER = re.compile(r"[+\-−]?[0-9]++(?:[.,][0-9]++)*+")
_BLANK_LINE = re.compile(r"\n[ \t\r]*+\n")
_PART: Final = r"(?:part|case|question|problem)"
_MARK: Final = r"(?:[a-h]|[ivx]{1,4}|[0-9]{1,2})"
_SEPARATORS = re.compile(
    rf"""(?: \n[ ]*+[-*•](?=\s) | \s | \$ | \\[()\[\]] | [,;&] | \\(?:quad|qquad)(?![a-z]) | \\[,;:!\ ]
      | \b(?:and|or|as\ well\ as|respectively)\b | \\(?:text|mbox)\{{[\s,;]*+(?:and|or)?[\s,;]*+\}}
      | \b[A-Za-z](?:_\{{?[0-9A-Za-z]\}}?)?\s*+[=:] | \b(?:first|second|third|fourth|fifth|sixth)\s*+:
      | \.(?=\s*+\(?(?:\b{_PART}\b|\(?[a-h]\)))
      | (?:\b(?:for|in)\s++)?+ (?:\b{_PART}\s++)?+ \(?{_MARK}\)\s*+:?+
      | (?:\b(?:for|in)\s++)?+ \b{_PART}\s++{_MARK}\b\s*+:?+ )*+""",
    re.VERBOSE | re.IGNORECASE,
)
"""What may stand between boxes that are a list: separators, and labels of the parts of a question."""
_SEPARATOR = re.compile(r"[,;&:]|\n[ ]*+[-*•]|\\q?quad|\\(?:text|mbox)\{|\b(?:and|or)\b|\)", re.IGNORECASE)
_LONGEST_GAP: Final = 80
"""Maximum characters between two boxes of a list."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer, or the reason why there is none."""

    answer: str | None
    """Without white space around it, and never empty."""
    source: str
    """Where it was found, or what was missing, in a few words of ours."""


@dataclass(slots=True)
class _Box:
    """A box whose brace was opened."""

    start: int
    """Index where its command begins."""
    inside: int
    """Index where its content begins."""
    end: int | None = None
    """Index where its content ends; None if it is not closed."""


def has_box(text: str) -> bool:
    """Return True if a box is at least begun."""
    return any(_is_box(token) for token in _TOKEN.finditer(text, _first_word(text)))


def last_box(text: str) -> Extracted:
    r"""Return the content of the last box, ``\boxed 7`` without braces included."""
    start = _first_word(text)
    if only := _ONLY_BOX.fullmatch(text, start):
        return _of_last(only[1].strip())
    boxes = _find_boxes(text, start)
    if not boxes:
        return Extracted(None, "no box")
    last = boxes[-1]
    opened = next((box for box in reversed(boxes) if box.end is None), None)
    if opened is not None and (opened is last or not _BLANK_LINE.search(text, opened.start, last.start)):
        return Extracted(None, "the last box is not closed")
    listed = _listed(text, boxes)
    answers = [_BOX_START.sub("{", text[box.inside : box.end]).strip() for box in listed]
    if len(set(answers)) == 1:
        return _of_last(answers[-1])
    return Extracted(", ".join(answers), f"the last {len(answers)} boxes, which are a list")


def _of_last(inside: str) -> Extracted:
    return Extracted(inside, "the last box") if inside else Extracted(None, "the last box is empty")


def _listed(text: str, boxes: list[_Box]) -> list[_Box]:
    """Return the last box, and those before it that nothing but separators join to it; of nested boxes the outermost."""
    outermost: list[_Box] = []
    for box in boxes:
        if box.end is not None and not (outermost and box.start < (outermost[-1].end or 0)):
            outermost.append(box)
    first = len(outermost) - 1
    while first and _joined(text, outermost[first - 1], outermost[first]):
        first -= 1
    return outermost[first:]


def _joined(text: str, left: _Box, right: _Box) -> bool:
    """Return True if there are only separators between two boxes, and at least one that is not white space."""
    begin = (left.end or 0) + text.startswith("}", left.end)
    gap = text[begin : right.start]
    return (
        len(gap) <= _LONGEST_GAP
        and _SEPARATORS.fullmatch(gap) is not None
        and bool(_SEPARATOR.search(gap))
        and bool(text[left.inside : left.end].strip())
    )


def _first_word(text: str) -> int:
    """Return the index of the first possible box: nothing before it needs to be searched again."""
    starts = [start for word in _BOX_WORDS if (start := text.find(word)) >= 0]
    return min(starts, default=len(text))


def _is_box(token: re.Match[str]) -> bool:
    """Return True for a command followed by a brace or a number, and for one at the very end, where the text was cut."""
    if token["bare"] is None:
        return token["box"] is not None
    return token.end() == len(token.string) or _NUMBER.match(token.string, token.end()) is not None


def _find_boxes(text: str, start: int) -> list[_Box]:
    """Find all boxes, in the order in which they begin; none begins before `start`."""
    boxes: list[_Box] = []
    open_braces: list[_Box | None] = []
    """The box whose brace it is, None for any other brace."""
    for token in _TOKEN.finditer(text, start):
        if _is_box(token):
            box = _Box(token.start(), token.end())
            boxes.append(box)
            if token["box"]:
                open_braces.append(box)
            elif number := _NUMBER.match(text, token.end()):
                box.end = number.end()
        elif token.group() == "{":
            open_braces.append(None)
        elif token.group() == "}" and open_braces:
            closed = open_braces.pop()
            if closed is not None:
                closed.end = token.start()
    return boxes
