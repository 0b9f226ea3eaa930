import contextlib
import json
import time
from collections.abc import Collection

import pytest
from edits_json import render_edits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espl_bench.evolution.operators.edits import (
    MAX_CHARACTERS,
    MAX_PROBLEMS,
    Add,
    Merge,
    Modify,
    ParsedEdits,
    Remove,
    UnparseableEditsError,
    apply_edits,
    parse_edits,
)
from espl_bench.prompts.principle_text import OpName, clean_principle, fold

ALL: frozenset[OpName] = frozenset({"add", "modify", "merge", "remove"})


def parse(text: str, allowed: Collection[OpName] = ALL, num_principles=5, max_edits=None, max_words=32):
    return parse_edits(text, allowed, [f"principle {index}" for index in range(num_principles)], max_edits, max_words)


def test_the_wire_form_of_every_operation():
    text = """[
        {"op": "add", "principle": "new", "evidence": "P1 failed"},
        {"op": "modify", "id": "G3", "principle": "changed"},
        {"op": "merge", "ids": ["G1", "G2"], "principle": "both", "evidence": "same"},
        {"op": "remove", "id": "G0"}
    ]"""
    edits = (Add("new", "P1 failed"), Modify(3, "changed"), Merge((1, 2), "both", "same"), Remove(0))
    assert parse(text) == ParsedEdits(edits, ())


