"""Engine `tinker`: a training service that speaks the Tinker API, hosted or on a cluster of one's own. All computation is remote.

The service owns the weights. The engine uses, in the service's words: a LoRA training client, made at the first train step (until
then the adapter changes nothing, and the base model is sampled); after every step a sampling client of the new weights; a sampling
client of the base model as the reference. A checkpoint is a path at the service, with the optimiser's state; the run directory holds
only the path.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import tinker
from pydantic import ValidationError

from espl_bench.engines.chat import HfChat
from espl_bench.engines.engine import AdamParams, Chat
from espl_bench.engines.hf.training.trainer import NOTHING_TRAINED
from espl_bench.engines.tinker import conversion
from espl_bench.engines.tinker.service import Service, find_access
from espl_bench.engines.tinker.tokenizer import load_chat
from espl_bench.errors import CheckpointError, EngineError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, SampleRequest, StopReason
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import parse_record
from espl_bench.utils.validation import FrozenRecord

STATE = "tinker.json"
"""The only file of a checkpoint."""
ADAPTER_SEED_BITS = 31


class _State(FrozenRecord):
    """The contents of a checkpoint."""

    format: str = "espl-bench/tinker/1"
    model: str
    lora_rank: int
    path: str | None
    """Path at the service of weights and optimiser; None if nothing was trained yet."""


class TinkerSamplingClient:
    """Samples from one version of the weights."""

    def __init__(self, service: Service, client: Any, chat: HfChat, context: int | None) -> None:
        """Wrap the SDK's `client`; `context` bounds prompt and completion together, if it is known."""
        self._service = service
        self._client = client
        self._chat = chat
        self._context = context
        self._stops = sorted(chat.eos_ids)

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order, all sent at once. A prompt that fills the context gets no tokens and LENGTH.

        Seeds are sent. SkyRL's server then draws the same tokens whatever else it computes, up to rounding within its batches.

        Raises:
            EngineError: a request failed.
        """
        limits = [self._limit(request) for request in requests]
        asked = [self._ask(request, limit) for request, limit in zip(requests, limits, strict=True) if limit > 0]
        answers = iter(await self._service.results(asked, "sampling"))
        return [self._read(next(answers)) if limit > 0 else Completion((), (), "", StopReason.LENGTH) for limit in limits]

    def _limit(self, request: SampleRequest) -> int:
        return request.max_tokens if self._context is None else min(request.max_tokens, self._context - len(request.prompt_T))

    def _ask(self, request: SampleRequest, limit: int) -> Any:
        prompt = tinker.ModelInput.from_ints(list(request.prompt_T))
        return self._client.sample(prompt, 1, conversion.sampling_params(request, self._stops, limit))

    def _read(self, answer: tinker.SampleResponse) -> Completion:
        [sequence] = answer.sequences
        return conversion.completion(sequence, self._chat.decode(sequence.tokens))


class TinkerEngine:
    """One base model and one LoRA adapter at a service. Made by `at`."""

    isolates_snapshots = True
    batches_continuously = True

    def __init__(self, service: Service, model: str, chat: HfChat, *, context: int | None, lora_rank: int, seed: int) -> None:
        self.chat: Chat = chat
        self._hf_chat = chat
        self._service = service
        self._model = model
        self._context = context
        self._lora_rank = lora_rank
        self._seed = seed % 2**ADAPTER_SEED_BITS
        self._trainer: Any = None
        self._policy: TinkerSamplingClient | None = None
        self._reference: TinkerSamplingClient | None = None

    @classmethod
    def at(
        cls, base_url: str | None, model: str, key_env: str | None, *, lora_rank: int, seed: int, timeout_s: float, tries: int
    ) -> "TinkerEngine":
        """Return the engine after checking that the service is up and serves the model. No training client is made yet.

        Args:
            base_url: address of the service; None: the variable TINKER_BASE_URL, else the hosted service.
            model: as the service names it; its tokenizer is loaded under the same name (a hub id, or a folder).
            key_env: the variable that holds the key; None: TINKER_API_KEY.
            lora_rank: rank of the update of every linear layer but the output layer. Its scale is the service's.
            seed: determines the adapter's initial weights.
            timeout_s: seconds that the service may be out of reach.
            tries: at least one of the requests in flight must be answered within `tries` times `timeout_s`.

        Raises:
            UsageError: there is no key, or the service does not serve the model.
            EndpointError: the service does not answer, or refuses the key.
            ModelError: the tokenizer cannot be loaded, or has no chat template.
        """
        service = Service(find_access(base_url, key_env, timeout_s, tries))
        service.require_healthy()
        context = service.context_of(model)
        return cls(service, model, load_chat(model), context=context, lora_rank=lora_rank, seed=seed)

    async def current(self) -> TinkerSamplingClient:
        """Return a client of the current weights, which are saved for it once after every step. Older clients keep theirs."""
        if self._trainer is None:
            return await self.reference()
        if self._policy is None:
            saved = await self._service.made(self._trainer.save_weights_and_get_sampling_client, "saving weights to sample with")
            self._policy = self._sampler(saved)
        return self._policy

    async def reference(self) -> TinkerSamplingClient:
        """Return a client of the base model."""
        if self._reference is None:
            make: Any = partial(self._service.client.create_sampling_client, base_model=self._model)
            self._reference = self._sampler(await self._service.made(make, "making a sampling client of the base model"))
        return self._reference

    def _sampler(self, client: Any) -> TinkerSamplingClient:
        return TinkerSamplingClient(self._service, client, self._hf_chat, self._context)

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step; without data, no step. Gradients and step are requested together, to save a round trip.

        A failure leaves the weights in an unknown state: the engine fails, and the run resumes from its last checkpoint.

        Raises:
            EngineError: the service failed, or trained on numbers that are not finite.
        """
        trainable = [datum for datum in data if any(datum.mask_T[1:])]
        if not trainable:
            return dict(NOTHING_TRAINED)
        trainer = await self._training_client()
        self._policy = None
        gradients = trainer.forward_backward([conversion.wire_datum(datum) for datum in trainable], loss.name, conversion.loss_config(loss))
        step = trainer.optim_step(conversion.adam_params(adam))
        trained, stepped = await self._service.results([gradients, step], "training")
        return conversion.metrics(trainable, trained.loss_fn_outputs, stepped.metrics, loss)

    async def _training_client(self) -> Any:
        if self._trainer is None:
            layers = {"train_mlp": True, "train_attn": True, "train_unembed": False}
            make: Any = partial(
                self._service.client.create_lora_training_client, self._model, rank=self._lora_rank, seed=self._seed, **layers
            )
            self._trainer = await self._service.made(make, f"making a LoRA training client of rank {self._lora_rank}")
        return self._trainer

    async def save(self, folder: Path) -> None:
        """Save weights and optimiser at the service, and write their path into the folder. Raises EngineError if it fails."""
        path = None
        if self._trainer is not None:
            name = f"espl-bench-{uuid4().hex[:12]}"  # unique per model, or the service refuses it
            path = (await self._service.result(self._trainer.save_state(name), "saving a checkpoint")).path
        state = _State(model=self._model, lora_rank=self._lora_rank, path=path)
        atomic_io.write_atomic(folder / STATE, [(state.model_dump_json(indent=2) + "\n").encode("utf-8")])

    async def load(self, folder: Path) -> None:
        """Make a new training client from what ``save`` wrote; sampling weights are saved again at the next ``current``.

        Raises:
            CheckpointError: the file is missing, damaged, or of another model or rank, or the service no longer has the state it names.
        """
        state = _read(folder / STATE)
        if (state.model, state.lora_rank) != (self._model, self._lora_rank):
            raise CheckpointError(
                f"{folder / STATE} is of {state.model} with LoRA rank {state.lora_rank}; load it with the run's own settings"
            )
        self._trainer = self._policy = None
        if state.path is None:
            return
        make: Any = partial(self._service.client.create_training_client_from_state_with_optimizer, state.path)
        try:
            self._trainer = await self._service.made(make, f"restoring {state.path}")
        except EngineError as fault:
            raise CheckpointError(f"{fault}; if the service no longer has it, resume from an older checkpoint") from fault

    async def close(self) -> None:
        """End the session. The engine and its clients are unusable afterwards."""
        await self._service.close()


def _read(path: Path) -> _State:
    try:
        return parse_record(_State, foreign_files.read_record(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; resume from an older checkpoint") from error
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged; resume from an older checkpoint") from error
