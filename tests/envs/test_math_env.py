"""The mathematics environments: the contract on real data, the split rule, the published selection, files of one's own."""

import json
import random
import shutil
import tomllib
from pathlib import Path

import gymnasium
import pytest
from data_fixtures import TEST_DATA, write_jsonl
from espl_envs.math import spec as specs
from espl_envs.math.env import MathEnv, published
from espl_envs.math.own_files import own_files
from espl_envs.math.rows import ROWS
from espl_envs.math.spec import JSONL, MATH, MATH500
from espl_envs.math.splits import MathRow, Selection, Splits, hold_out

from espl_bench.data.item_text import Item, clean
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.checker import check_environment
from espl_bench.errors import DataError, UsageError
from espl_bench.seeding import seed_for
from espl_bench.types import Outcome, Split

OPTIONS = {
    **{"beyondaime": {}, "beyondaime-amc": {}, "aime25": {}, "math500": {}},
    "hmmt25": {"sources": "hmmt-feb-2024,hmmt-feb-2025"},
    "jsonl": {"train": str(TEST_DATA / "amc12_2022_2023.jsonl"), "test": str(TEST_DATA / "aime_2025.jsonl")},
}
SIZES = {
    **{"beyondaime": (70, 20, 100), "beyondaime-amc": (135, 38, 100), "aime25": (78, 22, 30), "math500": (0, 0, 500)},
    **{"hmmt25": (45, 15, 30), "jsonl": (65, 18, 30)},
}


# On real data


@pytest.mark.parametrize("name", OPTIONS)
def test_every_environment_keeps_the_contract_on_its_real_data(name: str, real_data: Path):
    spec = find_environment(name)
    env = make_environment(spec, OPTIONS[name])
    check_environment(env, twin=make_environment(spec, OPTIONS[name]))
    assert tuple(env.size(split) for split in Split) == SIZES[name]
    assert set(env.data_identity()) == {split.value for split in env.splits}
    made = gymnasium.make(spec.gym_id, **OPTIONS[name])
    question, _ = made.reset(options={"split": "test", "index": 0})
    assert question == env.problem(Split.TEST, 0).question
    assert made.step(env.problem(Split.TEST, 0).gold)[1] == 1.0


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "jsonl"])
def test_every_gold_answer_is_accepted_and_the_sets_are_those_on_record(name: str, real_data: Path):
    from espl_bench.environment.data_check import report

    spec = find_environment(name)
    found = report(spec, make_environment(spec, OPTIONS[name]))
    assert not any(split.unaccepted for split in found.splits)
    assert all(source.identity == source.recorded for source in found.sources if source.recorded and source.items)
    not_recorded = {source.name for source in found.sources if not source.recorded}
    assert not_recorded <= {"dapo-math-17k", "hmmt-feb-2023"}, "as the folder's README says: eight of ten are"
    assert all(source.items == source.expected for source in found.sources if source.expected and source.items)
    assert not any(pair.exact for overlap in found.overlaps for pair in overlap.pairs)


def test_hmmt_is_refused_in_part_unless_the_part_is_chosen(real_data: Path):
    with pytest.raises(
        DataError, match=r"hmmt-feb-2023 \(train\).*--source hmmt-feb-2023 --from FILE; or train on the sets that are there"
    ):
        published("hmmt25")
    with pytest.raises(UsageError, match="unknown training source of hmmt25 'hmmt-feb-24'; did you mean 'hmmt-feb-2024'"):
        published("hmmt25", sources="hmmt-feb-24")
    with pytest.raises(UsageError, match="sources takes names of training sets with commas between; there are: hmmt-feb-2023, "):
        published("hmmt25", sources=" , ")
    both, one = published("hmmt25", sources="hmmt-feb-2024,hmmt-feb-2025"), published("hmmt25", sources="hmmt-feb-2024")
    assert both.data_identity()["train"] != one.data_identity()["train"]
    assert both.data_identity()["test"] == one.data_identity()["test"]


def test_a_problem_is_held_out_in_every_environment_or_in_none(real_data: Path):
    def held(name: str) -> set[str]:
        env = published(name)
        return {env.problem(Split.VALIDATION, index).id for index in range(env.size(Split.VALIDATION))}

    assert held("beyondaime") == {name for name in held("beyondaime-amc") if name.startswith("aime")}


def test_answers_are_normal_integers(real_data: Path):
    env = published("beyondaime", holdout=0)
    assert env.splits == (Split.TRAIN, Split.TEST) and env.size(Split.TRAIN) == 90
    answers = [env.problem(Split.TRAIN, index).answer for index in range(90)]
    assert "33" in answers and all(answer == str(int(answer)) for answer in answers)