# Form: repaired silently.
FORGIVEN = {
    "code fence": ('```json\n[{"op": "remove", "id": "G1"}]\n```', [Remove(1)]),
    "fence without language": ('```\n[{"op": "remove", "id": "G1"}]\n```', [Remove(1)]),
    "unclosed fence": ('```json\n[{"op": "remove", "id": "G1"}]', [Remove(1)]),
    "prose around": ('Sure, here you are:\n[{"op": "remove", "id": "G1"}]\nHope this helps!', [Remove(1)]),
    "prose with brackets": ('[G1] is {bad}, (see [this]): {"op": "remove", "id": "G1"} not {x: 1}', [Remove(1)]),
    "prose with an apostrophe": ('I don\'t like G1. {"op": "remove", "id": "G1"}', [Remove(1)]),
    "prose with an url": ('see http://x.y/#z {"op": "remove", "id": "G1"}', [Remove(1)]),
    "prose with a heading": ('# Edit\n{"op": "remove", "id": "G1"}', [Remove(1)]),
    "numbered prose": ('#1: {"op": "remove", "id": "G1"}\n#2: {"op": "remove", "id": "G2"}', [Remove(1), Remove(2)]),
    "trailing commas": ('[{"op": "merge", "ids": [1, 2,], "principle": "a",},]', [Merge((1, 2), "a")]),
    "missing comma between fields": ('{"op": "add"\n"principle": "a"}', [Add("a")]),
    "missing comma between objects": ('[{"op":"remove","id":1} {"op":"remove","id":2}]', [Remove(1), Remove(2)]),
    "slash comment": ('[ // first\n{"op": "add", // the op\n"principle": "a"} // "done"\n]', [Add("a")]),
    "hash comment": ('[ # first\n{"op": "add", # the "op"\n"principle": "a" # text\n}\n# end\n]', [Add("a")]),
    "commented-out edit": ('[\n# {"op": "remove", "id": 1},\n{"op": "remove", "id": 2}]', [Remove(2)]),
    "hash in a principle": ('{"op": "add", "principle": "a # b #c"}', [Add("a # b #c")]),
    "slashes in a principle": ('{"op": "add", "principle": "a // b http://c"}', [Add("a // b http://c")]),
    "operators in a principle": ('{"op": "add", "principle": "@ % & # $ ~ ^"}', [Add("@ % & # $ ~ ^")]),
    "brackets in a principle": ('[{"op": "add", "principle": "a ] b } c [ d {"}]', [Add("a ] b } c [ d {")]),
    "fence in a principle": ('{"op": "add", "principle": "use ```json [] ``` here"}', [Add("use ```json [] ``` here")]),
    "single object": ('{"op": "remove", "id": "G1"}', [Remove(1)]),
    "objects by line": ('{"op": "remove", "id": "G1"}\n{"op": "remove", "id": "G2"}', [Remove(1), Remove(2)]),
    "two lists": ('[{"op": "remove", "id": "G1"}]\nand\n[{"op": "remove", "id": "G2"}]', [Remove(1), Remove(2)]),
    "list in a list": ('[[{"op": "remove", "id": "G1"}]]', [Remove(1)]),
    "operations wrapper": ('{"operations": [{"op": "remove", "id": "G1"}]}', [Remove(1)]),
    "edits wrapper with notes": ('{"thought": "hm", "edits": [{"op": "remove", "id": "G1"}]}', [Remove(1)]),
    "wrapper that has a type": ('{"type": "list", "edits": [{"op": "remove", "id": "G1"}]}', [Remove(1)]),
    "wrapped single edit": ('{"result": {"op": "remove", "id": "G1"}}', [Remove(1)]),
    "empty list": ("[]", []),
    "empty list in a fence": ("No changes.\n```json\n[\n]\n```", []),
    "empty wrapper": ('{"operations": []}', []),
    "evidence object": ('{"op": "remove", "id": 1, "evidence": {"op": "x"}}', [Remove(1, '{"op": "x"}')]),
    "evidence list": ('{"op": "remove", "id": 1, "evidence": [{"p": "P1"}]}', [Remove(1, '[{"p": "P1"}]')]),
    "null fields": ('{"op": "add", "id": null, "principle": "a", "evidence": null}', [Add("a")]),
    "python quotes": ("[{'op': 'add', 'principle': \"don't\"}]", [Add("don't")]),
    "python quotes with an apostrophe": ("[{'op': 'add', 'principle': 'don't do it'}]", [Add("don't do it")]),
    "unescaped quotes": (
        '{"op": "add", "principle": "say "yes" or "no", then stop"}',
        [Add('say "yes" or "no", then stop')],
    ),
    "raw line break": ('{"op": "add", "principle": "one\n  two"}', [Add("one two")]),
    "byte order mark": ('\ufeff[{"op": "add", "principle": "a"}]', [Add("a")]),
    "latex \\frac": (r'{"op": "add", "principle": "use \frac{1}{2}"}', [Add(r"use \frac{1}{2}")]),
    "latex \\(x\\)": (r'{"op": "add", "principle": "let \(x\) be"}', [Add(r"let \(x\) be")]),
    "latex letters": (
        r'{"op": "add", "principle": "\beta \theta \rho \nu \alpha"}',
        [Add(r"\beta \theta \rho \nu \alpha")],
    ),
    "latex \\neq, \\underline": (
        r'{"op": "add", "principle": "a\neq b \underline{c}"}',
        [Add(r"a\neq b \underline{c}")],
    ),
    "latex escaped rightly": (r'{"op": "add", "principle": "\\frac \\theta \\neq"}', [Add(r"\frac \theta \neq")]),
    "real escapes": (r'{"op": "add", "principle": "a\nb\tC \"q\" \u00e9 \/"}', [Add('a b\\tC "q" é /')]),
    "surrogate pair": (r'{"op": "add", "principle": "\ud83d\ude00"}', [Add("😀")]),
    "lone surrogates": (r'{"op": "add", "principle": "\ud83d x \ude00"}', [Add("\ufffd x \ufffd")]),
    "control characters": ('{"op": "add", "principle": "a\x00b\\u0007c"}', [Add("a b c")]),
    "id G3": ('{"op": "remove", "id": "G3"}', [Remove(3)]),
    "id [G3]": ('{"op": "remove", "id": "[G3]"}', [Remove(3)]),
    "id with blanks": ('{"op": "remove", "id": " G3 "}', [Remove(3)]),
    "id in lower case": ('{"op": "remove", "id": "g3"}', [Remove(3)]),
    "id as digits": ('{"op": "remove", "id": "3"}', [Remove(3)]),
    "id as a number": ('{"op": "remove", "id": 3}', [Remove(3)]),
    "id without quotes": ('{"op": "remove", "id": G3}', [Remove(3)]),
    "id in a list of one": ('{"op": "remove", "ids": ["G3"]}', [Remove(3)]),
    "ids in one string": ('{"op": "merge", "ids": "G1, G2", "principle": "a"}', [Merge((1, 2), "a")]),
    "merge with duplicate ids": ('{"op": "merge", "ids": ["G2","2",1], "principle": "a"}', [Merge((2, 1), "a")]),
    "label before the principle": ('{"op": "add", "principle": "[G3] text"}', [Add("text")]),
    "label with a colon": ('{"op": "modify", "id": 3, "principle": " G3: text"}', [Modify(3, "text")]),
    "label inside the principle": ('{"op": "add", "principle": "as [G3] says"}', [Add("as [G3] says")]),
    "white space in the principle": ('{"op": "add", "principle": "  a \\n\\n  b\t "}', [Add("a b")]),
    "op in capitals": ('{"OP": " ADD ", "Principle": "a"}', [Add("a")]),
    "alias operation, content": ('{"operation": "add", "content": "a"}', [Add("a")]),
    "alias type, text": ('{"type": "add", "text": "a"}', [Add("a")]),
    "alias option, experience, modified_from": (
        '{"option": "modify", "experience": "a", "modified_from": "G2"}',
        [Modify(2, "a")],
    ),
    "alias merged_from": ('{"option": "merge", "experience": "a", "merged_from": ["G0", "G4"]}', [Merge((0, 4), "a")]),
    "op beats type": ('{"type": "strategy", "op": "add", "principle": "a"}', [Add("a")]),
}


