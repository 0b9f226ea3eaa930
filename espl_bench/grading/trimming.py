# ruff: noqa: E501, SIM905  (tables of words)
r"""Cut away what stands around an answer and changes nothing about it: styling, lead-ins, remarks, marks that close a sentence.

What is cut is listed here word by word. Everything else is part of the answer.
"""

import html
import re
from collections.abc import Sequence
from typing import Final

from espl_bench.grading.notation import Token, tokens
from espl_bench.grading.notation_tables import COMMANDS, FUNCTIONS, STYLES, SYMBOLS, WORD_STYLES
from espl_bench.grading.rewriting import rewritten, spelled_out
from espl_bench.grading.token_runs import matching, spelt
from espl_bench.grading.worded_numbers import worded_number

LEAD_INS: Final = frozenset(
    "the answer is|ans|ans.|answer|answer is|the final answer is|final answer|the result is|result|the value is|value|it is|is|so|thus|hence|therefore|"
    "possibly|probably|maybe|perhaps|likely|i think|i think it is|there are|there is|there were|about|approximately|around|roughly|approx|number|we get|we have|total|in total|solution|the solution is|the solutions are|solutions|the answers are|all|exactly|"
    "答案是|答案|答案为|答|解|因此|所以|约为|约|共|共有|为|是|即|得|等于|选|答案选|option|choice|either|both|namely".split("|")
)
"""Words before an answer that change nothing about it."""
_TRAILS: Final = ("is the answer", "is correct", "as required", "in total", "total", "altogether", "is the final answer")
_REMARKS: Final = frozenset(
    "as required|as desired|as needed|as expected|as claimed|as wanted|final answer|final|answer|the answer|exact|exactly|units|only|simplified|by inspection|in total|not sure|i think|i believe|probably|maybe|approximately|approx|about|rounded|estimated|as a decimal|in simplest form".split(
        "|"
    )
)
"""Remarks in brackets behind an answer that change nothing about it."""
_FOR_ALL: Final = ("for all", "for any", "for every", "for each", "since", "because")
_WRAPPERS: Final = (
    ("``", "''"),
    ("``", '"'),
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("__", "__"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("«", "»"),
    ("‘", "’"),
    ("「", "」"),
    ("''", "''"),
    ("==", "=="),
)
_QUANTITIES: Final = frozenset(
    "answer|total|sum|value|maximum|minimum|max|min|largest|smallest|greatest|least|area|volume|product|difference|probability|number|length|perimeter|"
    "distance|ratio|cost|price|result|remainder|average|mean|median|expression|integral|limit|measure|angle|radius|width|height|count|speed|time|"
    "circumference|slope|determinant|rank|degree|domain|range|vertex|solution|solution set|equation".split("|")
)
_OF_QUANTITY: Final = re.compile(
    r"(?:so |thus |hence |therefore )?(?:the |our |its )?(?:final |correct |total |maximum |minimum |largest |smallest |greatest |required |expected )?"
    r"(?P<noun>[a-z]+(?: set)?)(?: value| number)?(?: is| are| equals|:| =)"
)
"""Words that say what the answer is the value of: ``The sum is``. Any other words are part of the answer."""
_DOUBLED: Final = re.compile(r"\\++([A-Za-z]++)?")
_KNOWN_COMMANDS: Final = (
    {name for name in COMMANDS if len(name) > 1 and name.isalpha()}
    | set(STYLES)
    | WORD_STYLES
    | set(SYMBOLS)
    | set(FUNCTIONS)
    | {"begin", "left", "boxed"}
)
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*+(?=\{)")
_ENTITY: Final = re.compile(r"&(?:nbsp|lt|gt|amp|times|pi|le|ge|ne|minus|radic|infin|deg|frac12);")
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_TAGGED: Final = re.compile(r"<([A-Za-z]{1,8})>(.*)</\1>", re.DOTALL)
_LONE_MARKS: Final = ("**", "__", "``", "==", "`", "*")
_END_TOKEN: Final = re.compile(r"(?:<\|[A-Za-z_]{1,16}\|>|</[a-z]{1,8}>)$")
_MAX_WRAPPERS: Final = 8


def unwrapped(text: str) -> str:
    """Remove white space and styling marks around a text."""
    text = _single_backslashes(html.unescape(text) if _ENTITY.search(text) else text)
    for _ in range(_MAX_WRAPPERS):
        before = text
        text = text.strip().strip(_INVISIBLE).lstrip("#").strip()
        if text[-1:] == "." and text[-2:-1] in "\"'”’`" and len(text) > 2:
            text = text[:-1]
        for mark in _LONE_MARKS:
            if text.count(mark) == 1 and text != mark and not (mark == "``" and text.endswith(("''", '"'))):
                text = text.removeprefix(mark).removesuffix(mark).strip()
        if tagged := _TAGGED.fullmatch(text):
            text = tagged[2]
        elif "<" not in text[:-1].rpartition("<")[0]:
            text = _END_TOKEN.sub("", text)
        for left, right in _WRAPPERS:
            inside = text[len(left) : len(text) - len(right)]
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right) and left not in inside:
                text = inside.strip()
        if text == before:
            break
    return text


def cut(text: str, grouped: bool = True) -> tuple[Token, ...]:
    """Cut an answer into tokens, without what styles it. Raises UnreadableError."""
    found = tokens(_BOX.sub("", unwrapped(text)), grouped)
    return tuple(trimmed(rewritten(spelled_out(found, unwrapped, grouped))))


def _single_backslashes(text: str) -> str:
    r"""Halve the backslashes of a text that was escaped once too often: ``\\frac{1}{2}``, if every one is doubled and there is a command."""
    for _ in range(3):
        runs = list(_DOUBLED.finditer(text))
        if not any(run[1] in _KNOWN_COMMANDS for run in runs) or any((len(run.group()) - len(run[1] or "")) % 2 for run in runs):
            break
        if "\\" in _DOUBLED.sub("", text):
            break
        text = _DOUBLED.sub(lambda run: "\\" * ((len(run.group()) - len(run[1] or "")) // 2) + (run[1] or ""), text)
    return text


def trimmed(found: Sequence[Token]) -> list[Token]:
    """Remove braces around the whole, and marks that close a sentence."""
    found = list(found)
    while found:
        if found[-1].kind == "op" and found[-1].text in (".", ",", ";", ":", "newline") and found[-1:] != found:
            found.pop()
        elif (found[0].kind == "op" and found[0].text in ("newline", "&", ":", "=", "approx", "implies") and len(found) > 1) or (
            found[0].kind == "symbol" and found[0].text in ("sim", "simeq", "cong") and len(found) > 1
        ):
            found.pop(0)
        elif found[0].text == "{" and found[0].kind == "open" and matching(found, 0) == len(found) - 1:
            found = found[1:-1]
        else:
            break
    return found


def _without_condition(found: list[Token]) -> list[Token]:
    """Cut off ``for all x`` and a remark in brackets behind an answer."""
    last = found[-1].text.strip().lower() if found else ""
    if len(found) > 1 and found[-1].kind == "words" and last[:1] == "(" and last[-1:] == ")" and last[1:-1].strip() in _REMARKS:
        return trimmed(found[:-1])
    for place in range(1, len(found)):
        token = found[place]
        pair = " ".join(part.text.strip().lower() for part in found[place : place + 2] if part.kind in ("words", "letters"))
        said = token.text.strip(" ,").lower() if token.kind == "words" else pair
        if token.kind in ("words", "letters") and said.startswith(_FOR_ALL):
            return trimmed(found[:place])
        if token.kind == "op" and token.text == "forall":
            return trimmed(found[:place])
        if token.kind == "open" and token.text == "(" and token.spaced and found[-1].text == ")":
            inside = found[place + 1 : -1]
            if _repeats(found[:place], f"({spelt(inside)})"):
                return found[:place]
            if " ".join(part.text.strip().lower() for part in inside) in _REMARKS:
                return trimmed(found[:place])
            if len(inside) == place == 1 and found[0].kind == "num" and inside[0].kind == "letters" and len(inside[0].text) > 3:
                return [found[0], Token("words", inside[0].text, True)]  # 5 (plums)
    return found


def _without_trail(found: list[Token]) -> list[Token]:
    """Cut off words such as ``is the answer``."""
    begin = len(found)
    while begin > 0 and found[begin - 1].kind in ("words", "letters"):
        begin -= 1
    said = " ".join(token.text.strip() for token in found[begin:]).lower().strip(" .")
    if begin and (said in _TRAILS or _repeats(found[:begin], said)):
        return trimmed(found[:begin])
    return found


def _repeats(found: Sequence[Token], said: str) -> bool:
    """Return True if a remark only says a number once more: ``42 (forty-two)``."""
    number = worded_number(said.strip("()"))
    return said.startswith("(") and number is not None and [token.text for token in found] == [str(number)]


def without_lead(found: list[Token]) -> list[Token]:
    """Cut off words such as ``the answer is``."""
    if _texts_of(found[:3]) == ["no", "."] and found[2].kind == "num":
        return found[2:]
    end = 0
    while end < len(found) and found[end].kind in ("words", "letters"):
        end += 1
    if end == len(found):
        return found
    for stop in range(end, 0, -1):
        said = " ".join(token.text.strip() for token in found[:stop]).lower().strip(" :：,")
        if (said in LEAD_INS or _says_quantity(said, found[stop - 1 : stop + 1])) and not (
            stop == 1 and found[0].kind == "letters" and len(found[0].text) < 3
        ):
            return trimmed(found[stop:])
    return found


def _texts_of(found: Sequence[Token]) -> list[str]:
    return [token.text.strip().lower() for token in found if token.kind != "num"]


def _says_quantity(said: str, around: Sequence[Token]) -> bool:
    """Return True for words such as ``the sum is`` and ``Domain:``."""
    colon = ":" if around[0].text.rstrip().endswith(":") or (len(around) == 2 and around[1].text == ":") else ""
    match = _OF_QUANTITY.fullmatch(said + colon)
    return match is not None and match["noun"] in _QUANTITIES


def bare(found: Sequence[Token]) -> list[Token]:
    """Return the tokens of the answer itself."""
    return _without_trail(without_lead(_without_condition(_without_double_brackets(list(found)))))


def _without_double_brackets(found: list[Token]) -> list[Token]:
    """Remove all but one of the round brackets around the whole: ``((((42))))``."""
    partner: dict[int, int] = {}
    opened: list[int] = []
    for place, token in enumerate(found):
        if token.kind == "open":
            opened.append(place)
        elif token.kind == "close" and opened:
            partner[opened.pop()] = place
    outer, last = 0, len(found) - 1
    while (
        outer < last
        and found[outer].text == found[outer + 1].text == "("
        and partner.get(outer) == last
        and partner.get(outer + 1) == last - 1
    ):
        outer, last = outer + 1, last - 1
    return found[outer : last + 1]
