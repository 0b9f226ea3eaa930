"""The examples in an editor's instructions: handed back by a weak model, they are no edits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engines_fixtures import make_model
from loop_fixtures import make_config

from espl_bench.build import open_run
from espl_bench.evolution.operators.edits import Add, parse_edits
from espl_bench.evolution.operators.form_examples import form_examples
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.prompts.dialect import Dialect
from espl_bench.prompts.forms import PromptForm
from espl_bench.prompts.principle_text import OpName

PARROTED = {
    "full": [
        ("add", {"principle": "the new principle", "evidence": "which attempts it rests on"}),
        ("add", {"principle": "The new  principle."}),
        ("modify", {"id": "G0", "principle": "the principle's new text"}),
        ("modify", {"id": "G0", "principle": "the new text"}),
        ("merge", {"ids": ["G0", "G1"], "principle": "the text that stands for all of them"}),
    ],
    "search": [
        ("add", {"principle": "a new block"}),
        ("remove", {"id": "G1", "evidence": "why it goes"}),
        ("rewrite", {"principle": "first block\n\nsecond block", "evidence": "why the whole is written anew"}),
        ("rewrite", {"principle": ["first block", "Look twice."]}),
    ],
}
ALL: frozenset[OpName] = frozenset({"add", "modify", "merge", "remove", "rewrite"})


def limits_of(dialect: str, form: PromptForm = PromptForm.PRINCIPLES) -> EditLimits:
    limits = EditLimits(form=form)
    return replace(limits, examples=form_examples(Dialect.load(dialect), limits))


@pytest.mark.parametrize(("dialect", "op", "fields"), [(dialect, *edit) for dialect, edits in PARROTED.items() for edit in edits])
def test_an_example_that_is_handed_back_is_left_out_with_a_reason(dialect: str, op: OpName, fields: dict[str, object]):
    form = PromptForm.TEXT if dialect == "search" else PromptForm.PRINCIPLES
    text = json.dumps([{"op": op, **fields}])
    parsed = limits_of(dialect, form).parse(text, ALL, ["Count first.", "Check last."])
    assert parsed.edits == ()
    assert [line.startswith(f"edit 1: {op} repeats the example of its instructions: ") for line in parsed.problems] == [True]
    assert parse_edits(text, ALL, ["Count first.", "Check last."], None, None).edits, "without its instructions nothing is wrong with it"


def test_what_a_model_says_itself_is_read_beside_it():
    said = [{"op": "add", "principle": "the new principle"}, {"op": "add", "principle": "If rows repeat, multiply."}]
    parsed = limits_of("full").parse(json.dumps(said), ALL, [])
    assert parsed.edits == (Add("If rows repeat, multiply."),)


def test_the_examples_of_a_dialect_of_ones_own_are_found_in_it_whatever_it_calls_them(tmp_path: Path):
    (tmp_path / "extends.txt").write_text("full")
    (tmp_path / "critique.jinja").write_text(
        '{{ question }} Say [{"option": "add", "experience": "at most {{ max_words }} words"}] {% if rival %}{{ rival.has[0] }}{% endif %}'
    )
    limits = limits_of(str(tmp_path))
    assert limits.parse('[{"option": "add", "experience": "At most 32 words"}]', ALL, []).edits == ()
    assert limits.parse('[{"op": "add", "principle": "the new principle"}]', ALL, []).edits == (), "of the crossover, which it extends"


def test_a_template_that_another_package_s_operator_gives_more_is_not_in_its_way(tmp_path: Path):
    (tmp_path / "extends.txt").write_text("full")
    (tmp_path / "critique.jinja").write_text("{{ question }} {{ history[0] }}")
    limits = limits_of(str(tmp_path))
    assert limits.parse('[{"op": "add", "principle": "the new principle"}]', ALL, []).edits == (), "of the crossover"


def test_instructions_without_an_example_refuse_nothing():
    assert limits_of("compact").examples == frozenset()


@pytest.mark.parametrize("method", ["espl", "rl_only"])
def test_a_run_knows_the_examples_of_its_editor(method: str, tmp_path: Path):
    config = make_config(make_model(tmp_path / "model"), method, dialect="full")
    assert ("the new principle" in open_run(config).limits.examples) == (method == "espl")
