"""How a model may read many token sequences at once, found out by trying.

A sequence must get the same log-probabilities whatever it is read with, or sampler and trainer are not one policy. Attention over all
tokens allows everything: beginnings are read once, and padding stands anywhere. Attention within a window counts columns, so that
padding between a beginning and its continuation takes room in the window. A recurrent layer carries one state per row, and some let
padding into it. What a model is like stands in no one place of its configuration, so `understand` reads a few short rows in the ways
that sampling and training read, and compares them with each row read alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import cache_utils
from transformers.cache_utils import DynamicCache

from espl_bench.engines.hf.decoding.captured_step import WORTH, no_waiting
from espl_bench.engines.hf.decoding.kv_cache import prefill
from espl_bench.engines.hf.reading import attention
from espl_bench.engines.hf.reading.forward import FAILURES, TOLERANCE, Reading, forward
from espl_bench.engines.hf.reading.prefix_sharing import SplitPrompt, Tokens, forward_levels, level, prompt_levels
from espl_bench.errors import ModelError, first_line

_PADDABLE_NAMES = (
    "DummyLayer",
    "DynamicLayer",
    "DynamicSlidingWindowLayer",
    "LinearAttentionLayer",
    "LinearAttentionAndFullAttentionLayer",
    "LinearAttentionAndSlidingWindowAttentionLayer",
)
_PADDABLE: tuple[type, ...] = tuple(getattr(cache_utils, name) for name in _PADDABLE_NAMES if hasattr(cache_utils, name))
"""Kinds of cache layers, as far as the installed version has them, that padding in front was seen to leave alone at every length.
Others, such as those that pick the most relevant of many tokens, do their own thing only beyond a number of tokens that a trial does not
reach."""
_LENGTHS = (7, 7, 4, 9)
"""Of the prompts of a trial; the first two are one prompt."""
_NEW = 4
"""Tokens that follow each prompt."""


def understand(model: Any, name: str, words: Sequence[int]) -> Reading:
    """Return the most that a model allows. A model that allows `SHARED` is left adopted by `hf.reading.attention`.

    Args:
        model: a causal LM in eval mode.
        name: for messages.
        words: some ordinary ids of its tokenizer.

    Raises:
        ModelError: it cannot be read in batches at all, or its cache changes what it says.
    """
    trial = _Trial(model, words)
    try:
        trial.read_alone()
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        raise ModelError(f"model '{name}' cannot read text: {first_line(error)}; use a causal language model") from error
    if attention.adopt(model):
        if trial.agrees(trial.shared):
            return Reading.SHARED
        attention.leave(model)
    ways = {Reading.PADDED: trial.padded, Reading.EQUAL: trial.equal, Reading.REREAD: trial.reread}
    if any(type(layer) not in _PADDABLE for layer in DynamicCache(config=model.config).layers):
        del ways[Reading.PADDED]
    for reading, way in ways.items():
        if trial.agrees(way):
            return reading
    raise ModelError(
        f"model '{name}' cannot be sampled by engine hf ({trial.fault}); "
        "serve it with another program and use --engine openai, or use another model"
    )


def replays(model: Any, words: Sequence[int]) -> bool:
    """Return True if a model's decode steps may be captured and replayed (`hf.decoding.static_cache`).

    Args:
        model: left by `understand` as one that allows `Reading.SHARED`.
        words: some ordinary ids of its tokenizer.
    """
    trial = _Trial(model, words)
    trial.read_alone()
    if trial.agrees(trial.replayed):
        return True
    warnings.warn(f"decode steps are not captured, which takes longer: replayed, {trial.fault}", RuntimeWarning, stacklevel=2)
    return False


class _Trial:
    """A few rows: prompts and the tokens that follow them."""

    def __init__(self, model: Any, words: Sequence[int]) -> None:
        self._model = model
        rng = torch.Generator().manual_seed(0)
        width = max(_LENGTHS) + _NEW
        picked = [words[index] for index in torch.randint(len(words), (len(_LENGTHS) * width,), generator=rng).tolist()]
        rows = [picked[width * row : width * (row + 1)] for row in range(len(_LENGTHS))]
        rows[1] = [*rows[0][: _LENGTHS[0]], *rows[1][_LENGTHS[0] :]]
        rows[3] = [*rows[2][: _LENGTHS[2]], *rows[3][_LENGTHS[2] :]]
        self._rows = [tuple(row[: length + _NEW]) for row, length in zip(rows, _LENGTHS, strict=True)]
        self._prompts = [row[:-_NEW] for row in self._rows]
        self._tolerance = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
        self._largest = 1.0
        self._whole: list[Tensor] = []
        self.fault = ""
        """What was wrong with the last way that was tried."""

    @torch.inference_mode()
    def read_alone(self) -> None:
        """Read every row by itself and without a cache: what the others are compared with."""
        logits = [self._level_logits([row])[0] for row in self._rows]
        self._largest = max(1.0, *(float(logits_TV.abs().max()) for logits_TV in logits))
        self._whole = [self._logprobs(logits_TV) for logits_TV in logits]

    @torch.inference_mode()
    def agrees(self, way: Callable[[], Iterator[tuple[int, int, Tensor]]]) -> bool:
        """Return True if a way of reading gives what rows read alone give: it yields row, column, and the logits there."""
        try:
            gaps = [self._gap(row, column, logits_V) for row, column, logits_V in way()]
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            self.fault = f"{type(error).__name__}: {first_line(error)}"
            return False
        self.fault = f"read in a batch, its log-probabilities are {max(gaps):.2g} nats off those read alone"
        return max(gaps) <= self._tolerance * self._largest

    def shared(self) -> Iterator[tuple[int, int, Tensor]]:
        """Padding between beginnings and continuations, as both sampling and training have it, then decoding."""
        cuts = [SplitPrompt(self._prompts[0][:5], self._rows[0][5:]), SplitPrompt(self._rows[3][:3], self._rows[3][3:])]
        for padding in ("left", "right"):
            levels = prompt_levels(cuts, padding, self._model.device)
            logits, _ = forward_levels(self._model, levels, DynamicCache(config=self._model.config))
            for place, row in enumerate((0, 3)):
                if padding == "left" or len(cuts[place].suffix) == levels[-1].ids_RT.shape[1]:
                    yield row, len(self._rows[row]) - 1, logits[-1][place, -1]
        yield from self._decoded(range(len(_LENGTHS)), Reading.SHARED)

    def replayed(self) -> Iterator[tuple[int, int, Tensor]]:
        """Decoding at fixed addresses, where nothing may wait for the GPU; then with captured steps, if this is one."""
        said = torch.tensor([[row[length]] for row, length in zip(self._rows, _LENGTHS, strict=True)], device=self._model.device)
        _, memory = prefill(self._model, self._prompts, 1, share=True, replay=True)
        position = torch.tensor(_LENGTHS, device=self._model.device)[:, None]
        with no_waiting(self._model.device):
            logits_BV = memory.step(said, position)
        for row, logits_V in enumerate(logits_BV):
            yield row, _LENGTHS[row], logits_V
        yield from self._decoded(range(len(_LENGTHS)), Reading.SHARED, room=_NEW + WORTH)

    def padded(self) -> Iterator[tuple[int, int, Tensor]]:
        """Padding in front for sampling, behind for training."""
        yield from self._trained(range(len(_LENGTHS)))
        yield from self._decoded(range(len(_LENGTHS)), Reading.PADDED)

    def equal(self) -> Iterator[tuple[int, int, Tensor]]:
        """Rows of one length."""
        yield from self._trained([0])
        yield from self._decoded([0, 1], Reading.EQUAL)

    def reread(self) -> Iterator[tuple[int, int, Tensor]]:
        """Padding behind, and no cache."""
        yield from self._trained(range(len(_LENGTHS)))
        yield from self._decoded(range(len(_LENGTHS)), Reading.REREAD)

    def _trained(self, rows: Sequence[int]) -> Iterator[tuple[int, int, Tensor]]:
        for row, logits_TV in zip(rows, self._level_logits([self._rows[row] for row in rows]), strict=True):
            for column in range(len(self._rows[row])):
                yield row, column, logits_TV[column]

    def _decoded(self, rows: Sequence[int], reading: Reading, *, room: int | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """Prefill, and decode; the first row leaves on the way. With room for that many tokens, steps are replayed."""
        device = self._model.device
        prompts, share = [self._prompts[row] for row in rows], reading is Reading.SHARED
        logits_BV, memory = prefill(self._model, prompts, room or _NEW, share=share, reading=reading, replay=room is not None)
        for t in range(_NEW):
            for row, logits_V in zip(rows, logits_BV, strict=True):
                yield row, _LENGTHS[row] + t - 1, logits_V
            if t == 1:
                rows = rows[1:]
                memory.select(torch.arange(1, len(rows) + 1, device=device))
            said = torch.tensor([[self._rows[row][_LENGTHS[row] + t]] for row in rows], device=device)
            logits_BV = memory.step(said, torch.tensor([[_LENGTHS[row] + t] for row in rows], device=device))
        for row, logits_V in zip(rows, logits_BV, strict=True):
            yield row, _LENGTHS[row] + _NEW - 1, logits_V

    def _level_logits(self, rows: Sequence[Tokens]) -> Tensor:
        read = level(rows, [0] * len(rows), [0] * len(rows), self._model.device, keep=torch.arange(max(map(len, rows))))
        return forward(self._model, read.ids_RT, seen_RL=read.seen_RT, position_RT=read.position_RT, cache=None, keep=read.keep)

    def _gap(self, row: int, column: int, logits_V: Tensor) -> float:
        gap = (self._logprobs(logits_V) - self._whole[row][column]).abs().mean()
        return float(gap) if torch.isfinite(gap) else float("inf")

    @staticmethod
    def _logprobs(logits: Tensor) -> Tensor:
        return torch.log_softmax(logits.float(), -1)
