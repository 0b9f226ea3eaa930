"""Cleaning and comparing texts, and reading them out of files."""

import csv
import json
import unicodedata
from pathlib import Path

import pytest
from data_fixtures import write_jsonl

from espl_bench.data.cells import CellError, text_of
from espl_bench.data.columns import value_at
from espl_bench.data.dataset_spec import Columns, DataSource, Licence, Wrapper
from espl_bench.data.files import read_records
from espl_bench.data.intake import IntakeRules, take_in
from espl_bench.data.item_text import Item, clean, folded, identity_of, match_key, repairs, words
from espl_bench.errors import DataError, UsageError

INTEGERS = DataSource("set", "somebody/set", Licence("x", "y"), answers="integer")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a  b \n", "a  b"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("in the form \x0crac{m}{n}", r"in the form \frac{m}{n}"),
        ("\x08eta and \x0cfirst", r"\beta and  first"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("bell\x07nul\x00\x9f", "bell nul"),
        ("lone \ud800", "lone \ufffd"),
        ("Ünïcode √2 ，中文", "Ünïcode √2 ，中文"),
    ],
)
def test_cleaning_changes_what_carries_no_meaning_and_repairs_known_damage(text: str, cleaned: str):
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned
    assert repairs("\x0crac \x08eta \x0cfigure") == 2


def test_an_identity_is_of_texts_answers_and_order_and_of_nothing_else():
    items = [Item("a  b", "1", 0), Item("c", "2", 5)]
    assert identity_of(items) == identity_of([Item("a\nb", "1", 7), Item("c", " 2", 8)])
    others = [items[::-1], items[:1], [Item("a b", "2", 0), items[1]], [Item("ab", "1", 0), items[1]], [Item("a b 1", "", 0), items[1]]]
    assert len({identity_of(items), *map(identity_of, others)}) == 1 + len(others)
    assert folded(" a \n\t b ") == "a b"


def test_problems_that_differ_in_dress_only_are_the_same():
    assert match_key(r"Let $A B C D$ be \textbf{even}, $\dfrac{1}{2}$.") == match_key(r"let $ABCD$ be even $\frac12$")
    assert match_key(r"$\overline{A B}$") == match_key("$AB$") and match_key(r"\left(x\right)") == match_key("(x)")
    assert match_key("n = 3") != match_key("n = 4")


def test_a_key_keeps_letters_and_digits_of_every_script():
    """Published splits depend on it, whatever characters a problem holds."""
    everything = "".join(chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000)
    for text in (everything, everything[:128], "中文 x_1 = ½, Ⅳ ²; “quoted”"):
        plain = unicodedata.normalize("NFKC", text).casefold()
        assert match_key(text) == "".join(character for character in plain if character.isalnum())
    assert words(r"Let $2n\le ABCD$ and \frac12") == ["let", "2", "n", "\\le", "a", "b", "c", "d", "and", "\\frac", "12"]


RECORDS = [{"problem": "What is 1 + 1?", "answer": "2"}, {"problem": 'A "quoted", √2\nline', "answer": r"\frac{1}{2}"}]


def write(path: Path) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n\n")
        case ".json":
            path.write_text(json.dumps({"name": "set", "rows": RECORDS}))
        case ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, ["problem", "answer"])
                writer.writeheader()
                writer.writerows(RECORDS)
        case ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_format_gives_the_same_records(ending: str, tmp_path: Path):
    assert list(read_records(write(tmp_path / f"data{ending}"))) == RECORDS


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"x", "unknown file format '.txt'; did you mean '.tsv'? known: .arrow, .csv, "),
        ("a.jsonl", b'{"a": 1}\n{', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"a": 1}\n' + b"[" * 100_000, "a.jsonl:2 is nested too deeply to be read"),
        ("a.jsonl", b"[1]", "a.jsonl:1 is not a record with named fields but list"),
        ("a.jsonl", b'{"a": "\xff"}', "a.jsonl is not UTF-8 text (byte 7)"),
        ("a.jsonl", b"\xff\xfe", "a.jsonl is UTF-16 text; save it as UTF-8"),
        ("a.json", b"{", "a.json is not JSON"),
        ("a.json", b"{}", "a.json does not hold one list of records"),
        ("a.json", b"[1]", "a.json: entry 1 is not a record"),
        ("a.csv", b"problem,answer\n1,2,3\n", "a.csv:2 has more fields than the header"),
        ("a.csv", b'problem,answer\n"1,2\n', "is not CSV: unexpected end of data"),
        ("a.parquet", b"PAR?", "a.parquet is not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line_with_its_place(name: str, content: bytes, words: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((UsageError, DataError)) as error:
        list(read_records(path))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nowhere\.csv does not exist"):
        list(read_records(tmp_path / "nowhere.csv"))


HUB_RECORD = {
    "prompt": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "no"}],
    "reward_model": {"ground_truth": "34", "style": "rule"},
}