def test_the_published_selection_of_the_stand_in_is_its_shuffle(data_home: Path):
    """The file is the published recipe run on another copy; shuffled again as if it were the whole set, it is the same hundred."""
    from espl_bench.cli.app import invoke

    if not TEST_DATA.is_dir():
        pytest.skip("no test data: set ESPL_BENCH_TEST_DATA")
    for split, file in (("train", "dapo_100_recipe_on_copy"), ("test", "aime_2025")):
        assert invoke(["data", "import", "aime25", "--split", split, "--from", str(TEST_DATA / f"{file}.jsonl"), "--json"]) == 0
    rows = [json.loads(line) for line in (TEST_DATA / "dapo_100_recipe_on_copy.jsonl").read_text().splitlines()]
    random.Random(42).shuffle(rows)
    env = published("aime25", holdout=0)
    assert [env.problem(Split.TRAIN, index).question for index in range(100)] == [clean(row["problem"]) for row in rows]


# The split rule


def some_rows(number: int) -> list[MathRow]:
    return [MathRow("set", Item(f"Problem number {place}: what is it?", str(place), place)) for place in range(number)]


def test_the_held_out_slice_depends_on_the_text_alone():
    rows = some_rows(200)
    kept, held = hold_out(rows, 5, "env")
    assert sorted([*kept, *held], key=lambda row: row.item.row) == rows
    assert 25 <= len(held) <= 55, "about one in five"
    assert hold_out(rows[::-1], 5, "env")[1] == held[::-1]
    dressed = [MathRow("other", Item(row.item.problem.upper().replace(" ", "  "), "7", 0)) for row in rows]
    assert [row.item.problem.casefold() for row in hold_out(dressed, 5, "env")[1]] == [
        row.item.problem.casefold().replace(" ", "  ") for row in held
    ]
    assert hold_out(rows, 0, "env") == (rows, [])


class Incomparable(MathRow):
    """A row that must not be compared with others: doing so for every pair takes minutes for a large set."""

    def __eq__(self, other):
        raise AssertionError("rows are compared")

    __hash__ = MathRow.__hash__


def test_a_row_is_put_on_its_side_without_a_look_at_the_others():
    rows = some_rows(300)
    kept, held = hold_out([Incomparable(row.source, row.item) for row in rows], 5, "env")
    seeds = [seed_for(0, "math", "held out", f"problemnumber{row.item.row}whatisit") for row in rows]
    assert [row.item.row for row in held] == [row for row, seed in enumerate(seeds) if seed % 5 == 0], "the rule of published splits"
    assert [row.item.row for row in kept] == [row for row, seed in enumerate(seeds) if seed % 5 != 0]


def test_copies_of_a_row_are_on_the_same_side():
    kept, held = hold_out(some_rows(50) * 3, 5, "env")
    alone = hold_out(some_rows(50), 5, "env")
    assert (kept, held) == (alone[0] * 3, alone[1] * 3)


@pytest.mark.parametrize("one_in", [-1, 1, True, 2.5, "5"])
def test_a_holdout_that_cannot_be_is_refused(one_in):
    with pytest.raises(UsageError, match="env: holdout takes 0"):
        hold_out(some_rows(9), one_in, "env")


def test_a_slice_that_would_be_empty_is_refused():
    with pytest.raises(UsageError, match="one in 1000000 of 3 training problems leaves none to validate on; choose another"):
        hold_out(some_rows(3), 1_000_000, "env")


def test_a_selection_is_a_seeded_shuffle():
    rows = some_rows(300)
    chosen = Selection(42, 100).of(rows)
    expected = list(range(300))
    random.Random(42).shuffle(expected)
    assert [row.item.row for row in chosen] == expected[:100]
    assert Selection(42, 100).of(rows[:30]) != rows[:30] and len(Selection(42, 100).of(rows[:30])) == 30
    assert Selection(42, 100).of(rows[:299]) != chosen, "another copy gives another hundred"
    assert ROWS["aime25"].selection == Selection(42, 100)


# Grading


def serve(*pairs: tuple[str, str]) -> MathEnv:
    rows = [MathRow("set", Item(problem, answer, place)) for place, (problem, answer) in enumerate(pairs)]
    return MathEnv(Splits.of({Split.TEST: rows}), {})


def answered(env: MathEnv, text: str):
    env.reset(options={"split": "test", "index": 0})
    _, reward, terminated, _, info = env.step(text)
    assert terminated
    return reward, info["outcome"], info["error"]


def test_the_answer_is_read_after_the_thinking(data_home: Path):
    env = serve(("1 + 1 = ?", "2"))
    assert answered(env, r"<think>is it \boxed{3}?</think> \boxed{2}") == (1.0, Outcome.CORRECT, None)
    assert answered(env, r"<think>it is \boxed{2}</think> \boxed{3}") == (0.0, Outcome.WRONG, None)
    assert answered(env, r"<think>it is \boxed{2}, surely") == (0.0, Outcome.NO_ANSWER, None)


def test_what_cannot_be_graded_is_an_outcome_with_its_reason(data_home: Path):
    reward, outcome, error = answered(serve(("1 + 1 = ?", "2")), r"\boxed{9^{9^{9^{9^9}}}}")
    assert (reward, outcome) == (0.0, Outcome.TIMEOUT) and "CPU" in error


