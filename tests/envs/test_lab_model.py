"""The shipped model: what its card claims, on a small sample; bounds stand well below the card's numbers."""

from pathlib import Path

import pytest
from espl_envs.lab import MODEL
from espl_envs.lab.courses import COURSES
from espl_envs.lab.courses.rulebook import RulebookCourse
from espl_envs.lab.measure import EDITING, measure_editing
from espl_envs.lab.measure_chains import measure_chains, measure_solving
from espl_envs.lab.skills import Skill
from espl_envs.lab.tokenizer import build_tokenizer
from espl_envs.lab.writer import Writer
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(MODEL, temperature=1.0)


def test_plain_transformers_load_it_and_it_is_small():
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert tokenizer.chat_template == build_tokenizer(RulebookCourse()).chat_template
    assert model.config.vocab_size == len(tokenizer)
    assert sum(file.stat().st_size for file in Path(MODEL).iterdir()) <= 8 * 2**20


def test_it_follows_stated_principles_and_knows_no_world(writer: Writer):
    rates = {rate.name.split(" (")[0]: rate.value for rate in measure_solving(writer, 120)}
    assert rates["stated principle followed"] >= 0.9
    assert rates["true meaning without a principle"] <= 0.25
    assert 0.5 <= rates["result as the believed meaning gives"] <= 0.9, "execution is imperfect by design"


def test_three_steps_told_everything_are_in_reach_and_not_certain(writer: Writer):
    assert 0.2 <= measure_chains(writer, 3, 100).value <= 0.8


@pytest.mark.parametrize("skill", EDITING)
def test_as_an_editor_it_writes_what_the_evidence_supports(skill: Skill, writer: Writer):
    whole, *_ = measure_editing(writer, COURSES["rulebook"], skill, 80)
    assert whole.value >= 0.8 and whole.total > 60
