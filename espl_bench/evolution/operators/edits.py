"""Typed edits of a list of principles, from JSON that a language model wrote.

On the wire an edit is ``{"op": "add"|"modify"|"merge"|"remove"|"rewrite", "id": "G3", "ids": ["G1", "G2"], "principle": "...", "evidence":
"..."}``, where the principle of a rewrite is the whole text; an id may also quote the principle's text. Reading is forgiving about form
(:mod:`~espl_bench.evolution.operators.lenient_json`) and strict about meaning: an edit that is unknown, not allowed at this stage,
incomplete, too long or about a principle that does not exist is left out whole, and a line in ``problems`` says so. Nothing is truncated
to fit.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from espl_bench.evolution.operators.edit_fields import id_labels, id_number, proposals
from espl_bench.evolution.operators.lenient_json import JsonObject, recover_objects
from espl_bench.prompts.forms import BadTextError, split_blocks
from espl_bench.prompts.principle_text import OpName, clean_principle, fold, quote

MAX_CHARACTERS: Final = 200_000
"""Longer texts are refused without being read."""
MAX_PROBLEMS: Final = 50
"""Maximum problem lines for one text; a last line counts the rest."""


@dataclass(frozen=True, slots=True)
class Add:
    """A new principle at the end of the list."""

    op: ClassVar[OpName] = "add"
    principle: str
    evidence: str = ""
    """The model's reason; kept for the record, never shown to the policy."""


@dataclass(frozen=True, slots=True)
class Modify:
    """A new text for principle ``id`` (its index in the list shown to the model: G0 is 0)."""

    op: ClassVar[OpName] = "modify"
    id: int
    principle: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Merge:
    """One text that replaces several principles; at least two different ids."""

    op: ClassVar[OpName] = "merge"
    ids: tuple[int, ...]
    principle: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Deletes principle ``id``."""

    op: ClassVar[OpName] = "remove"
    id: int
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Blocks that replace the whole text; at least one."""

    op: ClassVar[OpName] = "rewrite"
    blocks: tuple[str, ...]
    evidence: str = ""

    @property
    def principle(self) -> str:
        """Return the text."""
        return "\n\n".join(self.blocks)


Edit: TypeAlias = Add | Modify | Merge | Remove | Rewrite


class UnparseableEditsError(ValueError):
    """A text has no complete JSON object and no empty list. One line, with the start of the text."""


@dataclass(frozen=True, slots=True)
class ParsedEdits:
    """The edits that a text proposes."""

    edits: tuple[Edit, ...]
    problems: tuple[str, ...]
    """One line for everything left out or repaired in meaning (not in form)."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The list after the edits, and the edits that took effect."""

    principles: tuple[str, ...]
    applied: tuple[Edit, ...]
    """Excluded are edits of a principle that an earlier edit took, additions of an existing text, and everything next to a rewrite."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Constraints on the edits of one text."""

    allowed: frozenset[OpName]
    principles: Sequence[str]
    """The principles the model was shown, white space folded."""
    max_words: int | None
    clean: Callable[[str], str]
    examples: Collection[str]


class _RefusedEditError(Exception):
    """An object is not a valid edit; the message says why."""


