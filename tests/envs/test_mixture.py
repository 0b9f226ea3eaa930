"""Mixtures: parts in stated shares, each tested on its own, and nothing mixed that one run cannot hold."""

import json
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest
from espl_envs.mixture.env import TurnMixture, mixture
from espl_envs.mixture.parts import Part
from loop_fixtures import SCRIPTED_SHAPE, run
from scripted_engine import ScriptedEngine
from small_envs import AskTwice, Sums

from espl_bench.cli.app import invoke
from espl_bench.config.contacts import contacts_of
from espl_bench.config.resolve import resolve
from espl_bench.environment.catalogue import find_environment
from espl_bench.environment.checker import check_environment
from espl_bench.environment.probing import play
from espl_bench.errors import UsageError
from espl_bench.rollouts.batches import training_batch
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Outcome, Split

Capture = pytest.CaptureFixture[str]
WORLDS = ["rulebook", "rulebook?world=1"]
SPLITS = tuple(Split)


def configure(method: str = "espl", shares: object = None, **choices: Any):
    options = {"parts": WORLDS} | ({} if shares is None else {"shares": shares})
    return resolve(method, "mixture", SCRIPTED_SHAPE | {"env_options": options} | choices)


class FartherSums(Sums):
    """The same with other numbers."""

    offset: ClassVar = {split: start + 1000 for split, start in Sums.offset.items()}


class AskFarther(AskTwice):
    """The same game with them."""

    sums = FartherSums()


# Items


@pytest.mark.parametrize("parts", [WORLDS, ["almanac", "almanac?world=3"]])
def test_a_mixture_keeps_the_contract(parts: list[str]):
    check_environment(mixture(parts), twin=mixture(parts))


def test_a_mixture_of_environments_that_reply_keeps_it_too():
    def made() -> TurnMixture:
        return TurnMixture([Part(name, name, {}, Fraction(1, 2)) for name in "ab"], [AskTwice(), AskFarther()])

    check_environment(made(), twin=made())


def test_an_environment_that_an_agent_plays_is_no_part():
    with pytest.raises(UsageError, match=r"mixture: 'agent:rulebook.*' is played by an agent"):
        mixture(["rulebook", "agent:rulebook?command=python agent.py"])


def test_an_item_is_its_parts_item_under_a_name_of_its_own():
    env, other = mixture(WORLDS), find_environment("rulebook")
    assert env.size(Split.TEST) == 200
    assert env.parts(Split.TEST) == {"rulebook": range(100), "rulebook?world=1": range(100, 200)}
    problem = env.problem(Split.TEST, 130)
    assert problem.id == "rulebook?world=1:test/30"
    own = mixture(["rulebook?world=1", other.name]).problem(Split.TEST, 30)
    assert (problem.question, problem.answer, problem.gold) == (own.question, own.answer, own.gold)
    assert play(env, problem, problem.gold).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("shares", "sizes"), [(None, (256, 256)), ([3, 1], (256, 85)), ([0.1, 0.9], (28, 256)), ([0, 2], (0, 256))])
def test_training_items_come_in_the_stated_shares(shares: object, sizes: tuple[int, int]):
    env = mixture(WORLDS, shares)
    items = [env.parts(Split.TRAIN).get(name, range(0)) for name in WORLDS]
    assert tuple(map(len, items)) == sizes
    assert len({env.problem(Split.TRAIN, index).question for index in range(env.size(Split.TRAIN))}) == sum(sizes)


