"""Serve adapter versions with vLLM, each under a new name and id.

An adapter that is loaded again under its old name is served with prefix-cache blocks of the old one
(vllm-project/vllm#42125). So every version is saved into a folder of its own, replaces the one before it, and is checked
before it serves anything: some tokens are sampled with it and, in the same batch, without it, and their log-probabilities
from vLLM must be those that the trainer computes with its adapter on and off.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false
# (vLLM is an optional package, and untyped in parts)

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from espl_bench.engines.hf.learner import WeightsLearner
from espl_bench.engines.sampled import Sampled
from espl_bench.engines.vllm.server import Server
from espl_bench.errors import EngineError
from espl_bench.types import Datum, SampleRequest
from espl_bench.utils import foreign_files
from espl_bench.utils.living_folder import LivingFolder, remove_dead

PROBED_TOKENS = 16
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.2, "float16": 0.05, "nf4": 2.0}
"""By how the trainer holds its base: mean of |served - trained| log-probabilities in nats that rounding can explain. In 4 bits a model of
135 M weights was 0.7 nats from its own full precision; two models that have nothing to do with each other are several nats apart."""
DISTINCT = 4.0
"""An adapter differs from the base if it moves the log-probabilities this many times further than rounding does."""
_PREFIX = "espl-bench-adapters-"


@dataclass(frozen=True, slots=True)
class Version:
    """One state of the adapter as served."""

    number: int
    folder: Path
    lora: Any
    """The ``LoRARequest``."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Measurements of a version before it served anything, as means over the probed tokens in nats."""

    version: int
    gap: float
    """|served - trainer with the adapter|: rounding."""
    shift: float
    """|trainer with the adapter - trainer without|: the effect of training."""
    to_base: float
    """|served - trainer without the adapter|."""
    base_gap: float
    """|served reference - trainer without the adapter|, in a batch with the policy: rounding."""

    def check(self, tolerance: float) -> None:
        """Raise EngineError if the served weights are not the adapter."""
        if self.gap > tolerance:
            raise EngineError(
                f"vLLM serves other weights than were trained: adapter version {self.version}, log-probabilities "
                f"{self.gap:.2g} nats off in the mean (tolerance {tolerance:g}, and {self.to_base:.2g} off the base model's)"
            )
        if self.base_gap > tolerance:
            raise EngineError(
                f"vLLM serves another reference than the base model: log-probabilities {self.base_gap:.2g} nats off in the mean "
                f"(tolerance {tolerance:g}) in a batch with adapter version {self.version}"
            )
        if self.shift > DISTINCT * self.gap and self.to_base < self.shift / 2:
            raise EngineError(f"vLLM serves the base model in place of adapter version {self.version}")


class Adapters:
    """Publishes the trainer's adapter. Its coroutines run on the server's loop, one at a time."""

    def __init__(self, server: Server, learner: WeightsLearner, held: str, prompt: tuple[int, ...], *, in_memory: bool = True) -> None:
        """Set up publishing.

        Args:
            server: serves the adapter.
            learner: trains it.
            held: how the trainer holds its base: a dtype, as in ``float32``, or in 4 bits, as in ``nf4``.
            prompt: the prompt of a probe until a better one is known.
            in_memory: save in memory; else in the folder for temporary files, which other machines may share.
        """
        self._server = server
        self._learner = learner
        self._tolerance = TOLERANCE[held]
        home = _home(in_memory)
        remove_dead(home, _PREFIX)
        self._living = LivingFolder(home, f"{_PREFIX}{os.getpid()}-")
        self._root = self._living.path / "versions"
        self._root.mkdir()
        self.close = self._living.close
        """Removes the saved versions; runs at the end of the process at the latest."""
        self._published = 0
        self.prompt = prompt
        self.newest: Version | None = None
        self.proof: Proof | None = None
        """Proof of the newest version."""

    async def publish(self) -> Version:
        """Serve the current adapter, and unload the previous version.

        Raises:
            EngineError: it is refused, or what is served is something else.
        """
        from vllm.lora.request import LoRARequest

        self._published += 1
        name = f"policy-{os.getpid()}-{self._published}"
        folder = self._root / name
        folder.mkdir()
        await self._learner.save_adapter(folder)
        version = Version(self._published, folder, LoRARequest(name, self._published, str(folder)))
        if self.newest is not None:
            await self._server.remove(self.newest.lora)
            foreign_files.remove(self.newest.folder)
        self.newest = version
        await self._server.add(version.lora)
        self.proof = await self._prove(version)
        self.proof.check(self._tolerance)
        return version

    async def _prove(self, version: Version) -> Proof:
        prompt = self.prompt[-(self._server.context - PROBED_TOKENS) :]
        request = SampleRequest(prompt, version.number, PROBED_TOKENS, 1.0)
        [policy], [reference] = await asyncio.gather(*(self._server.generate([request], (), lora) for lora in (version.lora, None)))
        [adapted] = await self._learner.score([_datum(prompt, policy)], reference=False)
        base, alone = await self._learner.score([_datum(prompt, policy), _datum(prompt, reference)], reference=True)
        return Proof(
            version=version.number,
            gap=_distance(policy.logprobs_T, adapted),
            shift=_distance(adapted, base),
            to_base=_distance(policy.logprobs_T, base),
            base_gap=_distance(reference.logprobs_T, alone),
        )


def _datum(prompt: tuple[int, ...], sampled: Sampled) -> Datum:
    return Datum(
        tokens_T=(*prompt, *sampled.tokens_T),
        mask_T=(False,) * len(prompt) + (True,) * len(sampled.tokens_T),
        logprobs_T=(0.0,) * len(prompt) + sampled.logprobs_T,
        advantage=0.0,
        temperature=1.0,
    )


def _distance(ours: Any, theirs: Any) -> float:
    return fmean(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def _home(in_memory: bool) -> Path:
    """Return where the folder is made: in memory if wanted and available."""
    memory = Path("/dev/shm")
    return memory if in_memory and memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
