import pytest
from hypothesis import given
from hypothesis import strategies as st

from espl_bench.grading.integers import canonical, canonical_answer, is_decimal_fraction, value_in_base

INTEGERS = {
    "42": "42",
    "033": "33",
    "0": "0",
    "000": "0",
    "-0": "0",
    "+5": "5",
    "-5": "-5",
    "−5": "-5",
    "–5": "-5",
    "- 5": "-5",
    "1,234": "1234",
    "1 234": "1234",
    "12 345 678": "12345678",
    "1{,}234": "1234",
    "1\\,234": "1234",
    "1\\ 234": "1234",
    "1,\\!234": "1234",
    "-1,234,567.00": "-1234567",
    "1\u202f234": "1234",
    "142.0": "142",
    "142.": "142",
    "$42$": "42",
    "$$42$$": "42",
    "\\(42\\)": "42",
    "\\[ 42 \\]": "42",
    " $ 42 $. ": "42",
    "**42**": "42",
    "{42}": "42",
    "\n42\n": "42",
    "9" * 5000: "9" * 5000,
}
OTHERS = [
    *(
        "",
        " ",
        "-",
        ".",
        "$",
        "$$",
        "{}",
        "x",
        "4 2",
        "1,23",
        "1,2345",
        "1,234 567",
        "1, 234",
        "12,34",
        "1,,234",
        ",234",
        "--5",
        "5-",
        "+-5",
    ),
    *(
        "1e3",
        "1/2",
        "0x10",
        "1_000",
        "2^{10}",
        "\\frac{4}{2}",
        "42x",
        "42\\%",
        "$42",
        "٤٢",
        "４２",
        "²",
        "42!",
        "4\n2",
        "\\text{42}",
        "{" * 20 + "1" + "}" * 20,
    ),
]
FRACTIONS = ["0.5", "-1.25", "1,234.5", "$41.9999$", "42.0000001", "00.10"]


@pytest.mark.parametrize(("text", "number"), INTEGERS.items())
def test_integers(text: str, number: str):
    assert canonical(text) == number
    assert not is_decimal_fraction(text)


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_no_integer(text: str):
    assert canonical(text) is None
    assert not is_decimal_fraction(text)


@pytest.mark.parametrize("text", FRACTIONS)
def test_decimal_fractions_are_no_integers(text: str):
    assert canonical(text) is None
    assert is_decimal_fraction(text)


@given(st.integers(), st.sampled_from(["{}", "{}.0", "${}$", " {}. ", "\\({}\\)", "{{{}}}", "{:,}", "{:,}.00", "{:_}"]))
def test_however_an_integer_is_written(number: int, style: str):
    text = style.format(number)
    if "_" in style:
        text = text.replace("_", "\\,")
    assert canonical(text) == str(number)


@given(st.text(alphabet="0123456789-−+.,{}$\\! ", max_size=12))
def test_what_is_read_means_itself(text: str):
    number = canonical(text)
    assert number is None or (canonical(number) == number and str(int(number)) == number)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2516_8", 1358),
        ("$1f_{16}$", 31),
        ("1F_ { 16 }.", 31),
        ("52_{4}", None),
        ("52_1", None),
        ("52_37", None),
        ("52_8x", None),
        ("x_2", None),
    ],
)
def test_integers_with_a_base(text: str, value: int | None):
    assert value_in_base(text) == value


@given(st.integers(min_value=0, max_value=10**30), st.sampled_from([2, 8, 10]))
def test_however_a_base_is_written(number: int, base: int):
    digits = {2: f"{number:b}", 8: f"{number:o}", 10: str(number)}[base]
    assert value_in_base(f"{digits}_{base}") == (number if len(digits) <= 100 else None) == value_in_base(f"{digits}_{{{base}}}")


def test_groups_that_mean_something_else_elsewhere_count_in_an_answer():
    groups = {"1,00,000": "100000", "12,34,567": "1234567", "-12,34,567": "-1234567", "1.234.567": "1234567", "$1.000.000$": "1000000"}
    assert {text: canonical_answer(text) for text in groups} == groups
    assert {canonical(text) for text in groups} == {None}
    assert {canonical_answer(text) for text in ("1.234", "12,34", "1,00,00", "1.234.5678", "1.234,567", "0,12,345", "123,45,678")} == {None}
    assert canonical_answer("1,234") == "1234"
