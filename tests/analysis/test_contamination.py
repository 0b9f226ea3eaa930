"""Principles that quote items are found, and those that say something of their own are not."""

import json
from pathlib import Path

import pytest
from cli_fixtures import born, make_run, make_summary
from espl_envs.rulebook.env import RulebookEnv

from espl_bench.analysis.contamination import ContaminationIndex, short_form
from espl_bench.cli.app import invoke
from espl_bench.leaderboard.table import GroupEntry, build_tables
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Problem, Split

LONG = "Find the number of ways to place 66 identical coins on the squares of a 3 by 5 grid without touching"
STOCK_PHRASE = "where m and n are relatively prime positive integers"


def problem(place: int, question: str, split: Split = Split.TRAIN) -> Problem:
    return Problem(f"{split}/{place}", split, place, question, "7", "7")


ITEMS = [problem(0, LONG), problem(0, "3 8 dax 5 2 = ?", Split.TEST)]
ITEMS += [problem(place, f"The ratio of item {place} is m / n {STOCK_PHRASE}") for place in range(1, 14)]


@pytest.mark.parametrize(
    ("principle", "quoted"),
    [
        ("Remember to place 66 identical coins on the squares of a grid", ["train/0"]),
        ("PLACE 66 IDENTICAL COINS, ON THE SQUARES OF A...", ["train/0"]),
        ("3 8 dax 5 2 is 8 5", ["test/0"]),
        ("dax takes the larger digit", []),
        ("count the ways to place coins on a grid", []),
        (f"write the answer as m / n {STOCK_PHRASE}", []),
        ("", []),
    ],
)
def test_eight_words_in_a_row_or_a_whole_short_question_are_a_quotation(principle: str, quoted: list[str]):
    assert [quote.problem_id for quote in ContaminationIndex(ITEMS).in_prompt([principle])] == quoted


def test_the_form_in_a_summary_names_principle_and_item():
    found = ContaminationIndex(ITEMS).in_prompt(["be careful", "3 8 dax 5 2 is 8 5"])
    assert short_form(found) == ("G1 quotes test/0",)


def test_a_run_is_searched_through_all_its_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = make_run(tmp_path / "run")
    assert invoke(["quotes", str(folder)]) == 0
    assert "none of 3 prompts quotes an item" in capsys.readouterr().out
    item = RulebookEnv().problem(Split.TEST, 7)
    RunDir(folder).append(Log.POPULATION, born(3, 3, "mutation", [2], "dax larger", f"{item.question} {item.answer}"))
    assert invoke(["quotes", str(folder), "--json"]) == 1
    [quote] = json.loads(capsys.readouterr().out)["quotes"]
    assert (quote["prompt"], quote["principle"], quote["problem_id"]) == (3, 1, "test/7")
    assert invoke(["quotes", str(folder)]) == 1
    assert "1 of 4 prompts quote items" in capsys.readouterr().out


def test_a_table_says_whose_prompt_quotes():
    quoting = make_summary("espl", 3, quotes=tuple(f"G{place} quotes test/{place}" for place in range(5)))
    [table] = build_tables([GroupEntry("espl", quoting), GroupEntry("base", make_summary("base", 3))])
    assert "espl, seed 3: the shown prompt quotes items: G0 quotes test/0, G1 quotes test/1, G2 quotes test/2 and 2 more" in table.notes
