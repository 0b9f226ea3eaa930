import asyncio
from collections import Counter
from pathlib import Path

import pytest
from checked import present
from espl_envs.rulebook.env import RulebookEnv
from loop_fixtures import (
    RecordingEngine,
    adapter,
    check_population,
    events,
    last_commit,
    make_config,
    make_scripted_config,
    open_run,
    rows,
    run,
    splits_by_question,
    with_method,
)
from scripted_engine import CHAIN, ScriptedEngine

from espl_bench.build import open_engine
from espl_bench.method import ESPL, EditorChoice
from espl_bench.prompts.dialect import Placement
from espl_bench.rollouts.batches import training_batch
from espl_bench.rollouts.evaluate import evaluate
from espl_bench.rollouts.rollout import roll_out
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import ROOT_ORIGIN, Lineage, Outcome, Rating, Split, SystemPrompt
from espl_bench.utils.jsonl import decode

QUESTIONS = splits_by_question(RulebookEnv())


def metrics(folder: Path) -> bytes:
    return (folder / "metrics.jsonl").read_bytes()


# One loop


def test_espl_without_operators_is_rl_only_bit_for_bit(lab_model: Path, tmp_path: Path):
    rl_only = make_config(lab_model, "rl_only")
    bare = with_method(rl_only, ESPL.varied(operators=(), baseline="across_prompts"))
    run(rl_only, tmp_path / "rl")
    run(bare, tmp_path / "espl")
    assert metrics(tmp_path / "espl") == metrics(tmp_path / "rl")
    assert adapter(tmp_path / "espl") == adapter(tmp_path / "rl")
    per_prompt = with_method(rl_only, rl_only.method.varied(baseline="per_prompt"))
    run(per_prompt, tmp_path / "other")
    assert adapter(tmp_path / "other") != adapter(tmp_path / "rl"), "otherwise the comparison could not fail"


@pytest.mark.parametrize("method", ["base", "reflection_only", "evolution_only"])
def test_frozen_weights_are_bit_for_bit_those_of_the_start(method: str, lab_model: Path, tmp_path: Path):
    config = make_config(lab_model, method)
    asyncio.run(open_engine(config).save(tmp_path))
    run(config, tmp_path / "run")
    assert adapter(tmp_path / "run") == (tmp_path / "adapter_model.safetensors").read_bytes()


def test_weights_that_learn_move(lab_model: Path, tmp_path: Path):
    config = make_config(lab_model, "rl_only", steps=2)
    asyncio.run(open_engine(config).save(tmp_path))
    run(config, tmp_path / "run")
    assert adapter(tmp_path / "run") != (tmp_path / "adapter_model.safetensors").read_bytes()


