"""What a run's numbers depend on, and how two such bindings differ.

Every checkpoint holds the binding that it was made under, and provenance.json the first one. A resume compares: a difference is refused in
one line, or goes on and is recorded if it was allowed. A run of a version before bindings is compared as far as its provenance goes.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from pydantic import Field

from espl_bench.environment.identity import DECLARED
from espl_bench.errors import UsageError, unknown
from espl_bench.utils.hashing import SHOWN_HASH
from espl_bench.utils.validation import FrozenRecord

SHOWN_WIDTH = 60
"""Maximum characters of a value in a message."""
EDITORS: Final = "editor's "
"""Prefix of names that are about a separate editor."""
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")


class What(StrEnum):
    """Parts of a binding: fields of `Binding`, and the values of `--allow-changed`."""

    CONFIG = "config"
    VERSION = "version"
    MODEL = "model"
    ENVIRONMENT = "environment"
    ITEMS = "items"
    TEMPLATES = "templates"


UNOPENED: Final = (What.CONFIG, What.VERSION, What.MODEL)
"""Parts that are known before anything is opened."""
PHRASES: Final[Mapping[What, str]] = {
    What.CONFIG: "with another configuration",
    What.VERSION: "with another version",
    What.MODEL: "on another model",
    What.ENVIRONMENT: "in another environment",
    What.ITEMS: "on other data",
    What.TEMPLATES: "with other templates",
}
"""How a message says that a part differs, after "was started"."""


class Change(FrozenRecord):
    """One name of a binding whose value differs."""

    what: What
    name: str
    old: Any
    """None: there was none."""
    new: Any
    """None: there is none now."""

    def __str__(self) -> str:
        """Describe the difference in a few words: ``lr 0.001 -> 1e-05``."""
        return f"{self.name} {changed(_ABSENT if self.old is None else self.old, _ABSENT if self.new is None else self.new)}"


class Binding(FrozenRecord):
    """Everything that a run's numbers depend on: names and values by part. Long values are hashes."""

    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Choices by name, without those that change no number."""
    version: dict[str, str] = Field(default_factory=dict[str, str])
    """Of espl-bench and of the packages whose objects the run names."""
    model: dict[str, str] = Field(default_factory=dict[str, str])
    """Files of each model; empty for one that is not on this machine."""
    environment: dict[str, str] = Field(default_factory=dict[str, str])
    """Id, package and source."""
    items: dict[str, str] = Field(default_factory=dict[str, str])
    """Items by split, and what the environment declares about its data."""
    templates: dict[str, str] = Field(default_factory=dict[str, str])
    """Files of the dialect, descriptions of tools, chat template."""

    def part(self, what: What) -> dict[str, Any]:
        """Return one part."""
        return getattr(self, what.value)

    def digest(self, what: What) -> str:
        """Return a short hash of one part, without what is about a separate editor: equal for what the policy has in common."""
        part = {name: value for name, value in self.part(what).items() if not name.startswith(EDITORS)}
        return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:SHOWN_HASH] if part else ""

    def after(self, changes: Collection[Change]) -> "Binding":
        """Return the binding with changes made to it, in their order."""
        parts = {what.value: dict(self.part(what)) for what in What}
        for change in changes:
            parts[change.what.value].pop(change.name, None)
            if change.new is not None:
                parts[change.what.value][change.name] = change.new
        return Binding.model_validate(parts)

    def changes(self, found: "Binding", among: Collection[What] = tuple(What)) -> tuple[Change, ...]:
        """Return what differs in another binding, in the order of the parts."""
        return tuple(change for what in What if what in among for change in _changes(what, self.part(what), found.part(what)))


@dataclass(frozen=True, slots=True)
class KnownBinding:
    """What is known of the binding that a run goes on from."""

    binding: Binding
    complete: bool = True
    """False: the run is older than bindings, and this is what its provenance says."""

    def changes(self, found: Binding, among: Collection[What] = tuple(What)) -> tuple[Change, ...]:
        """Return what differs, as far as it is known."""
        return tuple(change for change in self.binding.changes(found, among) if self.complete or change.old is not None)

    @property
    def unknown(self) -> tuple[What, ...]:
        """Parts that cannot be compared."""
        return () if self.complete else tuple(what for what in What if not self.binding.part(what))

    @property
    def caveat(self) -> str | None:
        """One line that says what cannot be compared; None if everything can."""
        if not self.unknown:
            return None
        return f"the version that began this run did not record its {', '.join(self.unknown)}, so changes of these cannot be seen"


class AllowedChange(Change):
    """A difference that a resume was told to accept."""

    step: int | None
    """The commit that it went on from; None: it started again."""
    utc: str

    def __str__(self) -> str:
        """Describe it in a few words, with its place in the run."""
        return f"{self.what} {Change.__str__(self)} {'before step 1' if not self.step else f'after step {self.step}'}"


def described(changes: Collection[Change]) -> str:
    """Describe changes by part: ``with another configuration: lr 0.001 -> 1e-05; on other data: test 3fa2… -> 77b1…``."""
    said_twice = {f"{DECLARED}{change.name}" for change in changes}
    shown = [change for change in changes if change.name not in said_twice]
    parts = dict.fromkeys(change.what for change in shown)
    return "; ".join(f"{PHRASES[what]}: {', '.join(str(change) for change in shown if change.what is what)}" for what in parts)


def parse_allowed(names: Collection[str]) -> frozenset[What]:
    """Read the parts that may differ. Raises UsageError with the nearest known name."""
    known = [what.value for what in What]
    for name in names:
        if name not in known:
            raise unknown("part of a run that may change", name, known)
    return frozenset(What(name) for name in names)


def refuse(place: object, changes: Collection[Change], remedy: str) -> None:
    """Raise UsageError in one line that shows every difference, if there is one."""
    if changes:
        raise UsageError(f"{place} was started {described(changes)}; {remedy}")


def _changes(what: What, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(what=what, name=name, old=old.get(name), new=new.get(name))


_ABSENT: Final = object()


def leaves(value: object, name: str = "") -> dict[str, object]:
    """Flatten nested dicts and lists to leaves by dotted name."""
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
    elif isinstance(value, list):
        items = enumerate(cast(list[object], value))
    else:
        return {name: value}
    return {key: leaf for part, item in items for key, leaf in leaves(item, f"{name}.{part}" if name else str(part)).items()}


def changed(old: object, new: object) -> str:
    """Format ``old -> new``: hashes by their first digits, and of other long values only the part that differs."""
    before, after = _shown(old), _shown(new)
    if max(len(before), len(after)) > SHOWN_WIDTH:
        same = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
        start = max(0, same - SHOWN_WIDTH // 4)
        before, after = (f"{'…' * (start > 0)}{text[start : start + SHOWN_WIDTH]}" for text in (before, after))
    return f"{before} -> {after}"


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "(none)"
    if isinstance(value, str):
        short = _HASH.sub(lambda found: found[0][:SHOWN_HASH], value)
        return short if short != value or value.isidentifier() else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
