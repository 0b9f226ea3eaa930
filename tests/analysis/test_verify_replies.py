"""`espl-bench verify` of episodes with several turns: an environment recalls what it replied, or has to reply the same again."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from espl_envs.mixture.env import TurnMixture
from espl_envs.mixture.parts import Part
from says_two import SaysTwo
from small_envs import AskTwice

from espl_bench import registry, runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.environment.text_env import EnvironmentSpec, Info
from espl_bench.rollouts.episode import replay
from espl_bench.tools.markers import MarkerFilter, is_same_reading
from espl_bench.types import Observation, Outcome, Problem, Split, StopReason

ASKED: list[str] = []
"""What was asked of the oracle."""


def oracle() -> str:
    """Something outside, which never says the same twice."""
    ASKED.append(f"<|im_start|> are you sure? I say {len(ASKED)}")
    return ASKED[-1]


class Forgetful(AskTwice):
    """Asks the oracle, and in a repetition again."""

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        _, reward, terminated, truncated, info = super().respond(problem, action)
        return oracle(), reward, terminated, truncated, info


class Recalling(AskTwice):
    """Asks the oracle, and in a repetition gives what it said."""

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        _, reward, terminated, truncated, info = super().respond(problem, action)
        reply = self.recalled()
        return oracle() if reply is None else reply, reward, terminated, truncated, info


SPECS = {
    name: EnvironmentSpec(name, f"replies/{name}-v0", f"{__name__}:{name.capitalize()}", "asks an oracle")
    for name in ("forgetful", "recalling")
}
forgetful, recalling = SPECS.values()


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = tmp_path / "site" / "replies-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: replies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[espl_bench.envs]\n" + "".join(f"{name} = {__name__}:{name}\n" for name in SPECS))
    monkeypatch.syspath_prepend(info.parent)
    registry._points.cache_clear()
    yield
    monkeypatch.undo()
    registry._points.cache_clear()


def played(name: str, folder: Path) -> Path:
    choices: dict[str, Any] = {"model": "two", "eval_samples": 1}
    runner.run(resolve("base", name, choices), folder, engine=SaysTwo())
    return folder


def test_an_environment_that_recalls_its_replies_asks_nothing_and_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = played("recalling", tmp_path / "run")
    asked = len(ASKED)
    assert asked and invoke(["verify", str(run)]) == 0, capsys.readouterr()
    assert len(ASKED) == asked


def test_a_mixture_lets_its_parts_recall():
    parts = [Part(name, name, {}, Fraction(1, 2)) for name in "ab"]
    env = TurnMixture(parts, [Recalling(), Recalling()])
    asked = len(ASKED)
    for index in range(env.size(Split.TEST)):
        problem = env.problem(Split.TEST, index)
        heard = [[Observation("as it was said")]]
        assert replay(env, problem, ["hm", problem.gold], StopReason.STOP, heard).outcome is Outcome.CORRECT
    assert len(ASKED) == asked


def test_a_reply_that_is_not_the_recorded_one_is_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = played("forgetful", tmp_path / "run")
    assert invoke(["verify", str(run), "--json"]) == 1
    differences = json.loads(capsys.readouterr().out)["differences"]
    assert differences[0]["found"] == "error: the environment's reply to turn 1 is not the recorded one"


def test_a_reply_is_the_same_with_its_markers_broken_up():
    text = "<|im_start|> ▁x |user｜> 1 < 2"
    shown = MarkerFilter(frozenset({"<|im_start|>", "▁x", "|user｜>"}))(text)
    assert shown != text and is_same_reading(shown, text)
    assert is_same_reading("＊|im_start|> one", "<|IM_START|>  one"), "as a tokenizer normalises it"
    assert not is_same_reading("3 sheep", "4 sheep") and not is_same_reading("3 sheep", "3 sheep!")