def test_where_the_answer_stands_is_a_choice(tmp_path: Path):
    file = str(write_jsonl(tmp_path / "a.jsonl", [{"problem": "1 + 1 = ?", "answer": 2}]))
    said = "So it is 2.\nAnswer: 2"
    for extraction, outcome in (
        ("boxed", Outcome.NO_ANSWER),
        ("boxed_or_answer_line", Outcome.CORRECT),
        ("answer_line", Outcome.CORRECT),
        ("anywhere", Outcome.CORRECT),
    ):
        assert answered(own_files(test=file, extraction=extraction), said)[1] is outcome
    with pytest.raises(UsageError, match="unknown extraction 'box'; did you mean 'boxed'"):
        own_files(test=file, extraction="box")


def test_problems_in_any_script_are_observations(data_home: Path):
    env = serve(("设 $a, b \\in(0,1]$, 求 √2 ， …", "2"))
    question, _ = env.reset(options={"split": "test", "index": 0})
    assert env.observation_space.contains(question)


# Files of one's own


def own(folder: Path, name: str, start: int, number: int) -> str:
    rows = [{"problem": f"What is {place} + 1?", "answer": place + 1} for place in range(start, start + number)]
    return str(write_jsonl(folder / name, rows))


def test_files_of_ones_own(tmp_path: Path, data_home: Path):
    train, test = own(tmp_path, "train.jsonl", 0, 60), own(tmp_path, "test.jsonl", 500, 10)
    env = own_files(train=train, test=test)
    check_environment(env, twin=own_files(train=train, test=test))
    assert env.size(Split.TRAIN) + env.size(Split.VALIDATION) == 60 and env.size(Split.TEST) == 10
    [_, record] = env.data_facts()["files"]
    assert (record["split"], record["file"], record["items"], len(record["file_sha256"])) == ("test", "test.jsonl", 10, 64)
    given = own_files(train=train, validation=own(tmp_path, "val.jsonl", 200, 5), test=test)
    assert [given.size(split) for split in Split] == [60, 5, 10]
    assert own_files(test=test).splits == (Split.TEST,), "nothing to learn from"
    own(tmp_path, "test.jsonl", 700, 11)
    assert own_files(train=train, test=test).size(Split.TEST) == 11, "a file that changes is read again"


def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path):
    with pytest.raises(UsageError, match="jsonl needs a file to test on: --data test=FILE"):
        own_files(train="a.jsonl")
    with pytest.raises(UsageError, match=r"the test file nowhere\.jsonl does not exist in"):
        own_files(test="nowhere.jsonl")
    rows = write_jsonl(tmp_path / "a.jsonl", [{"q": "1 + 1?", "a": 2}])
    with pytest.raises(UsageError, match="name them with --env-option problem_column=NAME and --env-option answer_column=NAME"):
        own_files(test=str(rows))
    assert own_files(test=str(rows), problem_column="q", answer_column="a").problem(Split.TEST, 0).answer == "2"


# Specs


def test_specs_are_complete_and_the_entry_points_name_them():
    points = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]["espl_bench.envs"]
    for spec in MATH:
        path, _, attribute = points[spec.name].partition(":")
        assert path == "espl_envs.math.spec" and getattr(specs, attribute) is spec
        assert gymnasium.spec(spec.gym_id).id == spec.gym_id and spec.gym_id.endswith("-v1")
        assert spec.summary and spec.dialect == "full"
    sheet = (Path(specs.__file__).parent / "README.md").read_text()
    assert all(f"`{spec.gym_id}`" in sheet for spec in MATH)
    for _, source in (pair for spec in MATH for pair in spec.data):
        assert source.name in sheet and source.hub_id in sheet and source.licence.name in sheet


def test_missing_data_is_one_line_with_the_command(data_home: Path):
    for spec in MATH:
        with pytest.raises((DataError, UsageError)) as error:
            make_environment(spec, {})
        assert "\n" not in str(error.value)
        assert spec is JSONL or f"espl-bench data import {spec.name}" in str(error.value)


def test_options_of_another_kind_are_refused(real_data: Path):
    with pytest.raises(UsageError, match="'math500' does not take these options"):
        make_environment(MATH500, {"train": "a.jsonl"})
    with pytest.raises(UsageError, match="'math500' does not take these options"):
        make_environment(MATH500, {"dataset": "aime25"})
    with pytest.raises(UsageError, match="there are: none, it is for evaluation only"):
        make_environment(MATH500, {"sources": "x"})


def test_damaged_data_are_refused_with_the_remedy(imported_data: Path, data_home: Path):
    shutil.copytree(imported_data, data_home)
    [rows] = (data_home / "beyondaime").glob("rows-*")
    published("beyondaime")
    rows.write_bytes(rows.read_bytes().replace(b"maze", b"ruin"))
    with pytest.raises(DataError, match=r"not the file that was stored .*: espl-bench data import beyondaime --split test --from FILE"):
        published("beyondaime")