def test_the_same_configuration_gives_the_same_bytes_and_another_seed_gives_others(lab_model: Path, tmp_path: Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(make_config(lab_model, steps=2, seed=seed), tmp_path / name)
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b") != metrics(tmp_path / "c")
    assert adapter(tmp_path / "a") == adapter(tmp_path / "b") != adapter(tmp_path / "c")


def test_looking_at_the_test_split_steers_nothing(lab_model: Path, tmp_path: Path):
    run(make_config(lab_model), tmp_path / "blind")
    run(make_config(lab_model, test_every=1, eval_every=2), tmp_path / "curious")
    assert len(rows(tmp_path / "curious", Log.EVALUATIONS)) == 2 + 4 + 2
    assert metrics(tmp_path / "curious") == metrics(tmp_path / "blind")
    assert adapter(tmp_path / "curious") == adapter(tmp_path / "blind")
    assert (tmp_path / "curious/population.jsonl").read_bytes() == (tmp_path / "blind/population.jsonl").read_bytes()


# The population


@pytest.mark.parametrize(
    ("method", "choices"),
    [("espl", {}), ("espl", {"population_size": 2, "crossover_prob": 1.0}), ("evolution_only", {"selector": "softmax"}), ("rl_only", {})],
)
@pytest.mark.parametrize("kind", ["real", "scripted"])
def test_every_rating_and_every_birth_follows_from_the_rollouts(kind: str, method: str, choices: dict, lab_model: Path, tmp_path: Path):
    if kind == "real":
        run(make_config(lab_model, method, steps=6, **choices), tmp_path)
    else:
        run(make_scripted_config(method, steps=12, **choices), tmp_path, ScriptedEngine())
    check_population(tmp_path)
    if method != "rl_only":
        assert len(events(tmp_path, "born")) > 3, "otherwise nothing was tested"


def test_a_prompt_displaced_by_its_own_child_keeps_its_last_rating_in_the_log(tmp_path: Path):
    run(make_scripted_config("espl", steps=12, population_size=2, crossover_prob=1.0), tmp_path, ScriptedEngine())
    for row in events(tmp_path, "rated"):
        assert row["ratings"].keys() == row["means"].keys()


def test_the_root_sampled_three_times_is_no_match(tmp_path: Path):
    run(make_scripted_config(steps=1), tmp_path, ScriptedEngine())
    [rated] = events(tmp_path, "rated")
    assert rated["means"].keys() == {"0"}
    assert rated["ratings"] == {"0": [25.0, 25.0 / 3]}
    assert last_commit(tmp_path).population["members"][0]["matches"] == 0
    assert Counter(row["slot"] for row in RunDir(tmp_path).read_rollouts(1, decode)) == {0: 16, 1: 16, 2: 16}


def test_a_prompt_sampled_twice_counts_once(tmp_path: Path):
    run(make_scripted_config(steps=2, crossover_prob=0.0), tmp_path, ScriptedEngine())
    _, second = events(tmp_path, "rated")
    assert second["means"].keys() == {"0", "1"}
    assert sorted(Counter(row["prompt_id"] for row in RunDir(tmp_path).read_rollouts(2, decode)).values()) == [16, 32]
    assert {member["matches"] for member in last_commit(tmp_path).population["members"] if member["id"] < 2} == {1}
    check_population(tmp_path)


def test_every_operator_that_was_tried_left_a_child_or_a_reason(tmp_path: Path):
    config = make_scripted_config(steps=12, crossover_prob=1.0)
    run(config, tmp_path, ScriptedEngine())
    for step in range(1, 13):
        tried = Counter(row["origin"] for row in events(tmp_path, "born") + events(tmp_path, "rejected") if row["step"] == step)
        tried.pop("root", None)
        assert tried == {"mutation": 1, "crossover": 1}
    reasons = {row["reason"] for row in events(tmp_path, "rejected")}
    assert reasons and reasons <= {"no_contrast", "no_edits", "unparseable", "unchanged", "no_rival"}
    assert all("\n" not in row["detail"] and len(row["detail"]) <= 300 for row in events(tmp_path, "rejected"))


def test_at_the_end_the_shown_prompt_is_the_one_that_was_tested(tmp_path: Path):
    summary = run(make_scripted_config(steps=8), tmp_path, ScriptedEngine())
    shown = rows(tmp_path, Log.METRICS)[-1]["shown"]
    assert {row["prompt_id"] for row in rows(tmp_path, Log.EVALUATIONS)} == {shown}
    [born] = [row for row in events(tmp_path, "born") if row["id"] == shown]
    assert summary.shown_prompt == tuple(born["principles"])


# What is asked of the engine


def asked(engine, call) -> Counter:
    """How many requests of a call belong to each split."""
    return Counter(QUESTIONS[question_in(engine, request)] for request in call.requests)


def question_in(engine, request) -> str:
    return f"{present(CHAIN.search(engine.chat.decode(request.prompt_T)))[0]} = ?"


@pytest.mark.parametrize("method", ["base", "rl_only", "espl"])
def test_the_ledger_equals_what_passed_through_the_engine(method: str, lab_model: Path, tmp_path: Path):
    config = make_config(lab_model, method, eval_every=2, crossover_prob=1.0)
    engine = RecordingEngine(open_engine(config))
    ledger = run(config, tmp_path, engine).ledger
    reflections = [call for call in engine.calls if call.weights == "reference"]
    policy = [call for call in engine.calls if call.weights == "current"]
    training = [call for call in policy if asked(engine, call).keys() == {Split.TRAIN}]
    evaluations = [call for call in policy if Split.TRAIN not in asked(engine, call)]
    assert len(training) + len(evaluations) == len(policy)

    def requests(calls):
        return [request for call in calls for request in call.requests]

    def sampled(calls):
        return sum(len(completion.tokens_T) for call in calls for completion in call.completions)

    def read(calls):
        return sum(len(request.prompt_T) for request in requests(calls))

    assert ledger.rollouts == len(requests(training)) == (0 if method == "base" else 4 * 3 * 4 * 4)
    assert (ledger.generated_tokens, ledger.prompt_tokens) == (sampled(training), read(training))
    assert (ledger.reflection_tokens, ledger.reflection_prompt_tokens) == (sampled(reflections), read(reflections))
    assert ledger.reflection_calls == len(requests(reflections))
    assert (ledger.reflection_calls > 0) == (method == "espl")
    assert (ledger.eval_rollouts, ledger.eval_tokens) == (len(requests(evaluations)), sampled(evaluations))
    assert ledger.train_tokens == sum(len(datum.tokens_T) for data in engine.trained for datum in data)
    assert (ledger.train_tokens > 0) == (method != "base")
    assert 0 < ledger.device_s <= ledger.wall_s


@pytest.mark.parametrize("placement", list(Placement))
def test_a_prompt_reads_the_same_in_training_and_in_evaluation(placement: Placement):
    engine = ScriptedEngine()
    context = open_run(make_scripted_config(placement=placement), engine)
    prompt = SystemPrompt(3, ("dax larger", "fep sum"), Rating(), Lineage(ROOT_ORIGIN))
    problems = [context.env.problem(Split.TRAIN, index) for index in range(5)]

    async def both():
        client = await engine.current()
        await roll_out(client, context.spec, [prompt], problems, 2, "rollout", 0)
        await evaluate(client, context.spec, prompt, problems, 2, 0, lambda done, total: None)

    asyncio.run(both())
    training, evaluation = ([request.prompt_T for request in call.requests] for call in engine.calls)
    assert training == evaluation
    for tokens, problem in zip(training[::2], problems, strict=True):
        text = engine.chat.decode(tokens)
        assert text == f"principles : [G0] dax larger [G1] fep sum {problem.question}"
    assert len({request.seed for call in engine.calls for request in call.requests}) == 20, "but not with the same draws"


@pytest.mark.parametrize("placement", list(Placement))
def test_a_run_shows_the_policy_nothing_but_rendered_prompts(placement: Placement, tmp_path: Path):
    engine = ScriptedEngine()
    config = make_scripted_config(placement=placement, eval_every=2)
    run(config, tmp_path, engine)
    spec = open_run(config, engine).spec
    renderings = {
        split: {
            spec.prompt_tokens(row["principles"], question)
            for row in events(tmp_path, "born")
            for question, part in QUESTIONS.items()
            if part is split
        }
        for split in Split
    }
    seen: Counter[Split] = Counter()
    for call in engine.calls:
        if call.weights == "current":
            [split] = asked(engine, call)
            assert {request.prompt_T for request in call.requests} <= renderings[split]
            seen[split] += 1
    assert seen == {Split.TRAIN: 4, Split.VALIDATION: 3, Split.TEST: 1}


def test_every_method_of_a_seed_meets_the_same_items_with_the_same_draws(tmp_path: Path):
    tests = {}
    batches = {}
    for method in ("base", "rl_only", "evolution_only"):
        engine = ScriptedEngine()
        run(make_scripted_config(method), tmp_path / method, engine)
        calls = [call for call in engine.calls if call.weights == "current"]
        tests[method] = [(question_in(engine, request), request.seed) for call in calls[-2:] for request in call.requests]
        batches[method] = [{question_in(engine, request) for request in call.requests} for call in calls[:-2]]
    assert tests["base"] == tests["rl_only"] == tests["evolution_only"]
    assert batches["rl_only"] == batches["evolution_only"]
    assert len(batches["rl_only"]) == 4


def test_no_two_rollouts_of_a_run_share_a_draw(tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config(), tmp_path, engine)
    seeds = [request.seed for call in engine.calls for request in call.requests]
    assert len(seeds) == len(set(seeds)) > 300


def test_a_problem_that_comes_again_is_drawn_anew(tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config("rl_only", steps=2, batch_size=256, num_prompts=1, group_size=1), tmp_path, engine)
    first, second, *_ = ([(question_in(engine, request), request.seed) for request in call.requests] for call in engine.calls)
    assert {question for question, _ in first} == {question for question, _ in second}
    assert not {seed for _, seed in first} & {seed for _, seed in second}


# Which problems a step meets


@pytest.mark.parametrize("size", [1, 30, 100, 256, 1000])
def test_an_epoch_meets_no_problem_twice_and_leaves_few_out(size: int):
    env = RulebookEnv()
    per_epoch = max(1, 256 // size)
    for epoch in range(2):
        met = [problem.index for step in range(per_epoch) for problem in training_batch(env, 5, epoch * per_epoch + step, size)]
        assert len(met) == len(set(met)) > 256 - min(size, 256)


def test_epochs_and_seeds_shuffle_differently():
    env = RulebookEnv()
    orders = [tuple(problem.index for problem in training_batch(env, seed, step, 256)) for seed, step in ((0, 0), (0, 1), (1, 0))]
    assert len(set(orders)) == 3
    assert orders[0] == tuple(problem.index for problem in training_batch(env, 0, 0, 256))


@pytest.mark.parametrize("editor", list(EditorChoice))
def test_reflections_are_written_by_the_chosen_weights_before_these_move(editor: EditorChoice, tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config(editor=editor.value), tmp_path, engine)
    rollouts = [call for call in engine.calls if asked_of_policy(engine, call) and asked(engine, call).keys() == {Split.TRAIN}]
    reflections = [call for call in engine.calls if not asked_of_policy(engine, call)]
    assert reflections and {call.weights for call in reflections} == {editor.value}
    practice = [call.practice for call in rollouts]
    assert practice == sorted(practice) and practice[-1] > practice[1] > 0
    if editor is EditorChoice.CURRENT:
        batch = rollouts[0]
        for call in engine.calls[: engine.calls.index(rollouts[-1])]:
            batch = call if any(call is each for each in rollouts) else batch
            assert call.practice == batch.practice, "the weights of the rollouts that are reflected on"


def asked_of_policy(engine, call) -> bool:
    return engine.chat.decode(call.requests[0].prompt_T).startswith("principles")


def test_learning_side_by_side_changes_nothing_but_time(tmp_path: Path):
    run(make_scripted_config(), tmp_path / "side", ScriptedEngine(isolates_snapshots=True))
    run(make_scripted_config(), tmp_path / "turns", ScriptedEngine(isolates_snapshots=False))
    assert metrics(tmp_path / "side") == metrics(tmp_path / "turns")
    assert (tmp_path / "side/population.jsonl").read_bytes() == (tmp_path / "turns/population.jsonl").read_bytes()


def test_only_what_was_sampled_is_trained_on(tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config("rl_only"), tmp_path, engine)
    sampled = {
        (*request.prompt_T, *completion.tokens_T): len(request.prompt_T)
        for call in engine.calls
        for request, completion in zip(call.requests, call.completions, strict=True)
    }
    data = [datum for data in engine.trained for datum in data]
    rewards: dict[tuple[int, int, str], list[float]] = {}
    for step in RunDir(tmp_path).rollout_steps():
        for row in RunDir(tmp_path).read_rollouts(step, decode):
            rewards.setdefault((step, row["prompt_id"], row["problem_id"]), []).append(row["reward"])
    contrasting = [group for group in rewards.values() if len(set(group)) > 1]
    assert len(data) == sum(map(len, contrasting)) > 0, "every baseline set with a contrast, whole"
    for datum in data:
        start = sampled[datum.tokens_T]
        assert datum.mask_T == (False,) * start + (True,) * (len(datum.tokens_T) - start)


def test_rollouts_that_were_cut_stay_out_of_the_loss_if_asked_and_count_in_the_baseline(lab_model: Path, tmp_path: Path):
    trained = {}
    for masked in (False, True):
        config = make_config(lab_model, "rl_only", steps=1, max_tokens=18, mask_truncated=masked, control="random-reward")
        engine = RecordingEngine(open_engine(config))
        run(config, tmp_path / str(masked), engine)
        [trained[masked]] = engine.trained
    cut = [datum for datum in trained[False] if sum(datum.mask_T) == 18]
    assert 0 < len(cut) < len(trained[False])
    assert trained[True] == tuple(datum for datum in trained[False] if datum not in cut), "with the same advantages"
    assert rows(tmp_path / "True", Log.METRICS)[0]["outcomes"] == rows(tmp_path / "False", Log.METRICS)[0]["outcomes"]


def test_the_outcomes_of_a_step_are_those_of_its_rollouts(lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, steps=3), tmp_path)
    for row in rows(tmp_path, Log.METRICS):
        stored = RunDir(tmp_path).read_rollouts(row["step"], decode)
        counts = Counter(rollout["outcome"] for rollout in stored)
        assert row["outcomes"] == {name: count / len(stored) for name, count in counts.items()}
        assert row["reward"] == pytest.approx(sum(rollout["reward"] for rollout in stored) / len(stored))
        env = RulebookEnv()
        for rollout in stored:
            split, _, index = rollout["problem_id"].partition("/")
            verdict = env.grade(env.problem(Split(split), int(index)), rollout["turns"][0])
            regraded = Outcome.TRUNCATED if verdict.outcome is Outcome.NO_ANSWER and rollout["stop_reason"] == "length" else verdict.outcome
            assert (rollout["outcome"], rollout["reward"]) == (regraded.value, verdict.reward), "a stored rollout can be graded again"
