"""What an answer can be: typed values. Each kind of value is read in one place (read.py) and compared in one place (sameness.py)."""

from dataclasses import dataclass
from typing import Any, Union


@dataclass(frozen=True)
class Scalar:
    """A number or a formula."""

    value: Any
    """A sympy expression."""
    decimals: int | None = None
    """Places after the decimal point, if it was written as a decimal; None: exact."""
    digits: int = 0
    """Significant digits of a decimal."""
    percent: bool = False
    """True if it was written as a percentage; `value` is the number before the sign."""
    unfinished: bool = False
    """True if the decimal goes on: ``3.14159…``."""


@dataclass(frozen=True)
class Unit:
    """A product of powers of base units, with the factor to them. An unknown noun is a base unit of its own."""

    powers: tuple[tuple[str, int], ...]
    factor: Any = 1


@dataclass(frozen=True)
class Quantity:
    """A number with a unit."""

    amount: Scalar
    unit: Unit
    compound: bool = False
    """True if it was written with several units: ``5 ft 3 in``."""


@dataclass(frozen=True)
class Bracketed:
    """Items in order between brackets: a point, a vector, or, if there are two, perhaps an interval."""

    opening: str
    closing: str
    items: tuple["Reading", ...]


@dataclass(frozen=True)
class SetOf:
    """Items in braces."""

    items: tuple["Reading", ...]


@dataclass(frozen=True)
class Listing:
    """Several values: a list without brackets. Order does not count, number does."""

    items: tuple["Reading", ...]
    worded: bool = False
    """True if they are joined by words or ``±``: then they are no point."""


@dataclass(frozen=True)
class Dots:
    """An ellipsis within a list."""


@dataclass(frozen=True)
class Region:
    """A set of real numbers, or of other numbers."""

    variable: str | None
    """The name that an inequality speaks of."""
    value: Any
    """A sympy set."""


@dataclass(frozen=True)
class Relation:
    """An equation or inequality between two formulas that is not solved for one name."""

    sign: str
    left: Any
    right: Any


@dataclass(frozen=True)
class Named:
    """``x = 3``, ``f(x) = 2x``, ``P = (3, 4)``: a name and its value."""

    name: str
    arguments: tuple[str, ...]
    value: "Reading"


@dataclass(frozen=True)
class Assignments:
    """A value for each of several names."""

    values: tuple[tuple[str, "Reading"], ...]
    """In the order of the names."""


@dataclass(frozen=True)
class Congruence:
    """``x ≡ 3 (mod 7)``, with or without what is congruent."""

    subject: Any | None
    residue: Any
    modulus: Any


@dataclass(frozen=True)
class Ratio:
    """``1:2`` or, if it can be one, a time of day."""

    parts: tuple["Reading", ...]
    minutes: int | None = None
    """Minutes after midnight, or after noon too if `half` is empty; None: no time."""
    half: str = ""
    """``am``, ``pm``, or nothing."""


@dataclass(frozen=True)
class InBase:
    """Digits with their base."""

    digits: str
    base: int
    value: int
    prefixed: bool = False
    """True if it was written with a prefix, as programs do: ``0b101``."""


@dataclass(frozen=True)
class Matrix:
    """Rows of cells."""

    rows: tuple[tuple["Reading", ...], ...]


@dataclass(frozen=True)
class Cases:
    """Values with their conditions."""

    rows: tuple[tuple["Reading", "Reading"], ...]


@dataclass(frozen=True)
class Words:
    """Text."""

    text: str
    """As it is compared."""
    choice: str = ""
    """The letter, if the text begins with the label of a choice."""
    value: "Reading | None" = None
    """What stands behind the label of a choice."""


@dataclass(frozen=True)
class Contradiction:
    """A chain such as ``5 = 6``: equal to nothing."""

    text: str


@dataclass(frozen=True)
class Opaque:
    """A formula that is compared token by token."""

    tokens: tuple[str, ...]


Reading = Union[  # noqa: UP007  (the classes name it before it exists)
    Scalar,
    Quantity,
    Bracketed,
    SetOf,
    Listing,
    Dots,
    Region,
    Relation,
    Named,
    Assignments,
    Congruence,
    Ratio,
    InBase,
    Matrix,
    Cases,
    Words,
    Contradiction,
    Opaque,
]
