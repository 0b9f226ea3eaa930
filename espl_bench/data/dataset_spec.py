"""Descriptions of an environment's data: the source of each set, its expected content, and its licence.

A description is written by hand next to the environment and holds no data. Everything else in this package works on
descriptions alone. This module imports only the standard library and the project's types, so that a spec stays light.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from espl_bench.errors import UsageError, unknown
from espl_bench.types import Split


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence as stated by its source. It is reported, never interpreted."""

    name: str
    """For example ``apache-2.0``, or ``not verified``."""
    stated_by: str
    """Where it is stated, and which questions that leaves open."""
    non_commercial: bool = False
    """True if the statement excludes commercial use."""

    @property
    def short(self) -> str:
        """Name with the restriction that users must not overlook."""
        return f"{self.name} (non-commercial)" if self.non_commercial else self.name


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of problem and answer; dots lead into nested records, as in ``reward_model.ground_truth``."""

    problem: str
    answer: str


USUAL_COLUMNS: tuple[Columns, ...] = (
    Columns("problem", "answer"),
    Columns("question", "answer"),
    Columns("prompt", "reward_model.ground_truth"),
)
"""Tried in this order if the user did not name the columns."""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """Text that a data set puts around every problem, removed when it is read."""

    before: str
    after: str

    def unwrap(self, text: str) -> str:
        """Remove the wrapper; a text without it is left as it is."""
        return text.replace(self.before, "").replace(self.after, "")  # an empty one removes nothing


@dataclass(frozen=True, slots=True)
class DataSource:
    """One data set, of which an environment uses some or all rows."""

    name: str
    """Name of the set in the data home and in commands, e.g. ``aime-2022-2024``. Environments may share a source."""
    hub_id: str
    """Hub id, or the path of a folder that `datasets` can load."""
    licence: Licence
    hub_split: str = "train"
    config: str | None = None
    """The hub's configuration; None: its default."""
    revision: str | None = None
    """The commit to load; None: the newest, whose commit is then recorded."""
    columns: tuple[Columns, ...] = USUAL_COLUMNS
    """Pairs that may hold problem and answer; the first that a file has is used."""
    wrapper: Wrapper | None = None
    answers: Literal["text", "integer", "list"] = "text"
    """``integer``: every answer must be one, and is stored without leading zeros and without ``.0``. ``list``: every answer is one
    text or several, any of which is right, and is stored as a JSON list."""
    allow_conflicts: bool = False
    """True if the set is published with problems that have several answers, of which the last counts."""
    expected: int | None = None
    """Rows after duplicates are removed; None: unknown."""
    identity: str | None = None
    """The recorded SHA-256 of the set (`text.identity_of`); None: unknown."""
    identity_of: str = ""
    """The copy from which the recorded identity was computed."""
    about: str = ""
    """Content in one line."""
    caution: str = ""
    """Warning for its users in one line."""


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A small corpus to search: the paragraphs that the rows of data sets hold beside their questions."""

    name: str
    """Name of the corpus in the data home and in commands."""
    sets: tuple[DataSource, ...]
    """The sets whose rows are read, each for itself."""
    rank: Callable[[str], int]
    """Orders the questions of a set: those of lowest rank are taken."""
    questions: int
    """Maximum number of questions of each set whose paragraphs are taken."""
    licence: Licence
    about: str
    """Content in one line, which says what it is not."""
    column: str = "context"
    """Column of a row's paragraphs, see `paragraphs.paragraphs_of`."""
    evidence: str = "supporting_facts"
    """Column of the titles among them that hold the answer."""


CORPUS = "corpus"
"""Stands for the corpus where commands name a split."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The data of one environment."""

    train: tuple[DataSource, ...] = ()
    validation: tuple[DataSource, ...] = ()
    test: tuple[DataSource, ...] = ()
    split_rule: str = ""
    """How splits are made from the sources, in one line."""
    selected: int | None = None
    """Rows of the training sources that are used; None: all."""
    corpus: CorpusSource | None = None
    """What is searched unless a corpus is named."""

    def of(self, split: Split) -> tuple[DataSource, ...]:
        """Return the sources of a split; empty if it has none of its own."""
        return {Split.TRAIN: self.train, Split.VALIDATION: self.validation, Split.TEST: self.test}[split]

    def rows(self, split: Split) -> int | None:
        """Return the number of rows of a split before anything is held out, as described; None if unknown."""
        if split is Split.TRAIN and self.selected is not None:
            return self.selected
        counts = [source.expected for source in self.of(split)]
        return None if None in counts else sum(count for count in counts if count is not None)

    def __iter__(self) -> Iterator[tuple[Split, DataSource]]:
        """Yield every source with its split, in the splits' order."""
        return ((split, source) for split in Split for source in self.of(split))

    def find(self, env: str, split: Split, name: str | None) -> DataSource:
        """Return the source that a command means. Raises UsageError if the split has none, or several and none is named."""
        sources = {source.name: source for source in self.of(split)}
        if name is not None:
            if name not in sources:
                raise unknown(f"source of {env}'s {split} split", name, sources)
            return sources[name]
        if not sources:
            filled = ", ".join(dict.fromkeys(kind.value for kind, _ in self))
            raise UsageError(f"the {split} split of {env} takes no data of its own ({self.split_rule}); it needs data for: {filled}")
        if len(sources) > 1:
            raise UsageError(f"the {split} split of {env} has several sources; name one with --source: {', '.join(sources)}")
        return next(iter(sources.values()))
