"""Decode at fixed addresses, so that a step can be captured once and replayed (`hf.decoding.captured_step`).

What `hf.decoding.kv_cache.KVCache` is, with three differences:

1. *Nothing grows.* A row's keys and values are written into buffers with room for all tokens to come, at a column that a tensor names;
   columns that were not written yet are masked. A step reads the first columns only: 256, then twice as many whenever they are full.
2. *Prompts are always apart*, shared or not: queries of all rows of a prompt are multiplied with its keys in one product, as in
   `hf.reading.attention`.
3. *Rows leave late.* To see who is alive the CPU must wait for the GPU, and another number of rows needs another capture.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from espl_bench.engines.hf.decoding.captured_step import WORTH, CapturedStep
from espl_bench.engines.hf.reading.forward import forward

FIRST_BUCKET = 256
"""Columns that the first steps read, of those with room."""


class StaticCache:
    """The caches of B rows that continue U prompts. Rows of one prompt must be adjacent."""

    look_every = 8
    """Steps from one look at the rows that are alive to the next."""

    def __init__(self, model: Any, prompts: DynamicCache, seen_UP: Tensor, prompt_B: Tensor, room: int) -> None:
        """Take over a prefill.

        Args:
            model: a causal LM adopted by `hf.reading.attention`.
            prompts: keys and values of the prompts.
            seen_UP: 1 where a prompt's token is, 0 on padding.
            prompt_B: which prompt a row continues; never decreases.
            room: tokens to come, per row.
        """
        rows, device = len(prompt_B), prompt_B.device
        prompt_layers: list[Any] = prompts.layers
        self._model = model
        self._room = room
        self._held = 0
        self._width = seen_UP.shape[1]
        self._column_1 = torch.zeros(1, dtype=torch.long, device=device)
        self._layers = [_Layer(layer.keys, layer.values, rows, room, self._column_1) for layer in prompt_layers]
        self._cache = Cache(layers=list(self._layers))
        mask_UP = torch.zeros(seen_UP.shape, dtype=self._layers[0].own_keys.dtype, device=device).masked_fill(seen_UP == 0, -torch.inf)
        self._mask_BL = torch.cat([mask_UP[prompt_B], mask_UP.new_full((rows, room), -torch.inf)], 1)
        self._place_rows(prompt_B)
        self._show(min(room, FIRST_BUCKET))
        self._captured = CapturedStep(device)

    def step(self, token_B1: Tensor, position_B1: Tensor) -> Tensor:
        """Read one token per row; return the logits after it, (B, V). They hold until the next step."""
        if self._held == self._shown:
            self._show(min(self._room, 2 * self._shown))
            self._captured.tensors_replaced()
        self._token_B1.copy_(token_B1)
        self._position_B1.copy_(position_B1)
        self._column_1.fill_(self._held)
        self._held += 1
        return self._captured.run(self._read, to_come=self._shown - self._held + 1)

    def sheds(self, alive: int, rows: int) -> bool:
        """Return True if it is worth it to keep only the rows that are alive."""
        return 2 * alive <= rows and self._room - self._held >= WORTH

    def select(self, index: Tensor) -> None:
        """Keep only these rows, and only the prompts they continue. ``index`` increases."""
        kept_U, prompt_B = torch.unique(self._prompt_B[index], return_inverse=True)
        for layer in self._layers:
            layer.select(index, kept_U)
        self._mask_BL = self._mask_BL[index]
        self._place_rows(prompt_B)
        self._captured.tensors_replaced()

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Compute what `hf.reading.attention.SharedPrompts.attend` does, where columns of ``keys`` may be masked."""
        held, width = self._layers[layer], self._width
        B, H = query.shape[0], keys.shape[1]
        query_BHRD = query.view(B, H, -1, query.shape[-1]) * scaling  # R query heads per key head
        scores_BHRP = self._grouping.per_row(self._grouping.per_prompt(query_BHRD) @ held.prompt_keys.mT)
        scores_BHRL = torch.cat([scores_BHRP, query_BHRD @ keys.mT], -1)
        scores_BHRL += self._mask_BL[:, None, None, : width + self._shown]
        weights_BHRL = torch.softmax(scores_BHRL, -1)  # computed in float32, whatever the dtype
        out_BHRD = self._grouping.per_row(self._grouping.per_prompt(weights_BHRL[..., :width]) @ held.prompt_values)
        out_BHRD += weights_BHRL[..., width:] @ values
        return out_BHRD.reshape(B, 1, -1, out_BHRD.shape[-1])

    def _read(self) -> Tensor:
        """Read the tokens at their addresses; return the logits after them. Doing it twice does no harm."""
        self._mask_BL.index_fill_(1, self._column_1 + self._width, 0.0)
        mask_B11L = self._mask_BL[:, None, None]  # `attend` masks by itself; without one, some models look for padding among the tokens
        logits_B1V = forward(
            self._model, self._token_B1, seen_RL=mask_B11L, position_RT=self._position_B1, cache=self._cache, keep=1, shared_prompts=self
        )
        return logits_B1V[:, -1]

    def _show(self, columns: int) -> None:
        """Let steps read that many columns of the buffers."""
        self._shown = columns
        for layer in self._layers:
            layer.shown = columns

    def _place_rows(self, prompt_B: Tensor) -> None:
        """Make what depends on which rows there are."""
        self._prompt_B = prompt_B
        self._token_B1, self._position_B1 = (torch.zeros_like(prompt_B)[:, None] for _ in range(2))
        self._grouping = _Grouping(prompt_B, {layer.own_keys.shape[1] for layer in self._layers})