def test_columns_are_found_by_themselves_or_by_name():
    def found(record, problem=None, answer=None):
        return take_in([record], "FILE", None, problem, answer).columns

    assert found({"problem": "p", "answer": 1, "question": "q"}) == Columns("problem", "answer")
    assert found({"question": "q", "answer": 1}) == Columns("question", "answer")
    assert found(HUB_RECORD) == Columns("prompt", "reward_model.ground_truth")
    assert found({"problem": "p", "answer": 1, "q": "x"}, problem="q") == Columns("q", "answer")
    assert found({"a.b": "x", "answer": 1}, problem="a.b") == Columns("a.b", "answer")
    with pytest.raises(UsageError, match=r"unknown column of FILE 'reward_model\.groundtruth'; did you mean 'reward_model\.ground_truth'"):
        found(HUB_RECORD, answer="reward_model.groundtruth")
    with pytest.raises(UsageError, match=r"FILE has no columns problem \+ answer or .*, but task; name them with --problem-column"):
        found({"task": "x"})


def test_values_become_text():
    assert [text_of(value) for value in ("x", 142, 142.0, -0.5)] == ["x", "142", "142", "-0.5"]
    for value in (True, None, {}, [], float("nan"), float("-inf")):
        with pytest.raises(CellError):
            text_of(value)
    assert text_of(HUB_RECORD["prompt"]) == "one"
    assert value_at(HUB_RECORD, "reward_model.ground_truth") == "34"


def rows(*pairs):
    return [{"problem": problem, "answer": answer} for problem, answer in pairs]


def test_a_repeated_problem_keeps_its_place_and_its_last_answer():
    repeated = rows(("a", 1), ("b", 2), ("a", 3), ("a", 3), ("a ", 4), ("b", 2))
    intake = take_in(repeated, "FILE", rules=IntakeRules(allow_conflicts=True))
    assert intake.items == (Item("a", "3", 0), Item("b", "2", 1), Item("a", "4", 4)), "compared to the character, before cleaning"
    assert (intake.rows_read, intake.duplicates, intake.conflicts) == (6, 3, (0, 4)), "what is shown of both is the same"
    with pytest.raises(DataError, match=r"FILE: 2 problems come with several answers \(row 0, 4\).* with --allow-conflicts$"):
        take_in(repeated, "FILE")


def test_a_hundred_copies_have_the_identity_of_one():
    once = rows(("a", 1), ("b", 2))
    assert take_in(once * 100, "FILE").identity == take_in(once, "FILE").identity
    assert take_in(once * 100, "FILE").duplicates == 198


def test_a_wrapper_is_taken_off_before_problems_are_compared():
    source = DataSource("set", "x/y", Licence("x", "y"), wrapper=Wrapper("Solve:\n\n", "\n\nAnswer!"))
    assert [item.problem for item in take_in(rows(("Solve:\n\na\n\nAnswer!", 1), ("a", 1)), "FILE", source).items] == ["a"]


def test_integers_lose_zeros_and_what_is_none_is_refused():
    intake = take_in(rows(("a", "033"), ("b", "142.0"), ("c", 80.0), ("d", "-04"), ("e", "12345678")), "FILE", INTEGERS)
    assert [item.answer for item in intake.items] == ["33", "142", "80", "-4", "12345678"]
    [long] = take_in(rows(("a", "-00" + "7" * 5000)), "FILE", INTEGERS).items
    assert long.answer == "-" + "7" * 5000, "longer than Python reads as a number"
    with pytest.raises(DataError, match=r"FILE: 2 answers are not integers \(row 0, 2\), counted from 0; nothing was imported"):
        take_in(rows(("a", "1/2"), ("b", 3), ("c", "0.5")), "FILE", INTEGERS)


def test_rows_without_a_problem_or_an_answer_are_refused_and_named():
    with pytest.raises(DataError) as error:
        take_in([*rows(("a", ""), (" \x0c", 1), ("b", None), ("c", "1"), ("d", " "), ("e", "")), {"answer": 3}], "FILE")
    assert str(error.value).startswith("FILE: 4 rows have no answer (row 0, 2, 4, …); 2 rows have no problem (row 1, 6), counted from 0")
    with pytest.raises(DataError, match="FILE has no rows"):
        take_in([], "FILE")


def test_reading_a_file_end_to_end(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "  one \x0crac12", "a": 1}, {"q": "two", "a": 2.5}])
    intake = take_in(read_records(path), str(path), None, "q", "a")
    assert intake.items == (Item(r"one \frac12", "1", 0), Item("two", "2.5", 1))
    assert (intake.columns, intake.repaired) == (Columns("q", "a"), 1)