@pytest.mark.parametrize(("text", "edits"), FORGIVEN.values(), ids=FORGIVEN)
def test_malformed_text_is_read_as_it_was_meant(text, edits):
    assert parse(text) == ParsedEdits(tuple(edits), ())


KEEP = '{"op": "remove", "id": "G0"}'
# Meaning: the bad edit is left out with a line that names it, its good neighbour stays.
REFUSED = {
    "brace before a quotation": ('{"not an object}', "a colon was expected"),
    "brace before an apostrophe": ("{'tis no object}", "ends inside"),
    "unknown id": ('{"op": "modify", "id": "G5", "principle": "a"}', "'G5'"),
    "negative id": ('{"op": "remove", "id": -1}', "'-1'"),
    "id that is no id": ('{"op": "remove", "id": "the first"}', "'the first'"),
    "id that is true": ('{"op": "remove", "id": true}', "'true'"),
    "huge id": ('{"op": "remove", "id": ' + "9" * 5000 + "}", "'999"),
    "missing id": ('{"op": "modify", "principle": "a"}', "without an id"),
    "two ids for modify": ('{"op": "modify", "ids": ["G1", "G2"], "principle": "a"}', "exactly one"),
    "merge of unknown ids": ('{"op": "merge", "ids": ["G7", "G8"], "principle": "a"}', "no principle of the prompt"),
    "merge of nothing": ('{"op": "merge", "ids": [], "principle": "a"}', "no principle of the prompt"),
    "merge without ids": ('{"op": "merge", "principle": "a"}', "without an id"),
    "unknown op": ('{"op": "improve", "principle": "a"}', "'improve'"),
    "missing op": ('{"principle": "a"}', "no operation"),
    "op that is no text": ('{"op": ["add"], "principle": "a"}', "no operation"),
    "empty object": ("{}", "no operation"),
    "missing principle": ('{"op": "add"}', "without a principle"),
    "empty principle": ('{"op": "add", "principle": " \\n "}', "without a principle"),
    "principle of a label only": ('{"op": "add", "principle": "[G3]"}', "without a principle"),
    "principle that is no text": ('{"op": "add", "principle": ["a"]}', "without a principle"),
    "null principle": ('{"op": "add", "principle": null}', "without a principle"),
    "too many words": (json.dumps({"op": "add", "principle": "w " * 33}), "33 words, more than 32"),
    "unclosed string": ('{"op": "add", "principle": "abc}', "not closed"),
    "unclosed object": ('{"op": "add", "principle": "a"', "a key was expected"),
    "missing value": ('{"op": }', "a value was expected"),
    "missing first colon": ('{"op" "remove", "id": 3}', "a colon was expected"),
    "missing later colon": ('{"op": "remove", "id" 3}', "not closed"),
    "invented key": ('{"operate": "remove", "id": 3}', "no operation"),
    "too deep": ('{"op": ' + "[" * 50 + "]" * 50 + "}", "nesting"),
}