def parse_edits(
    text: str,
    allowed: Collection[OpName],
    principles: Sequence[str],
    max_edits: int | None,
    max_words: int | None,
    clean: Callable[[str], str] = clean_principle,
    examples: Collection[str] = (),
) -> ParsedEdits:
    """Read the edits a model wrote.

    Args:
        text: the model's whole answer, prose and fences included.
        allowed: the operations of this stage, e.g. ``{"add", "modify"}`` for a critique.
        principles: the principles (G0, G1, ...) the model was shown. An edit may refer to one by its label or by quoting it.
        max_edits: valid edits beyond this many are dropped (the paper's K_ops); None for no limit.
        max_words: a principle with more words is dropped, never cut (paper: 32); None for no limit.
        clean: converts a text as written to the prompt's form (`forms.Form.clean`); texts it refuses are left out.
        examples: texts of the edits by which the instructions show the form, as `bare` gives them. An edit that repeats one is left out.

    Returns:
        The valid edits in the order written. There may be none: an empty list is a valid answer, and so are problems alone.

    Raises:
        UnparseableEditsError: nothing complete to read, or a text of more than ``MAX_CHARACTERS`` characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnparseableEditsError(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}")
    if not text.strip():
        raise UnparseableEditsError("the editor wrote nothing; its prompt may leave no room in the model's context")
    recovered = recover_objects(text)
    if not recovered.objects and not recovered.empty_list:
        raise UnparseableEditsError(f"no complete JSON object in: {quote(text, 200)}")
    rules = _Rules(frozenset(allowed), [fold(principle) for principle in principles], max_words, clean, examples)
    problems = list(recovered.damaged)
    edits: list[Edit] = []
    for number, proposed in enumerate(proposals(recovered.objects), start=1):
        try:
            edit, notes = _typed(proposed, rules)
        except _RefusedEditError as refusal:
            problems.append(f"edit {number}: {refusal}")
            continue
        problems.extend(f"edit {number}: {note}" for note in notes)
        if max_edits is not None and len(edits) >= max_edits:
            problems.append(f"edit {number}: beyond the limit of {max_edits}")
        else:
            edits.append(edit)
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} problems more"]
    return ParsedEdits(tuple(edits), tuple(problems))


def apply_edits(principles: Sequence[str], edits: Sequence[Edit]) -> Applied:
    """Apply edits to a list of principles. Every id refers to the *original* list; the result is renumbered from G0.

    The first edit of a principle wins and later ones are ignored; a merge is ignored if any of its ids is taken. A merged text goes to the
    smallest of its ids. Additions go to the end in order; one whose text, white space folded, is already in the edited list is ignored. A
    principle that the edits made equal to an earlier one is dropped as a duplicate. After the first rewrite every other edit is ignored.
    Raises ValueError for an id outside the list.
    """
    if (whole := next((edit for edit in edits if isinstance(edit, Rewrite)), None)) is not None:
        said: dict[str, str] = {}
        for block in whole.blocks:
            said.setdefault(fold(block), block)
        return Applied(tuple(said.values()), (whole,))
    slots: list[str | None] = list(principles)
    taken: set[int] = set()
    accepted: list[bool] = []
    for edit in edits:
        targets = _targets(edit)
        if not all(0 <= target < len(slots) for target in targets):
            raise ValueError(f"{edit.op} of {_labels(targets)} in a list of {len(slots)} principles")
        accepted.append(taken.isdisjoint(targets))
        if accepted[-1] and targets:
            taken.update(targets)
            for target in targets:
                slots[target] = None
            if isinstance(edit, Modify | Merge):
                slots[min(targets)] = edit.principle
    once: dict[str, str] = {}
    for text in slots:
        if text is not None:
            once.setdefault(fold(text), text)
    result, standing = list(once.values()), set(once)
    for index, edit in enumerate(edits):
        if isinstance(edit, Add):
            accepted[index] = fold(edit.principle) not in standing
            if accepted[index]:
                standing.add(fold(edit.principle))
                result.append(edit.principle)
    return Applied(tuple(result), tuple(edit for edit, accept in zip(edits, accepted, strict=True) if accept))


def _typed(fields: JsonObject, rules: _Rules) -> tuple[Edit, list[str]]:
    """Convert one object to an edit, with notes on repairs. Raises _RefusedEditError."""
    op = fields.get("op")
    if not isinstance(op, str):
        raise _RefusedEditError(f"no operation in {quote(json.dumps(fields))}")
    build = _BUILDERS.get(op.strip().lower())
    if build is None:
        raise _RefusedEditError(f"unknown operation {quote(op)}")
    notes: list[str] = []
    edit = build(fields, rules, notes)
    if edit.op not in rules.allowed:
        raise _RefusedEditError(f"{edit.op} is not allowed here, only {', '.join(sorted(rules.allowed))}")
    if repeated := [text for text in _said(edit) if bare(text) in rules.examples]:
        raise _RefusedEditError(f"{edit.op} repeats the example of its instructions: {quote(repeated[0])}")
    return edit, notes


def _add(fields: JsonObject, rules: _Rules, notes: list[str]) -> Edit:
    return Add(_principle(fields, "add", rules), _evidence(fields))


def _modify(fields: JsonObject, rules: _Rules, notes: list[str]) -> Edit:
    return Modify(_single_id(fields, "modify", rules), _principle(fields, "modify", rules), _evidence(fields))


def _remove(fields: JsonObject, rules: _Rules, notes: list[str]) -> Edit:
    return Remove(_single_id(fields, "remove", rules), _evidence(fields))


def _merge(fields: JsonObject, rules: _Rules, notes: list[str]) -> Edit:
    """Build a merge, dropping unknown ids with a note; if one id is left, it becomes a Modify."""
    ids: list[int] = []
    for label in _id_labels(fields, "merge"):
        number = _known_id(label, rules)
        if number is None:
            notes.append(f"merge names {quote(label)}, the prompt has {_range(rules)}")
        elif number not in ids:
            ids.append(number)
    if not ids:
        raise _RefusedEditError(f"merge names no principle of the prompt, which has {_range(rules)}")
    principle, evidence = _principle(fields, "merge", rules), _evidence(fields)
    if len(ids) == 1:
        notes.append(f"merge of G{ids[0]} alone is read as modify")
        return Modify(ids[0], principle, evidence)
    return Merge(tuple(ids), principle, evidence)


def _rewrite(fields: JsonObject, rules: _Rules, notes: list[str]) -> Edit:
    """Build a rewrite from a text, or from a list of blocks."""
    value = fields.get("principle")
    parts = value if isinstance(value, list) else [value]
    texts = [part for part in parts if isinstance(part, str)]
    if not texts or len(texts) < len(parts):
        raise _RefusedEditError("rewrite without a text")
    try:
        blocks = tuple(block for text in texts for block in split_blocks(text))
    except BadTextError as fault:
        raise _RefusedEditError(f"rewrite {fault}") from fault
    if not blocks:
        raise _RefusedEditError("rewrite without a text")
    if rules.max_words is not None and (long := [block for block in blocks if len(block.split()) > rules.max_words]):
        raise _RefusedEditError(f"rewrite with a block of {len(long[0].split())} words, more than {rules.max_words}: {quote(long[0])}")
    return Rewrite(blocks, _evidence(fields))


_Builder: TypeAlias = Callable[[JsonObject, _Rules, list[str]], Edit]
_BUILDERS: Final[dict[str, _Builder]] = {"add": _add, "modify": _modify, "merge": _merge, "remove": _remove, "rewrite": _rewrite}


def _principle(fields: JsonObject, op: OpName, rules: _Rules) -> str:
    value = fields.get("principle")
    try:
        principle = rules.clean(value) if isinstance(value, str) else ""
    except BadTextError as fault:
        raise _RefusedEditError(f"{op} {fault}") from fault
    if not principle:
        raise _RefusedEditError(f"{op} without a principle")
    if rules.max_words is not None and (words := len(principle.split())) > rules.max_words:
        raise _RefusedEditError(f"{op} with a principle of {words} words, more than {rules.max_words}: {quote(principle)}")
    return principle


def _single_id(fields: JsonObject, op: OpName, rules: _Rules) -> int:
    labels = _id_labels(fields, op)
    if len(labels) != 1:
        raise _RefusedEditError(f"{op} of {len(labels)} principles, exactly one is needed")
    number = _known_id(labels[0], rules)
    if number is None:
        raise _RefusedEditError(f"{op} names {quote(labels[0])}, the prompt has {_range(rules)}")
    return number


def _id_labels(fields: JsonObject, op: OpName) -> list[str]:
    """Return the labels under ``id`` or ``ids`` (merge looks at ``ids`` first), as a flat list."""
    names = ("ids", "id") if op == "merge" else ("id", "ids")
    value = next((fields[name] for name in names if name in fields), None)
    if value is None:
        raise _RefusedEditError(f"{op} without an id")
    return id_labels(value)


def _evidence(fields: JsonObject) -> str:
    value = fields.get("evidence")
    if value is None:
        return ""
    return fold(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def bare(text: str) -> str:
    """Fold a text for a comparison that minds neither case nor a final stop."""
    return fold(text).casefold().rstrip(" .")


def _said(edit: Edit) -> tuple[str, ...]:
    """Return what an edit says in words of its own."""
    match edit:
        case Rewrite():
            return edit.blocks
        case Remove():
            return (edit.evidence,)
        case Add() | Modify() | Merge():
            return (edit.principle,)


def _targets(edit: Edit) -> tuple[int, ...]:
    """Return the original principles that an edit claims."""
    match edit:
        case Add() | Rewrite():
            return ()
        case Merge():
            return edit.ids
        case Modify() | Remove():
            return (edit.id,)


def _labels(ids: Sequence[int]) -> str:
    return ", ".join(f"G{number}" for number in ids)


def _known_id(label: str, rules: _Rules) -> int | None:
    """Return the index of the principle with this label or with this exact text; of equal texts, the first."""
    number = id_number(label)
    if number is None:
        text = clean_principle(label)
        return rules.principles.index(text) if text in rules.principles else None
    return number if number < len(rules.principles) else None


def _range(rules: _Rules) -> str:
    return f"G0 to G{len(rules.principles) - 1}" if rules.principles else "none"
