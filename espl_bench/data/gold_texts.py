"""Read the accepted answers of a row: what follows ``####``, what stands in a box, spellings in several columns, the letter of a choice.

A reader takes the values of a layout's answer columns, and the choices of the row if it has any, and returns the texts any of which is
right. It raises CellError for a row that has none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final, cast

from espl_bench.data.cells import CellError, is_chat, list_in, record_in, said_by, text_of, texts_of
from espl_bench.data.item_text import clean

ANSWERER: Final = frozenset({"assistant", "gpt", "model", "chatgpt"})
LONGEST_SOLUTION: Final = 100
"""Characters up to which a ``solution`` without a box is taken for the answer itself."""
_HASHES: Final = re.compile(r"^####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LETTER: Final = re.compile(r"\(?([A-Za-z])\)?[.:]?")


@dataclass(frozen=True, slots=True)
class Choices:
    """Texts to choose from, and the labels that the file gives them, if it does."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()

    def lines(self) -> str:
        """Return one line for each choice, with letters, and the request for a letter."""
        lines = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, self.texts, strict=False))
        return f"{lines}\n\nAnswer with the letter of the right choice."


GoldReader = Callable[[Sequence[Any], Choices | None], tuple[str, ...]]


def spellings(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take every text of every column: of a list its entries. A rationale is reduced to the answer at its end."""
    texts = [final(text) for value in values for text in texts_of(value)]
    return tuple(dict.fromkeys(text for text in texts if text))


def single(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the texts of the only column."""
    return spellings(values[:1], choices)


def worked_out(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take what a solution boxes last or names after ``####``; a short solution is the answer itself."""
    text = clean(text_of(values[0]))
    answer = final(text)
    if answer == text and (len(text) > LONGEST_SOLUTION or "\n" in text):
        raise CellError("are solutions without a box and without a last line after ####")
    return (answer,) if answer else ()


def computed(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the text of the only column, unless it says that there is nothing to compare, as for a proof."""
    answers = single(values, choices)
    if any(answer.casefold() in ("proof", "notfound", "not found") for answer in answers):
        raise CellError(f"are {answers[0]!r}, which is nothing to compare")
    return answers


def yes_or_no(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take true for yes, and false for no."""
    told = {True: ("yes", "true"), False: ("no", "false"), "true": ("yes", "true"), "false": ("no", "false")}
    value = values[0].strip().lower() if isinstance(values[0], str) else values[0]
    return told[value] if isinstance(value, bool | str) and value in told else single(values, choices)


def last_reply(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the only reply of a conversation, or its ground truth."""
    messages = cast(list[Any], values[0]) if isinstance(values[0], list) else []
    if not is_chat(messages):
        raise CellError("are in conversations that cannot be read")
    replies = said_by(messages, ANSWERER)
    if len(replies) != 1:
        raise CellError(f"are {len(replies)} replies in one conversation; keep the last question and its reply")
    truth = next((message["ground_truth"] for message in messages if "ground_truth" in message), None)
    value = cast(dict[str, Any], truth).get("value") if isinstance(truth, dict) else truth
    return single([replies[0] if value is None else value], None)


def lettered(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the letter of the right choice: named by its label, its letter, its text, or its place counted from 0."""
    return _letter(values[0], choices)


def placed(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the letter of the right choice, which is named by its place counted from 0 and by nothing else."""
    return _at(text_of(values[0]), choices, first=0)


def placed_from_one(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the letter of the right choice, which is named by its place counted from 1."""
    return _at(text_of(values[0]), choices, first=1)


def _at(place: str, choices: Choices | None, first: int) -> tuple[str, ...]:
    place = place.strip()
    if choices is None or not (place.isascii() and place.isdecimal()) or not first <= int(place[:3]) < len(choices.texts) + first:
        raise CellError("are no places of choices")
    return (ascii_uppercase[int(place) - first],)


def first_choice(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the letter of the choice whose text is the answer."""
    text = clean(text_of(values[0]))
    if choices is None or choices.texts.count(text) != 1:
        raise CellError("are none of the choices, or more than one of them")
    return (ascii_uppercase[choices.texts.index(text)],)


def _letter(value: Any, choices: Choices | None) -> tuple[str, ...]:
    if choices is None:
        raise CellError("have no choices")
    if isinstance(value, list):
        entries = cast(list[Any], value)
        if len(entries) != 1:
            raise CellError("are several of the choices at once")
        value = entries[0]
    meant = _meant(value, choices)
    if len(meant) > 1:
        raise CellError("fit several choices; name the right one by its letter")
    if not meant or not 0 <= next(iter(meant)) < len(choices.texts):
        raise CellError("are none of the choices")
    return (ascii_uppercase[meant.pop()],)


def _meant(value: Any, choices: Choices) -> set[int]:
    """Return the places of all choices that a value may mean."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {value}
    text = clean(text_of(value))
    if text in choices.labels:
        return {choices.labels.index(text)}
    letter = _LETTER.fullmatch(text)
    if letter and not choices.labels and text not in choices.texts:
        return {ascii_uppercase.index(letter[1].upper())}
    by_text = {place for place, choice in enumerate(choices.texts) if choice == text}
    by_place = {int(text)} if text.isascii() and text.isdecimal() and len(text) < 3 else set[int]()
    by_letter = {ascii_uppercase.index(letter[1].upper())} if letter else set[int]()
    return by_text | {place for place in by_place | by_letter if 0 <= place < len(choices.texts)}


def final(text: str) -> str:
    """Reduce a rationale to the answer that it ends with: after ``####``, or in the last box. Any other text is returned as it is."""
    if hashes := _HASHES.findall(text):
        return hashes[-1].strip()
    boxes = list(_BOX.finditer(text))
    for box in reversed(boxes):
        inside = _braced(text, box.end())
        if inside is not None:
            return inside.strip()
    return text


def _braced(text: str, start: int) -> str | None:
    """Return the text up to the brace that closes the one before `start`; None if it is not closed."""
    depth = 1
    place = start
    while place < len(text):
        match text[place]:
            case "\\":
                place += 1
            case "{":
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    return text[start:place]
            case _:
                pass
        place += 1
    return None


def list_of(values: Sequence[Any]) -> Choices:
    """Read choices from one column: a list of texts, records with label and text, a record of lists, or a record of texts by label."""
    value = values[0]
    if isinstance(value, str):
        value = record_in(value) or list_in(value)
    if isinstance(value, Mapping):
        return _from_record(cast(Mapping[str, Any], value))
    if not isinstance(value, list):
        raise CellError("have choices that are no list")
    entries = cast(list[Any], value)
    if entries and all(isinstance(entry, dict) for entry in entries):
        names = ("label", "text") if "text" in entries[0] else ("key", "value")
        labels, texts = (tuple(clean(text_of(entry.get(name))) for entry in entries) for name in names)
        return checked(Choices(texts, labels))
    return checked(_without_letters(tuple(clean(text_of(entry)) for entry in entries)))


def columns_of(values: Sequence[Any]) -> Choices:
    """Read choices from one column each; empty ones at the end are left out."""
    texts = [clean(text_of(value)) if value is not None else "" for value in values]
    while texts and not texts[-1]:
        texts.pop()
    return checked(Choices(tuple(texts)))


def scored(values: Sequence[Any]) -> Choices:
    """Read choices from a record of scores by text, in its order."""
    return checked(Choices(tuple(clean(str(text)) for text in cast(dict[str, Any], values[0]) or {})))


def best_scored(values: Sequence[Any], choices: Choices | None) -> tuple[str, ...]:
    """Take the letter of the only choice with the highest score."""
    scores = list(cast(dict[str, Any], values[0]).values())
    if scores.count(max(scores)) != 1:
        raise CellError("are several of the choices at once")
    return (ascii_uppercase[scores.index(max(scores))],)


def _from_record(record: Mapping[str, Any]) -> Choices:
    texts = record.get("text", record.get("choices"))
    if isinstance(texts, list):
        labels = record.get("label", record.get("labels"))
        marks = tuple(clean(text_of(entry)) for entry in cast(list[Any], labels)) if isinstance(labels, list) else ()
        return checked(Choices(tuple(clean(text_of(entry)) for entry in cast(list[Any], texts)), marks))
    filled = {label: text for label, text in record.items() if text is not None}
    return checked(Choices(tuple(clean(text_of(text)) for text in filled.values()), tuple(filled)))


def _without_letters(texts: tuple[str, ...]) -> Choices:
    """Take letters off choices that bring their own: ``A)21``."""
    marked = [re.match(r"\(?([A-Z])[).:]\s*", text) for text in texts]
    if all(mark and mark[1] == letter for mark, letter in zip(marked, ascii_uppercase, strict=False)):
        return Choices(tuple(text[mark.end() :] for text, mark in zip(texts, marked, strict=True) if mark))
    return Choices(texts)


def checked(choices: Choices) -> Choices:
    """Raise CellError unless there are two choices or more, and none is empty."""
    texts = choices.texts
    if not 2 <= len(texts) <= len(ascii_uppercase) or not all(texts):
        raise CellError(f"have {len(texts)} choices, or an empty one")
    if choices.labels and len(choices.labels) != len(texts):
        raise CellError("have another number of labels than of choices")
    return choices