class _Layer(CacheLayerMixin):
    """Keys and values of one layer: those of the prompts, and buffers for what the rows sample."""

    is_sliding = False

    def __init__(self, prompt_keys: Tensor, prompt_values: Tensor, rows: int, room: int, column_1: Tensor) -> None:
        super().__init__()
        self.prompt_keys, self.prompt_values = prompt_keys, prompt_values  # (U, heads, P, head size)
        self.own_keys, self.own_values = (of.new_zeros(rows, of.shape[1], room, of.shape[3]) for of in (prompt_keys, prompt_values))
        self.is_initialized = True
        self.shown = room
        self._column_1 = column_1

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **others: Any) -> tuple[Tensor, Tensor]:
        """Write the rows' new keys and values; return those that a step reads."""
        self.own_keys.index_copy_(2, self._column_1, key_states)
        self.own_values.index_copy_(2, self._column_1, value_states)
        return self.own_keys[:, :, : self.shown], self.own_values[:, :, : self.shown]

    def select(self, index: Tensor, kept_U: Tensor) -> None:
        """Keep only these rows and prompts."""
        self.own_keys, self.own_values = self.own_keys[index], self.own_values[index]
        if len(kept_U) < len(self.prompt_keys):
            self.prompt_keys, self.prompt_values = self.prompt_keys[kept_U], self.prompt_values[kept_U]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the buffers are there."""

    def get_mask_sizes(self, query_length: Any) -> tuple[int, int]:
        """Return the columns that a step reads, and the first of them."""
        return self.shown, 0

    def get_seq_length(self) -> int:
        """Return the columns that a step reads: not those written so far, which a captured step would not count."""
        return self.shown

    def get_max_length(self) -> int:
        """Return the room."""
        return self.own_keys.shape[2]

    get_max_cache_shape = get_max_length  # its name in older versions of transformers


class _Grouping:
    """Rearranges rows by the prompts they continue; groups may have several sizes."""

    def __init__(self, prompt_B: Tensor, heads: Iterable[int]) -> None:
        device = prompt_B.device
        prompts = torch.arange(int(prompt_B[-1]) + 1, device=device)
        first_U = torch.searchsorted(prompt_B, prompts)
        rank_B = torch.arange(len(prompt_B), device=device) - first_U[prompt_B]
        self._group = int(rank_B.max()) + 1
        row_UG = first_U[:, None] + torch.arange(self._group, device=device)
        self._row_U1G = row_UG.clamp(max=len(prompt_B) - 1)[:, None]  # a shorter group is filled up with other rows
        self._prompt_B1, self._rank_B1 = prompt_B[:, None], rank_B[:, None]
        self._heads = {count: torch.arange(count, device=device) for count in heads}

    def per_prompt(self, rows_BHRX: Tensor) -> Tensor:
        """Rearrange (B, H, R, X) to (U, H, G * R, X)."""
        head_H1 = self._heads[rows_BHRX.shape[1]][:, None]
        return rows_BHRX[self._row_U1G, head_H1].flatten(2, 3)

    def per_row(self, prompts_UHGX: Tensor) -> Tensor:
        """Invert `per_prompt` for any X; results of rows that filled a group up are dropped."""
        head_H = self._heads[prompts_UHGX.shape[1]]
        return prompts_UHGX.unflatten(2, (self._group, -1))[self._prompt_B1, head_H, self._rank_B1]
