"""The sets of reasoning-gym: which are served, what they are made of, and graders that a model cannot reach through."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from espl_envs.reasoning_gym import env as adapter
from espl_envs.reasoning_gym.env import REFUSED, SCORE, ReasoningGymEnv, last_answer, serve
from espl_envs.reasoning_gym.sets import LIST, parse_sets, served_sets

from espl_bench.cli.app import invoke
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.checker import check_environment
from espl_bench.errors import UsageError
from espl_bench.registry import FAMILIES, names
from espl_bench.types import Outcome, Split

graders = pytest.importorskip("espl_envs.reasoning_gym.graders")
SMALL = {"train_items": 12, "validation_items": 4, "test_items": 6}
EVALUATES = "countdown"
"""Its grader parses the answer with sympy, which evaluates it."""
EVALUATING = (EVALUATES, "binary_matrix", "n_queens", "simple_integration", "spiral_matrix", "string_insertion")
"""The served sets whose graders evaluate the answer, by sympy or by `eval`."""


def small(name: str, **options: object) -> ReasoningGymEnv:
    made = make_environment(find_environment(f"reasoning-gym:{name}"), {**SMALL, **options})
    assert isinstance(made, ReasoningGymEnv)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain_sum", "caesar_cipher", "spiral_matrix", EVALUATES, "countdown+chain_sum+gcd"])
def test_served_sets_keep_the_contract(name: str):
    check_environment(small(name), twin=small(name), samples=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVALUATING)
def test_what_a_model_wrote_is_never_run(name: str, tmp_path: Path):
    env = small(name)
    problem = env.problem(Split.TEST, 0)
    mark = tmp_path / "mark"
    shell = env.grade(problem, f"<answer>__import__('os').mkdir({str(mark)!r})</answer>")
    assert not graders.compares_texts(name), "it is confined"
    assert (shell.outcome, shell.reward) == (Outcome.WRONG, 0.0)
    assert name != EVALUATES or shell.measures == {SCORE: 0.0, REFUSED: 1.0}
    assert env.grade(problem, "<answer>9**9**9**9**9</answer>").outcome in (Outcome.TIMEOUT, Outcome.WRONG)
    assert env.grade(problem, problem.gold).outcome is Outcome.CORRECT
    assert not mark.exists()


@pytest.mark.slow
def test_part_of_a_score_is_a_measure_and_no_reward():
    env = small(EVALUATES)
    verdict = env.grade(env.problem(Split.TEST, 0), "<answer>17</answer>")
    assert verdict.outcome is Outcome.WRONG and verdict.reward == 0.0 and 0 < verdict.measures[SCORE] < 1


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<answer>7</answer>", "7"),
        ("<answer>1</answer> no: <answer>\n2 3\n4 5\n</answer>.", "2 3\n4 5"),
        ("<think><answer>1</answer></think> so", ""),
        ("<answer> </answer>", ""),
        ("7", ""),
        ("<answer>7", ""),
        ("7</answer>", ""),
    ],
)
def test_the_answer_stands_between_the_last_tags(response: str, answer: str):
    assert last_answer(response) == answer


@pytest.mark.parametrize("name", ["chain_sum", "gcd"])
def test_splits_share_no_question_and_the_test_does_not_depend_on_the_others(name: str):
    env = serve((name,), {Split.TRAIN: 200, Split.VALIDATION: 20, Split.TEST: 30}, 0, {})
    asked = {split: [env.problem(split, index).question for index in range(env.size(split))] for split in Split}
    assert len({question for questions in asked.values() for question in questions}) == 250
    other = serve((name,), {Split.TRAIN: 10, Split.VALIDATION: 20, Split.TEST: 30}, 0, {})
    assert [other.problem(Split.TEST, index).question for index in range(30)] == asked[Split.TEST]
    another = serve((name,), {Split.TRAIN: 10, Split.VALIDATION: 5, Split.TEST: 30}, 1, {})
    assert another.problem(Split.TEST, 0) != env.problem(Split.TEST, 0)


def test_a_combination_takes_its_sets_in_turn_and_has_one_name():
    env = small("countdown+chain_sum", **{"chain_sum.max_terms": 2, "chain_sum.min_terms": 2})
    ids = [env.problem(Split.TEST, index).id for index in range(4)]
    assert ids == ["test/chain_sum/0", "test/countdown/1", "test/chain_sum/2", "test/countdown/3"]
    assert find_environment("reasoning-gym:countdown+chain_sum").name == "reasoning-gym:chain_sum+countdown"
    assert env.data_facts()["parameters"] == {"chain_sum": {"max_terms": 2, "min_terms": 2}}
    sums = small("chain_sum", min_terms=2, max_terms=2)
    questions = [sums.problem(Split.TEST, index).question for index in range(6)]
    assert all(question.count(" + ") + question.count(" - ") == 1 for question in questions), "two terms"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("count_down", {}, "unknown set of reasoning-gym 'count_down'; did you mean 'countdown'?"),
        ("composite", {}, r"reasoning-gym:composite is not served: several sets are named with \+ between them"),
        ("gcd+gcd", {}, "names a set twice"),
        ("chain_sum", {"max_term": 3}, "unknown parameter of reasoning-gym:chain_sum 'max_term'; did you mean 'max_terms'?"),
        ("chain_sum", {"size": 3}, "unknown parameter of reasoning-gym:chain_sum 'size'"),
        ("chain_sum", {"max_terms": -1}, "reasoning-gym:chain_sum does not take its parameters"),
        ("chain_sum+gcd", {"max_terms": 3}, r"option max_terms is of no set: .* write it as chain_sum.max_terms=3"),
        ("chain_sum", {"train_items": 0}, "train_items must be a whole number from 1"),
        ("chain_sum", {"seed": -1}, "seed must be a whole number from 0"),
        ("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "train_items": 5000}, "lower train_items"),
    ],
)
def test_what_is_not_served_is_refused_in_one_line(name: str, options: dict, complaint: str):
    with pytest.raises(UsageError, match=complaint) as error:
        small(name, **options)
    assert "\n" not in str(error.value)


def test_the_list_names_every_set_of_the_package_and_a_reason_for_each_that_is_not_served():
    from reasoning_gym.factory import DATASETS

    listed = json.loads(LIST.read_text())
    assert listed["sets"].keys() == DATASETS.keys() and listed["package"].startswith("reasoning-gym 0.1.")
    assert not any("not tried" in refusal for refusal in listed["sets"].values())
    assert (len(served_sets()), len(listed["sets"])) == (78, 106), "the numbers of docs/environments-from-elsewhere.md"
    assert {"countdown", "chain_sum", "gcd", "sudoku"} <= set(served_sets()) and all(parse_sets(name) == (name,) for name in served_sets())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adapter, "FAMILY", "no-such-package")
    with pytest.raises(UsageError, match=r"install it with: pip install 'espl-bench\["):
        serve(("chain_sum",), {Split.TRAIN: 1, Split.VALIDATION: 1, Split.TEST: 1}, 0, {})


@pytest.mark.slow
def test_items_and_identity_are_the_same_in_every_process():
    code = (
        "from espl_bench.environment.catalogue import find_environment as f, make_environment as m; import json;"
        f"print(json.dumps(dict(m(f('reasoning-gym:countdown+caesar_cipher'), {SMALL}).data_identity())))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert json.loads(found.pop()) == dict(small("caesar_cipher+countdown").data_identity())


def test_a_family_is_one_line_of_the_list_and_is_not_taken_for_an_environment(capsys: pytest.CaptureFixture[str]):
    assert "reasoning-gym" in names(FAMILIES)
    assert invoke(["envs", "--json"]) == 0
    [record] = [each for each in json.loads(capsys.readouterr().out) if each["name"] == "reasoning-gym:NAME"]
    assert "reasoning-gym:countdown" in record["members"]
    for asked, answer in (
        ("reasoning-gym", "is a family of environments; name one as reasoning-gym:NAME"),
        ("reasoning_gym", "did you mean 'reasoning-gym'?"),
        ("reasonig-gym:countdown", "unknown family of environments 'reasonig-gym'; did you mean 'reasoning-gym'?"),
    ):
        with pytest.raises(UsageError, match=answer):
            find_environment(asked)


def test_gymnasium_makes_a_member():
    import gymnasium

    made = gymnasium.make("espl/ReasoningGym-v1", sets="gcd", disable_env_checker=True, **SMALL).unwrapped
    assert isinstance(made, ReasoningGymEnv) and made.wanted.sets == ("gcd",)


@pytest.mark.slow
def test_a_run_is_planned_made_verified_and_tabulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--env=reasoning-gym:countdown+gcd", "--model=espl-lab-v0", "--max-tokens=8", "--eval-samples=1"]
    options += [f"--env-option={name}={value}" for name, value in SMALL.items()]
    shape = ["--method=rl_only", "--steps=1", "--num-prompts=1", "--batch-size=2", "--group-size=2", "--lora-rank=2", "--eval-every=0"]
    folder = tmp_path / "run"
    assert invoke(["run", *options, *shape, f"--out={folder}", "--json"]) == 0, capsys.readouterr().err
    summary = json.loads(capsys.readouterr().out)
    assert summary["env"] == "reasoning-gym:countdown+gcd" and summary["run_id"].startswith("reasoning-gym-countdown+gcd-rl_only-s0-")
    assert set(summary["data_identity"]) == {"train", "validation", "test", "package"}
    assert invoke(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"] is True
    assert invoke(["table", str(folder)]) == 0
    assert "reasoning-gym:countdown+gcd" in capsys.readouterr().out
