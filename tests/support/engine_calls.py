"""What the tests of every engine that trains ask of it: samples, and these as training data."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from espl_bench.engines.engine import Engine
from espl_bench.types import Completion, Datum, SampleRequest

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def sample(engine: Engine, asked: list[SampleRequest]) -> list[Completion]:
    async def work() -> list[Completion]:
        return await (await engine.current()).sample(asked)

    return wait(work())


def sample_reference(engine: Engine, asked: list[SampleRequest]) -> list[Completion]:
    async def work() -> list[Completion]:
        return await (await engine.reference()).sample(asked)

    return wait(work())


def data(asked: list[SampleRequest], completions: list[Completion], advantages: tuple[float, ...] = (1.0, -0.5)) -> list[Datum]:
    return [
        Datum(
            tokens_T=request.prompt_T + completion.tokens_T,
            mask_T=(False,) * len(request.prompt_T) + (True,) * len(completion.tokens_T),
            logprobs_T=(0.0,) * len(request.prompt_T) + completion.logprobs_T,
            advantage=advantages[i % len(advantages)],
            temperature=request.temperature,
        )
        for i, (request, completion) in enumerate(zip(asked, completions, strict=True))
    ]
