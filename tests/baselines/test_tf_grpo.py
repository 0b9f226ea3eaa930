"""Training-free GRPO: one list, edited by group comparison, deletions included."""

import asyncio
import json
from pathlib import Path

import numpy as np
from espl_baselines.tf_grpo import GROUP_COMPARISON
from loop_fixtures import events, last_commit, make_scripted_config, run
from scripted_engine import ScriptedEngine

from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Child, EditLimits
from espl_bench.evolution.population import Population
from espl_bench.prompts.dialect import TemplateName
from espl_bench.types import Completion, Outcome, Problem, Rejected, Split, StopReason, Trajectory, TrajectoryGroup, Turn

LISTED = ("dax larger", "fep sum", "gim smaller")


class Says:
    """An editor that answers each stage with these edits."""

    def __init__(self, **texts: object) -> None:
        self.texts, self.asked = texts, []

    async def write(self, template: TemplateName, contexts: list) -> list[str]:
        self.asked.append((template, len(contexts)))
        return [json.dumps(self.texts[template.value])] * len(contexts) if contexts else []


def rollout(problem: Problem, sample: int, right: bool) -> Trajectory:
    turn = Turn((), Completion((1,), (-1.0,), "an attempt", StopReason.STOP))
    return Trajectory(problem, 0, sample, (turn,), float(right), Outcome.CORRECT if right else Outcome.WRONG)


def propose(editor: Says, rewards: tuple[bool, ...] = (True, False)) -> Child | Rejected:
    problem = Problem("train/0", Split.TRAIN, 0, "q", "a", gold="a")
    group = TrajectoryGroup(problem, 0, tuple(rollout(problem, i, right) for i, right in enumerate(rewards)))
    population = Population.start(LISTED, 1)
    view = StepView(1, population.members, (group,), population)
    [made] = asyncio.run(GROUP_COMPARISON.propose(view, editor, EditLimits(), np.random.default_rng(0)))  # pyright: ignore[reportArgumentType]
    return made


def test_a_comparison_may_delete_an_experience():
    made = propose(Says(summary="", critique={"op": "remove", "id": "G1"}, aggregate=[]))
    assert isinstance(made, Child) and made.principles == ("dax larger", "gim smaller")
    assert [edit.op for edit in made.evidence] == ["remove"] and made.lineage.origin == "group_comparison"


def test_the_update_of_the_list_overrules_a_deletion():
    made = propose(
        Says(summary="", critique={"op": "remove", "id": "G1"}, aggregate=[{"op": "modify", "id": "G1", "principle": "fep product"}])
    )
    assert isinstance(made, Child) and made.principles == ("dax larger", "fep product", "gim smaller")


def test_additions_are_taken_as_the_update_leaves_them():
    editor = Says(summary="", critique={"op": "add", "principle": "hob first"}, aggregate=[{"op": "remove", "id": "G0"}])
    made = propose(editor)
    assert isinstance(made, Child) and made.principles == ("fep sum", "gim smaller", "hob first")
    assert editor.asked == [(TemplateName.SUMMARY, 2), (TemplateName.CRITIQUE, 1), (TemplateName.AGGREGATE, 1)]


def test_a_group_without_winners_or_losers_is_not_compared():
    editor = Says()
    made = propose(editor, (True, True))
    assert isinstance(made, Rejected) and made.reason == "no_contrast" and editor.asked == []


def test_one_list_lives(tmp_path: Path):
    done = run(make_scripted_config("tf_grpo", steps=8), tmp_path, ScriptedEngine())
    [member] = last_commit(tmp_path).population["members"]
    born = events(tmp_path, "born")
    assert len(born) > 2 and tuple(member["principles"]) == done.shown_prompt == tuple(born[-1]["principles"])
    assert all(row["parents"] == [row["id"] - 1] for row in born[1:]) and done.ledger.train_tokens == 0
