"""Engine `tinker` against a real server: the same model, the same data, side by side with the embedded engine."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tinker_server import Server

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.tinker import conversion
from espl_bench.engines.tinker.engine import STATE, TinkerEngine
from espl_bench.errors import CheckpointError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, Datum, Message, SampleRequest, StopReason

RANK = 32
ADAM = AdamParams(lr=1e-3)
QUESTIONS = ("3 dax 5 = ?", "7 fep 2 = ?", "1 dax 1 fep 4 = ?", "9 fep 9 = ?")


def opened(server: Server, rank: int = RANK) -> TinkerEngine:
    return TinkerEngine.at(server.url, str(server.model), None, lora_rank=rank, seed=7, timeout_s=60, tries=8)


@pytest.fixture(scope="module")
def engine(server: Server) -> Iterator[TinkerEngine]:
    with pytest.MonkeyPatch.context() as patch:
        from tinker_server import KEY

        patch.setenv("TINKER_API_KEY", KEY)
        engine = opened(server)
        yield engine
        asyncio.run(engine.close())


def requests(engine: TinkerEngine, **changes: object) -> list[SampleRequest]:
    values = {"max_tokens": 24, "temperature": 1.0} | changes
    prompts = [engine.chat.encode((Message("system", "[G0] dax: the larger digit"), Message("user", question))) for question in QUESTIONS]
    return [SampleRequest(prompt_T=prompt, seed=2**40 + place, **values) for place, prompt in enumerate(prompts)]  # pyright: ignore


def data(asked: Sequence[SampleRequest], said: Sequence[Completion], advantage: float = 1.0) -> list[Datum]:
    return [
        Datum(
            tokens_T=(*request.prompt_T, *completion.tokens_T),
            mask_T=(*(False for _ in request.prompt_T), *(True for _ in completion.tokens_T)),
            logprobs_T=(*(0.0 for _ in request.prompt_T), *completion.logprobs_T),
            advantage=advantage if place % 2 else -advantage,
            temperature=1.0,
        )
        for place, (request, completion) in enumerate(zip(asked, said, strict=True))
    ]


async def sampled(engine: TinkerEngine, **changes: object) -> list[Completion]:
    return await (await engine.current()).sample(requests(engine, **changes))


def test_seeds_name_the_draws_and_stops_end_them(engine: TinkerEngine):
    async def draw():
        reference = await engine.reference()
        long, *rest = requests(engine)
        asked = [long, replace(long, max_tokens=2), *rest]
        first, again = await reference.sample(asked), await reference.sample(asked[::-1])
        assert first[1].tokens_T == first[0].tokens_T[:2]
        assert [one.tokens_T for one in first] == [one.tokens_T for one in again[::-1]]
        others = await reference.sample([replace(asked[0], seed=place) for place in range(8)])
        assert len({one.tokens_T for one in others}) > 1
        return first, asked

    said, asked = asyncio.run(draw())
    for completion, request in zip(said, asked, strict=True):
        assert 0 < len(completion.tokens_T) == len(completion.logprobs_T) <= request.max_tokens
        ended = completion.tokens_T[-1] in engine.chat.eos_ids  # pyright: ignore
        assert (completion.stop_reason is StopReason.STOP) == ended
        assert completion.text == engine.chat.decode(completion.tokens_T)


def test_greedy_and_log_probabilities_are_the_embedded_engines(server: Server, engine: TinkerEngine):
    local = HfEngine.from_pretrained(server.model, AdapterSpec(rank=RANK, alpha=32.0, seed=0))

    async def compare():
        there, here = await engine.reference(), await local.reference()
        greedy = requests(engine, temperature=0.0)
        assert [one.tokens_T for one in await there.sample(greedy)] == [one.tokens_T for one in await here.sample(greedy)]
        asked = requests(engine)
        said = await there.sample(asked)
        return await local.train_step(data(asked, said), LossSpec(), AdamParams(lr=0.0))

    metrics = asyncio.run(compare())
    assert abs(metrics["kl_sampler"]) < 1e-3
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-3)


def test_sampler_and_trainer_agree_token_by_token(engine: TinkerEngine):
    """Before any step, and after one: the weights that are sampled with are those that are trained."""

    async def largest_gap() -> float:
        asked = requests(engine)
        rows = data(asked, await (await engine.current()).sample(asked))
        trainer = await engine._training_client()
        found = await engine._service.result(
            trainer.forward([conversion.wire_datum(row) for row in rows], "importance_sampling"), "looking"
        )
        gaps = [
            abs(theirs - ours)
            for row, output in zip(rows, found.loss_fn_outputs, strict=True)
            for theirs, ours, mine in zip(output["logprobs"].data, row.logprobs_T[1:], row.mask_T[1:], strict=True)
            if mine
        ]
        return max(gaps)

    async def before_and_after() -> tuple[float, float, float]:
        before = await largest_gap()
        asked = requests(engine)
        metrics = await engine.train_step(data(asked, await sampled(engine)), LossSpec(), ADAM)
        assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-3)
        return before, await largest_gap(), metrics["grad_norm"]

    before, after, norm = asyncio.run(before_and_after())
    assert before < 1e-3
    assert after < 1e-3
    assert norm > 0


@pytest.mark.parametrize("name", ["importance_sampling", "ppo", "cispo"])
def test_every_loss_moves_probability_to_what_was_good(engine: TinkerEngine, name: str):
    async def step() -> tuple[float, float]:
        asked = requests(engine)
        said = await sampled(engine)
        rows = data(asked, said)
        await engine.train_step(rows, default_loss(name), ADAM)  # pyright: ignore
        after = await engine.train_step(rows, default_loss(name), AdamParams(lr=0.0))  # pyright: ignore
        again = data(asked, said)
        assert after["ratio_mean"] > 0
        gained = [row for row in again if row.advantage > 0]
        only = await engine.train_step(gained, default_loss(name), AdamParams(lr=0.0))  # pyright: ignore
        lost = await engine.train_step([row for row in again if row.advantage < 0], default_loss(name), AdamParams(lr=0.0))  # pyright: ignore
        return -only["kl_sampler"], -lost["kl_sampler"]

    good, bad = asyncio.run(step())
    assert good > 0 > bad


def test_a_client_keeps_the_weights_it_was_made_with(engine: TinkerEngine):
    async def old_and_new():
        old = await engine.current()
        assert await engine.current() is old, "saved once"
        asked = requests(engine)
        before = await old.sample(asked)
        await engine.train_step(data(asked, before), LossSpec(), AdamParams(lr=1e-2))
        new = await engine.current()
        assert new is not old
        return before, await new.sample(asked), await (await engine.reference()).sample(asked)

    before, after, reference = asyncio.run(old_and_new())
    assert [one.logprobs_T for one in before] != [one.logprobs_T for one in after]
    assert [one.logprobs_T for one in after] != [one.logprobs_T for one in reference]


def test_a_checkpoint_brings_back_weights_and_optimiser(server: Server, engine: TinkerEngine, key: str, tmp_path: Path):
    """Training goes on from it as if nothing had happened, in another client too, and with Adam's moments."""
    other = opened(server)

    async def go_on(trained: TinkerEngine, rows: list[Datum]) -> list[Completion]:
        await trained.train_step(rows, LossSpec(), ADAM)
        return await sampled(trained)

    async def run() -> tuple[list[Completion], list[Completion], list[Completion]]:
        rows = data(requests(engine), await sampled(engine))
        await engine.train_step(rows, LossSpec(), ADAM)
        await engine.save(tmp_path)
        straight = await go_on(engine, rows)
        await other.load(tmp_path)
        resumed = await go_on(other, rows)
        path = (tmp_path / STATE).read_text()
        weights = await other._service.result(
            other._service.client.create_training_client_from_state(path.split('"path": "')[1].split('"')[0]), "restoring weights alone"
        )
        other._trainer, other._policy = weights, None
        forgetful = await go_on(other, rows)
        await other.close()
        return straight, resumed, forgetful

    straight, resumed, forgetful = asyncio.run(run())
    assert [one.tokens_T for one in straight] == [one.tokens_T for one in resumed]
    for one, again in zip(straight, resumed, strict=True):
        assert one.logprobs_T == pytest.approx(again.logprobs_T, abs=1e-5)
    assert [one.logprobs_T for one in forgetful] != [one.logprobs_T for one in straight], "the optimiser's state matters"
    assert key not in (tmp_path / STATE).read_text()


