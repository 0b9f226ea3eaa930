"""Distillation: the evolved prompt goes into the weights, and the test is without it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from loop_fixtures import RecordingEngine, events, make_config, make_scripted_config, rows, run
from scripted_engine import ScriptedEngine

from espl_bench.build import open_engine
from espl_bench.config.resolve import resolve
from espl_bench.engines.engine import AdamParams
from espl_bench.errors import UsageError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Datum
from espl_bench.utils.jsonl import decode

SHAPE = {"steps": 8, "num_prompts": 3, "batch_size": 4, "group_size": 4}


def teacher_gaps(folder: Path) -> dict[int, float]:
    return {row["step"]: row["train"]["teacher_gap"] for row in rows(folder, Log.METRICS) if "teacher_gap" in row["train"]}


def prompts_of(folder: Path, step: int) -> set[int]:
    return {row["prompt_id"] for row in RunDir(folder).read_rollouts(step, decode)}


@pytest.mark.parametrize(("method", "distils", "reference"), [("distill", range(9, 17), True), ("espl_distill", range(13, 17), False)])
def test_the_student_answers_without_the_prompt_and_the_teacher_reads_with_it(method: str, distils: range, reference: bool, tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config(method, **SHAPE | {"steps": 16}), tmp_path, engine)
    assert sorted(teacher_gaps(tmp_path)) == list(distils)
    assert all(prompts_of(tmp_path, step) == {0} for step in distils)
    assert len(engine.scored) == len(distils) and {each for _, each in engine.scored} == {reference}
    taught, trained = engine.scored[-1][0], engine.trained[-1]
    for teacher, student in zip(taught, trained, strict=True):
        said = [token for token, sampled in zip(student.tokens_T, student.mask_T, strict=True) if sampled]
        assert [token for token, sampled in zip(teacher.tokens_T, teacher.mask_T, strict=True) if sampled] == said
        assert "none ." in engine.chat.decode(student.tokens_T) and "[G0]" in engine.chat.decode(teacher.tokens_T)


@pytest.mark.parametrize("method", ["distill", "espl_distill"])
def test_it_is_evaluated_under_the_root_prompt(method: str, tmp_path: Path):
    done = run(make_scripted_config(method, **SHAPE | {"eval_every": 2, "population_size": 2}), tmp_path, ScriptedEngine())
    assert done.shown_prompt == () and {row["prompt_id"] for row in rows(tmp_path, Log.EVALUATIONS)} == {0}
    assert len(events(tmp_path, "born")) > 3, "the root has left the population"


def test_what_is_distilled_counts_as_training(tmp_path: Path):
    engine = ScriptedEngine()
    done = run(make_scripted_config("distill", **SHAPE), tmp_path, engine)
    read = [len(datum.tokens_T) for data, _ in engine.scored for datum in data]
    assert done.ledger.train_tokens == sum(read) + sum(len(datum.tokens_T) for data in engine.trained for datum in data)


@pytest.mark.slow
def test_the_real_model_comes_nearer_to_its_prompted_self(lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, "distill", **SHAPE | {"steps": 16, "batch_size": 8, "lr": 0.003}), tmp_path)
    gaps = list(teacher_gaps(tmp_path).values())
    assert len(gaps) == 8 and gaps[0] > 0.05 and gaps[-1] < 0.7 * gaps[0]


def test_a_schedule_that_distils_needs_a_teacher():
    with pytest.raises(UsageError, match=r"schedule words_then_distil distils a prompt, and espl has no teacher"):
        resolve("espl", "rulebook", {"schedule": "words_then_distil"})


def test_an_engine_that_cannot_read_for_a_teacher_is_refused_before_the_run(tmp_path: Path):
    with pytest.raises(UsageError, match="distill needs an engine that a teacher can read with"):
        run(make_scripted_config("distill"), tmp_path / "run", RecordingEngine(ScriptedEngine()))
    assert not (tmp_path / "run").exists()


def test_a_token_is_weighed_by_its_own_advantage(lab_model: Path, tmp_path: Path):
    """Equal advantages of all tokens are an advantage of the rollout, and a token without one does not matter."""
    tokens, mask = tuple(range(5, 13)), (False,) * 4 + (True,) * 4
    whole = Datum(tokens, mask, (0.0,) * 4 + (-2.0,) * 4, 0.5, 1.0)
    single = replace(whole, advantage=0.0, advantages_T=(0.0,) * 4 + (0.5,) * 4)
    half = replace(single, advantages_T=(0.0,) * 4 + (0.5, 0.5, 0.0, 0.0))

    async def losses() -> list[float]:
        engine = open_engine(make_config(lab_model))
        try:
            spec = LossSpec(correction="none")
            return [(await engine.train_step([datum], spec, AdamParams(lr=0.0)))["loss"] for datum in (whole, single, half)]
        finally:
            await engine.close()

    of_whole, of_single, of_half = asyncio.run(losses())
    assert of_whole == of_single and abs(of_half) < abs(of_whole)