@pytest.mark.parametrize("size", [4, 10])
def test_every_stretch_of_an_epoch_has_the_shares_and_the_seed_decides_the_order(size: int):
    env = mixture(WORLDS, [3, 1])
    drawn = [[problem.id for step in range(8) for problem in training_batch(env, seed, step, size)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for until in range(1, len(drawn[0]) + 1):
        parts = Counter(name.partition(":")[0] for name in drawn[0][:until])
        assert abs(parts["rulebook"] - until * 256 / 341) <= 1
    whole = [problem.id for step in range(341 // size) for problem in training_batch(env, 0, step, size)]
    assert len(set(whole)) == len(whole)


def test_a_part_with_share_0_is_tested_and_nothing_else():
    env = mixture(WORLDS, [1, 0])
    assert [list(env.parts(split)) for split in SPLITS] == [WORLDS[:1], WORLDS[:1], WORLDS]
    assert not any("world=1" in env.problem(split, index).id for split in SPLITS[:2] for index in range(env.size(split)))


# Refusals


@pytest.mark.parametrize(
    ("parts", "shares", "message"),
    [
        (None, None, "mixture: name its parts: --env-option parts="),
        (["rulebook"], None, "parts names 1 environment; name two or more"),
        ("rulebook", None, "parts must be a list of texts, not 'rulebook'"),
        (["rulebook", 3], None, "parts must be a list of texts"),
        (["rulebook", "rulebook"], None, "parts names 'rulebook' twice"),
        (["rulebook", "mixture?parts=1"], None, "a mixture cannot be a part of another"),
        (["rulebook", "rulebook?world"], None, "the options of 'rulebook\\?world' cannot be read"),
        (["rulebook", "rulebok"], None, "did you mean 'rulebook'"),
        (["rulebook", "rulebook?world=x"], None, "world must be a whole number from 0, not 'x'"),
        (WORLDS, [1], "shares must be 2 numbers from 0"),
        (WORLDS, [1, -1], "shares must be 2 numbers from 0"),
        (WORLDS, [0, 0], "shares must be 2 numbers from 0"),
        (WORLDS, [True, 1], "shares must be 2 numbers from 0"),
        (WORLDS, [1, 1e9], "the share of 'rulebook' leaves it no training item"),
        (["rulebook", "almanac"], None, "'rulebook' is one with a single response and 'almanac' is one with tools"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_one_line(parts: object, shares: object, message: str):
    with pytest.raises(UsageError, match=message) as fault:
        mixture(parts, shares)
    assert "\n" not in str(fault.value)


def test_what_the_parts_disagree_in_must_be_chosen(capsys: Capture):
    given = ["--env", "mixture", "--env-option", 'parts=["rulebook","arithmetic-words"]', "--dry-run"]
    assert invoke(["run", *given]) == 2
    assert "--dialect must be given for environment 'mixture', whose parts differ in it: compact for rulebook, full for" in (
        capsys.readouterr().err
    )
    with pytest.raises(UsageError, match=r"model must be given .*espl-lab-v0 for rulebook, .*espl-lab-search-v0 for almanac"):
        resolve("base", "mixture", {"env_options": {"parts": ["rulebook", "almanac"]}})


def test_what_the_parts_agree_in_is_the_mixtures():
    config, single = configure("espl", model=None, lr=None), resolve("espl", "rulebook", SCRIPTED_SHAPE | {"model": None, "lr": None})
    assert config.flat() == single.flat() | {"env": "mixture", "env_options": {"parts": WORLDS}}


def test_items_that_one_part_keeps_apart_may_not_be_learned_from_in_another(monkeypatch: pytest.MonkeyPatch):
    env, leaking = mixture(WORLDS), mixture(WORLDS)
    env.prepare()
    second = leaking._envs[1]  # pyright: ignore[reportAttributeAccessIssue]
    stolen = leaking._envs[0].problem(Split.TEST, 5)  # pyright: ignore[reportAttributeAccessIssue]
    serve = second.problem
    monkeypatch.setattr(second, "problem", lambda split, index: stolen if (split, index) == (Split.TRAIN, 7) else serve(split, index))
    with pytest.raises(UsageError, match=r"mixture: rulebook:test/5 is the same question as rulebook\?world=1:test/5, so a part's items"):
        leaking.prepare()


def test_one_environment_under_two_names_is_refused():
    with pytest.raises(UsageError, match=r"'rulebook' and 'rulebook\?world=0' have the same test"):
        mixture(["rulebook", "rulebook?world=0"], [1, 0]).prepare()


def test_what_a_part_connects_to_has_to_be_confirmed():
    options = {"parts": ["nq?retriever=ddgs", "hotpotqa?retriever=http://10.0.0.1:8000"]}
    config = configure().model_copy(update={"env_options": options})
    assert {"ddgs", "http://10.0.0.1:8000"} <= {contact.place for contact in contacts_of(config)}


# Runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed") / "run"
    run(configure(shares=[3, 1], eval_every=2), folder, ScriptedEngine())
    return folder


def test_a_run_is_trained_in_the_shares_and_tested_on_each_part(finished: Path, capsys: Capture):
    summary = RunDir(finished).summary()
    first, second = (summary.item_scores[start : start + 100] for start in (0, 100))
    assert [(part.name, part.items) for part in summary.parts] == [(name, 100) for name in WORLDS]
    assert [part.score for part in summary.parts] == pytest.approx([sum(first) / 100, sum(second) / 100])
    assert summary.parts[0].score > summary.parts[1].score, "the scripted policy knows the first world alone"
    seen = Counter(
        json.loads(line)["problem_id"].partition(":")[0] for step in range(1, 5) for line in RunDir(finished).read_rollouts(step, bytes)
    )
    assert seen["rulebook"] == 3 * seen["rulebook?world=1"]
    evaluations = [json.loads(line) for line in (finished / "evaluations.jsonl").read_text().splitlines()]
    assert all(list(row["parts"]) == WORLDS for row in evaluations)


def test_the_table_shows_each_part_and_the_mean(finished: Path, capsys: Capture):
    summary = RunDir(finished).summary()
    assert invoke(["table", str(finished), "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["tables"][0]["rows"]
    assert {name: cell["score"] for name, cell in row["parts"].items()} == pytest.approx({each.name: each.score for each in summary.parts})
    assert row["mean_of_parts"] == pytest.approx(summary.score)
    for form in ("markdown", "csv"):
        assert invoke(["table", str(finished), "--format", form]) == 0
        said = capsys.readouterr().out
        assert "rulebook?world=1" in said and ("mean of parts" in said or "mean_of_parts" in said)
        assert f"{100 * summary.parts[1].score:.1f}" in said or f"{summary.parts[1].score}" in said


def test_verify_grades_each_part_again(finished: Path, tmp_path: Path, capsys: Capture):
    assert invoke(["verify", str(finished)]) == 0
    record = json.loads((finished / "summary.json").read_text())
    assert record["data_identity"].keys() >= {"rulebook: test", "rulebook?world=1: test", "test"}
    record["parts"][1]["score"] = 0.9
    capsys.readouterr()
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "summary.json").write_text(json.dumps(record))
    assert invoke(["verify", str(copy)]) == 1
    assert "parts" in capsys.readouterr().out


def test_the_code_of_the_parts_is_part_of_a_runs_identity(finished: Path):
    bound = json.loads((finished / "provenance.json").read_text())["binding"]["environment"]
    assert {"id", "source", "rulebook source", "rulebook?world=1 source"} <= bound.keys()
