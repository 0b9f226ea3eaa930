"""Compare amounts: numbers, quantities, ratios, times, digits in a base, remainders. `swapped`: the first value is the answer."""

from dataclasses import replace
from typing import Any

from espl_bench.grading import scalars
from espl_bench.grading.comparison import Comparison
from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.readings import Congruence, InBase, Quantity, Ratio, Scalar


def scalars_agree(gold: Scalar, answer: Scalar, by: Comparison) -> bool:
    """Compare numbers or formulas; an engineer's j, and letters in bold on one side only, count as the other side has them."""
    if scalars.same_scalar(gold, answer, by.allowed.places):
        return True
    for change in (_with_j, _with_other_bold):
        changed = change(gold.value, answer.value)
        if changed is not None and scalars.same_scalar(
            replace(gold, value=changed[0]), replace(answer, value=changed[1]), by.allowed.places
        ):
            return True
    return not by.allowed.strict and _same_but_names(gold.value, answer.value)


def _with_j(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Read an engineer's j as the imaginary unit, if the gold answer is complex and has no j."""
    j = symbol("j")
    if gold.has(sympy.I) and not gold.has(j) and answer.has(j) and not answer.has(sympy.I):
        return gold, answer.xreplace({j: sympy.I})
    return None


def _with_other_bold(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Take bold letters for plain ones where only one side has any."""
    bold = [[name for name in side.free_symbols if str(name).startswith("bold_")] for side in (gold, answer)]
    if bool(bold[0]) == bool(bold[1]):
        return None
    plain = [
        side.xreplace({name: _plain_letter(str(name)[5:]) for name in names}) for side, names in zip((gold, answer), bold, strict=True)
    ]
    return plain[0], plain[1]


def _plain_letter(name: str) -> Any:
    return sympy.E if name == "e" else symbol(name)


def _same_but_names(gold: Any, answer: Any) -> bool:
    ours, theirs = (sorted(side.free_symbols, key=str) for side in (gold, answer))
    return len(ours) == len(theirs) > 0 and scalars.same_formula(gold, answer.xreplace(dict(zip(theirs, ours, strict=True))), rename=False)


def quantities(gold: Quantity, answer: Quantity, by: Comparison) -> bool:
    """Compare amounts with units, converted to one another."""
    if gold.compound != answer.compound:
        return False
    if gold.unit.powers != answer.unit.powers:
        return _alike_nouns(gold, answer) and scalars_agree(gold.amount, answer.amount, by)
    if gold.unit.factor == answer.unit.factor:
        return scalars_agree(gold.amount, answer.amount, by)
    gold_value, value = (q.amount.value * sympy.Rational(str(q.unit.factor)) for q in (gold, answer))
    return scalars.same_number(gold_value, value) if not (gold_value - value).free_symbols else scalars.same_formula(gold_value, value)


def _alike_nouns(gold: Quantity, answer: Quantity) -> bool:
    """Return True for counts of the same thing: ``apple`` and ``apples``, ``unit`` and anything."""
    names = [q.unit.powers[0][0] if len(q.unit.powers) == 1 and q.unit.powers[0][1] == 1 else "" for q in (gold, answer)]
    return bool(names[0]) and bool(names[1]) and names[0].rstrip("s") == names[1].rstrip("s")


def quantity_scalar(quantity: Quantity, number: Scalar, by: Comparison, swapped: bool) -> bool:
    """Compare an amount with a number without its unit, or degrees with radians."""
    gold, answer = (number, quantity.amount) if swapped else (quantity.amount, number)
    if number.percent and not quantity.amount.percent:  # a percent sign is no kilogram
        return False
    if scalars_agree(gold, answer, by):
        return True
    if quantity.unit.powers != (("degree", 1),) or quantity.amount.value.free_symbols:
        return False
    radians = quantity.amount.value * sympy.pi / 180
    if not swapped and number.decimals is not None and number.decimals >= by.allowed.places:
        return scalars.same_scalar(Scalar(radians), number, by.allowed.places)
    return number.value.has(sympy.pi) and scalars.same_number(radians, number.value)


def ratios(gold: Ratio, answer: Ratio, by: Comparison) -> bool:
    """Compare ratios up to a factor, or times of day."""
    if gold.minutes is not None and answer.minutes is not None:
        return _same_time(gold, answer)
    if gold.minutes is not None or gold.half or answer.half or len(gold.parts) != len(answer.parts):
        return False
    if not all(isinstance(part, Scalar) for part in (*gold.parts, *answer.parts)):
        return by.ordered(gold.parts, answer.parts)
    ours, theirs = ([part.value for part in side.parts if isinstance(part, Scalar)] for side in (gold, answer))
    return (
        all(
            scalars.same_formula(a * theirs[0], b * ours[0], rename=False)
            if (a * theirs[0] - b * ours[0]).free_symbols
            else scalars.same_number(a * theirs[0], b * ours[0])
            for a, b in zip(ours, theirs, strict=True)
        )
        and ours[0] != 0 != theirs[0]
    )


def _same_time(gold: Ratio, answer: Ratio) -> bool:
    """Compare times of day; one without half a day means the other's."""
    assert gold.minutes is not None and answer.minutes is not None
    if gold.half and answer.half:
        return gold.minutes == answer.minutes
    if gold.half or answer.half:
        plain, told = (answer, gold) if gold.half else (gold, answer)
        assert plain.minutes is not None and told.minutes is not None
        on_the_clock = plain.minutes < 13 * 60 and plain.minutes % 720 == told.minutes % 720
        return plain.minutes == told.minutes or on_the_clock
    return gold.minutes == answer.minutes


def ratio_scalar(ratio: Ratio, number: Scalar, by: Comparison, swapped: bool) -> bool:
    """Compare a ratio of two with a fraction."""
    parts = [part.value for part in ratio.parts if isinstance(part, Scalar)]
    if len(parts) != 2 or len(ratio.parts) != 2 or ratio.minutes is not None or not parts[1]:
        return False
    return number.value.is_Integer is not True and scalars.same_scalar(Scalar(parts[0] / parts[1]), number)


def in_bases(gold: InBase, answer: InBase, by: Comparison) -> bool:
    """Compare the values of digits."""
    return gold.value == answer.value >= 0


def base_scalar(based: InBase, number: Scalar, by: Comparison, swapped: bool) -> bool:
    """A number without a base has the gold answer's: 52 answers ``52_8``; ``1101_2`` answers 13."""
    value = number.value
    if not value.is_Integer or number.decimals is not None or (swapped and based.prefixed):
        return False
    return int(value) == based.value if swapped else str(value) == based.digits


def congruences(gold: Congruence, answer: Congruence, by: Comparison) -> bool:
    """Compare remainders with the same modulus."""
    if gold.subject is not None and answer.subject is not None and gold.subject != answer.subject and by.allowed.strict:
        return False
    if gold.modulus != answer.modulus:
        return False
    difference = gold.residue - answer.residue
    if difference.is_Integer and gold.modulus.is_Integer and gold.modulus:
        return int(difference) % int(gold.modulus) == 0
    return scalars.same_formula(gold.residue, answer.residue, rename=False)


def congruence_scalar(found: Congruence, number: Scalar, by: Comparison, swapped: bool) -> bool:
    """A gold number is answered by the remainder with its modulus: ``3 (mod 7)``."""
    if not swapped or found.subject is not None or not all(value.is_Integer for value in (found.residue, found.modulus, number.value)):
        return False
    if found.residue == number.value:
        return True
    return bool(0 <= number.value < found.modulus) and int(found.residue - number.value) % int(found.modulus) == 0
