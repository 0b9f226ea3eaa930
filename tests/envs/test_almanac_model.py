"""The shipped model of the almanac: what its card claims, on a small sample; bounds stand well below the card's numbers."""

import pytest
from espl_envs.lab import MODEL, SEARCH_MODEL
from espl_envs.lab.courses import COURSES
from espl_envs.lab.courses.rulebook import RulebookCourse
from espl_envs.lab.measure import EDITING, measure_editing, measure_summaries
from espl_envs.lab.measure_search import measure_searching
from espl_envs.lab.skills import Skill
from espl_envs.lab.tokenizer import build_tokenizer
from espl_envs.lab.writer import Writer
from transformers import AutoModelForCausalLM, AutoTokenizer

COURSE = COURSES["almanac"]


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(SEARCH_MODEL, temperature=1.0)


def test_plain_transformers_load_it_and_both_models_are_small():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(SEARCH_MODEL), AutoTokenizer.from_pretrained(SEARCH_MODEL)
    assert tokenizer.chat_template == build_tokenizer(RulebookCourse()).chat_template
    assert model.config.vocab_size == len(tokenizer)
    assert sum(file.stat().st_size for folder in (MODEL, SEARCH_MODEL) for file in folder.iterdir()) <= 12 * 2**20


def test_it_follows_stated_principles_and_knows_no_world(writer: Writer):
    rates = {rate.name.split(" (")[0]: rate.value for rate in measure_searching(writer, 150)}
    assert rates["turns written in the expected form"] >= 0.95
    assert rates["stated house word used"] >= 0.9
    assert rates["stated source used"] >= 0.9
    assert rates["true house word without a principle"] <= 0.3
    assert rates["true source without a principle"] <= 0.45
    assert 0.65 <= rates["wrote the person it had arrived at"] <= 0.95, "it slips by design"
    assert 0.2 <= rates["test questions right, everything told"] <= 0.8


def test_it_summarises(writer: Writer):
    assert measure_summaries(writer, COURSE, 80).value >= 0.9


@pytest.mark.parametrize("skill", EDITING)
def test_as_an_editor_it_writes_what_the_evidence_supports(skill: Skill, writer: Writer):
    whole, *_ = measure_editing(writer, COURSE, skill, 80)
    assert whole.value >= 0.8 and whole.total > 50