@pytest.mark.parametrize(("bad", "words"), REFUSED.values(), ids=REFUSED)
def test_a_bad_edit_is_left_out_with_a_line_and_its_neighbour_stays(bad, words):
    parsed = parse(f"[{bad},\n{KEEP}]")
    assert parsed.edits == (Remove(0),)
    assert len(parsed.problems) == 1
    assert words in parsed.problems[0]
    assert "\n" not in parsed.problems[0]
    assert len(parsed.problems[0]) < 250


UNPARSEABLE = {
    "empty": "",
    "blank": " \n\t",
    "prose": "I would not change anything.",
    "brackets in prose": "[G1] and {G2} are {fine}",
    "list of text": '["G1", "G2"]',
    "truncated only object": '[{"op": "add", "principle": "cut he',
    "truncated before its end": '{"op": "add", "principle": "whole"',
    "truncated list": "[",
    "object without quotes": "{op: add, principle: a}",
    "too long": KEEP + " " * MAX_CHARACTERS,
}


def test_an_empty_text_is_told_from_one_that_cannot_be_read():
    for text in ("", " \n"):
        with pytest.raises(UnparseableEditsError, match="the editor wrote nothing; its prompt may leave no room in the model's context"):
            parse(text)


@pytest.mark.parametrize("text", UNPARSEABLE.values(), ids=UNPARSEABLE)
def test_text_without_a_complete_object_is_unparseable_in_one_line(text):
    with pytest.raises(UnparseableEditsError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_every_complete_object_before_a_cut_is_recovered():
    text = render_edits([Remove(0), Add("a, b"), Merge((1, 2), "c")])
    counts = []
    for end in range(len(text) + 1):
        try:
            counts.append(len(parse(text[:end]).edits))
        except UnparseableEditsError:
            counts.append(0)
        assert counts[-1] == text[:end].count("}")
    assert counts[-1] == 3


def test_a_truncated_edit_is_reported():
    parsed = parse(f'[{KEEP}, {{"op": "add", "principle": "cut he')
    assert parsed.edits == (Remove(0),)
    assert parsed.problems == ("JSON from character 0: the text ends inside it",)


@pytest.mark.parametrize("op", sorted(ALL))
def test_an_operation_outside_the_stage_is_refused(op):
    edit = {"add": Add("a"), "modify": Modify(1, "a"), "merge": Merge((1, 2), "a"), "remove": Remove(1)}[op]
    assert parse(render_edits([edit]), allowed={op}) == ParsedEdits((edit,), ())
    parsed = parse(render_edits([edit]), allowed=ALL - {op})
    assert parsed.edits == ()
    assert f"{op} is not allowed here" in parsed.problems[0]


def test_a_merge_loses_unknown_ids_and_says_so():
    parsed = parse('{"op": "merge", "ids": ["G1", "G9", "G2"], "principle": "a"}')
    assert parsed.edits == (Merge((1, 2), "a"),)
    assert parsed.problems == ("edit 1: merge names 'G9', the prompt has G0 to G4",)


@pytest.mark.parametrize("ids", ['["G1"]', '["G1", "[G1]"]', '["G1", "G9"]'])
def test_a_merge_of_one_becomes_a_modify(ids):
    text = f'{{"op": "merge", "ids": {ids}, "principle": "a", "evidence": "e"}}'
    parsed = parse(text)
    assert parsed.edits == (Modify(1, "a", "e"),)
    assert "read as modify" in parsed.problems[-1]
    assert parse(text, allowed={"merge"}).edits == ()


def test_edits_beyond_the_limit_are_dropped_with_a_line_and_bad_ones_do_not_count():
    text = render_edits([Add("a"), Remove(9), Add("b"), Add("c")])
    parsed = parse(text, max_edits=2)
    assert parsed.edits == (Add("a"), Add("b"))
    assert [line.split(":")[0] for line in parsed.problems] == ["edit 2", "edit 4"]
    assert parse(text, max_edits=0).edits == ()


def test_the_word_limit_is_inclusive_and_counts_the_cleaned_text():
    assert parse('{"op": "add", "principle": "[G1]  a  b"}', max_words=2).edits == (Add("a b"),)
    assert parse('{"op": "add", "principle": "a b c"}', max_words=2).edits == ()


def test_an_empty_prompt_has_no_ids():
    assert parse(KEEP, num_principles=0) == ParsedEdits((), ("edit 1: remove names 'G0', the prompt has none",))


def test_problem_lines_are_bounded():
    parsed = parse("[" + "{}," * 1000 + "]")
    assert len(parsed.problems) == MAX_PROBLEMS + 1
    assert parsed.problems[-1] == "and 950 problems more"


def adversarial(n: int) -> dict[str, str]:
    """Hostile texts of about `n` characters, by name."""
    return {
        "open brackets": "[" * n,
        "open braces": "{" * n,
        "mixed brackets": "[{" * (n // 2),
        "backslashes": "\\" * n,
        "backslashes in a string": '{"op":"' + "\\" * n,
        "closed backslashes": '{"op":"' + "\\" * n + '"}',
        "quotes": '{"op":"' + '"' * n,
        "quotes with blanks": '{"op":"' + '" ' * (n // 2),
        "quotes with commas": '{"op":"' + '",' * (n // 2),
        "quotes far from their comma": '{"op":"' + ('"' + " " * 500 + ",") * (n // 500),
        "nested keys": '{"a":' * (n // 5),
        "nested lists": '{"a":' + "[" * n,
        "unclosed strings": '{"a":"b' * (n // 7),
        "unclosed strings of both kinds": """{"a":'b{'a':"b""" * (n // 14),
        "late colon": """{"a":'""" * (n // 6) + "':",
        "late comma": '{"a":"' * (n // 6) + '","b":',
        "keys that never end": '{"' + "a" * n,
        "comments": "[#" * (n // 2),
        "slash comments": "[//" * (n // 3),
        "comment lines": "[{" + "#\n" * (n // 2),
        "blanks": "[" + " " * n,
        "brackets and blanks": "[ " * (n // 2),
        "commas": "[" + "," * n,
        "fences": "```json" * (n // 7),
        "labels": '{"op":"add","principle":"' + "[G1] " * (n // 5) + '"}',
        "label prefix": '{"op":"add","principle":"' + "[G1" * (n // 3) + '"}',
        "digits": '{"op":"remove","id":' + "9" * n + "}",
        "many ids": '{"op":"merge","principle":"a","ids":[' + "1,9," * (n // 4) + "]}",
        "many objects": "[" + "{}," * (n // 3),
        "surrogates": '{"op":"' + "\\ud800" * (n // 6),
        "blanks in an id": '{"op":"remove","id":"[' + " " * n + '"}',
    }


@pytest.mark.parametrize("name", adversarial(1000))
def test_hostile_text_takes_time_in_proportion_to_its_length(name: str):
    """Compared with a quarter of it, in CPU time, so that neither a slow machine nor a busy one decides."""
    quarter, whole = (min(cpu_seconds(adversarial(n)[name]) for _ in range(3)) for n in (25_000, 100_000))
    assert whole < 12 * quarter + 0.1, "four times the text; sixteen times the time would be quadratic"


def cpu_seconds(text: str) -> float:
    start = time.process_time()
    with contextlib.suppress(UnparseableEditsError):
        parse(text)
    return time.process_time() - start


SOUP = st.lists(
    st.sampled_from([*"{}[]\",:\\/#\n '", "//", '"op":', '"add"', '"principle": "', KEEP, "G1", "\\u", "null", "3"]),
    max_size=40,
).map("".join)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | SOUP)
@example("{\ud800")
@example('{"op": "\ud800"}')
def test_arbitrary_text_raises_nothing_but_unparseable(text):
    try:
        parsed = parse(text)
    except UnparseableEditsError:
        return
    for line in parsed.problems:
        assert line == fold(line)
    for edit in parsed.edits:
        render_edits([edit]).encode("utf-8")


WORDS = st.lists(st.text(min_size=1, max_size=12) | st.sampled_from(list('"\\#{}[],:/@%&')), min_size=1, max_size=8)
TEXTS = WORDS.map(" ".join).map(clean_principle).filter(bool).filter(lambda text: len(text.split()) <= 32)
EVIDENCE = st.just("") | TEXTS
IDS = st.integers(0, 4)
EDITS = st.one_of(
    st.builds(Add, TEXTS, EVIDENCE),
    st.builds(Modify, IDS, TEXTS, EVIDENCE),
    st.builds(Merge, st.lists(IDS, min_size=2, max_size=5, unique=True).map(tuple), TEXTS, EVIDENCE),
    st.builds(Remove, IDS, EVIDENCE),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(EDITS, max_size=4), st.sampled_from(["{}", "Prose, [G1]:\n```json\n{}\n```\nmore", '{{"edits": {}}}']))
def test_what_is_rendered_is_read_back(edits, surroundings):
    text = surroundings.replace("{{", "{").replace("}}", "}").replace("{}", render_edits(edits), 1)
    assert parse(text) == ParsedEdits(tuple(edits), ())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=40) | st.sampled_from(["[G1] [G2] a", "G1: [G1]: a", "\x00[G1] a"]))
def test_cleaning_twice_is_cleaning_once(text):
    assert clean_principle(clean_principle(text)) == clean_principle(text)


ORIGINAL = ("p0", "p1", "p2", "p3")
APPLICATIONS = {
    "nothing": ([], ORIGINAL, []),
    "add at the end in order": ([Add("x"), Add("y")], (*ORIGINAL, "x", "y"), []),
    "modify in place": ([Modify(1, "x")], ("p0", "x", "p2", "p3"), []),
    "remove closes the gap": ([Remove(0), Remove(2)], ("p1", "p3"), []),
    "ids mean the original list": ([Remove(0), Modify(3, "x")], ("p1", "p2", "x"), []),
    "merge stands at the smallest id": ([Merge((3, 1), "x")], ("p0", "x", "p2"), []),
    "first edit of an id wins": ([Modify(1, "x"), Remove(1), Modify(1, "y")], ("p0", "x", "p2", "p3"), [1, 2]),
    "merge yields to an earlier edit": ([Remove(1), Merge((1, 2), "x")], ("p0", "p2", "p3"), [1]),
    "ignored merge frees its other ids": (
        [Remove(1), Merge((1, 2), "x"), Modify(2, "y")],
        ("p0", "y", "p3"),
        [1],
    ),
    "later edit of a merged id": ([Merge((0, 1), "x"), Modify(1, "y")], ("x", "p2", "p3"), [1]),
    "add what stands there": ([Add(" p1\n")], ORIGINAL, [0]),
    "add twice": ([Add("x  y"), Add("x y")], (*ORIGINAL, "x  y"), [1]),
    "add what a modify writes": ([Add("x"), Modify(0, "x")], ("x", "p1", "p2", "p3"), [0]),
    "add what a remove takes": ([Add("p0"), Remove(0)], ("p1", "p2", "p3", "p0"), []),
    "remove everything": ([Remove(i) for i in range(4)], (), []),
}


@pytest.mark.parametrize(("edits", "result", "ignored"), APPLICATIONS.values(), ids=APPLICATIONS)
def test_application(edits, result, ignored):
    applied = apply_edits(ORIGINAL, edits)
    assert applied.principles == result
    assert applied.applied == tuple(edit for place, edit in enumerate(edits) if place not in ignored)


@pytest.mark.parametrize("edit", [Modify(4, "x"), Remove(-1), Merge((0, 4), "x")])
def test_an_id_outside_the_list_is_refused(edit):
    with pytest.raises(ValueError, match="4 principles"):
        apply_edits(ORIGINAL, [edit])


def test_a_principle_that_edits_made_equal_to_an_earlier_one_is_dropped():
    applied = apply_edits(("a", "b", "c"), [Modify(2, "a"), Add("z")])
    assert applied.principles == ("a", "b", "z")


@pytest.mark.parametrize("quoted", ["principle 1", "  principle   1 ", "[G1] principle 1"])
def test_an_edit_may_name_a_principle_by_its_text(quoted: str):
    parsed = parse_edits(json.dumps([{"op": "modify", "id": quoted, "principle": "new"}]), {"modify"}, ["zero", "principle 1"], None, 9)
    assert parsed.edits == (Modify(1, "new"),)


def test_a_quoted_principle_may_hold_commas_and_must_be_whole():
    shown = ["first, add", "then, carry"]
    text = json.dumps([{"op": "merge", "ids": ["first, add", "then, carry"], "principle": "both"}, {"op": "remove", "id": "first"}])
    parsed = parse_edits(text, {"merge", "remove"}, shown, None, 9)
    assert parsed.edits == (Merge((0, 1), "both"),)
    assert len(parsed.problems) == 1