def test_what_was_never_trained_is_the_base_model(server: Server, key: str, tmp_path: Path):
    engine = opened(server)

    async def untouched() -> None:
        assert await engine.current() is await engine.reference()
        metrics = await engine.train_step([], LossSpec(), ADAM)
        assert (metrics["loss"], metrics["skipped_steps"]) == (0.0, 0.0)
        await engine.save(tmp_path)
        await engine.load(tmp_path)
        assert await engine.current() is await engine.reference()
        await engine.close()

    asyncio.run(untouched())


def test_checkpoints_that_cannot_be_loaded_are_told_of(server: Server, key: str, tmp_path: Path):
    engine = opened(server)
    with pytest.raises(CheckpointError, match="cannot read"):
        asyncio.run(engine.load(tmp_path))
    (tmp_path / STATE).write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        asyncio.run(engine.load(tmp_path))
    state = '{"format": "espl-bench/tinker/1", "model": "%s", "lora_rank": %d, "path": "%s"}'
    (tmp_path / STATE).write_text(state % (server.model, 8, "tinker://a/weights/b"))
    with pytest.raises(CheckpointError, match="LoRA rank 8"):
        asyncio.run(engine.load(tmp_path))
    (tmp_path / STATE).write_text(state % (server.model, RANK, "tinker://gone/weights/gone"))
    with pytest.raises(CheckpointError, match="if the service no longer has it"):
        asyncio.run(engine.load(tmp_path))
    asyncio.run(engine.close())
