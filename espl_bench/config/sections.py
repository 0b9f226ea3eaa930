"""The sections of a configuration: frozen groups of choices, each a table of config.json.

A field is the only source of its option: the docstring below it is the text of ``espl-bench run --help``, its annotation gives the
choices, its default and its bounds are those that hold (`python -m espl_bench.cli.generate_options` writes the table of flags). Names are
those of the flags, but for the editor's, whose flags and flat names begin with ``editor_``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from espl_bench.config.flag import Affects, Flag
from espl_bench.errors import OptionError
from espl_bench.evolution.operators.proposal import (
    Aggregation,
    ReflectOn,
    SummaryShows,
    UnchangedChild,
    UnreadableAggregation,
    WordLimit,
)
from espl_bench.learning.loss_spec import DEFAULT_CORRECTION, DEFAULT_LOSS, CorrectionLevel
from espl_bench.prompts.dialect import Placement
from espl_bench.prompts.forms import PromptForm
from espl_bench.registry import ACCEPTANCES, BASELINES, ENGINES, LOSSES, NORMALISATIONS, SCHEDULES, SELECTORS
from espl_bench.utils.redaction import holds_secret

ToolFormat = Literal["text", "native"]
Thinking = Literal["on", "off"]
Executor = Literal["mp", "ray"]
Quantization = Literal["nf4"]

RUNS = "What runs"
ROLLOUTS = "Rollouts"
WEIGHTS = "Learning weights"
WORDS = "Learning words"
DEVICES = "Devices"
ENDPOINTS = "Endpoints"
EVALUATION = "Evaluation and checkpoints"
PANELS = (RUNS, ROLLOUTS, WEIGHTS, WORDS, DEVICES, ENDPOINTS, EVALUATION)
"""Panels of the help, in order."""

BY_METHOD = "the method's own"
BY_LOSS = "the loss's own"
BY_POLICY = "the policy's"
NO_LIMIT = "no limit"
BY_TEMPLATE = "the chat template's own"


def _is_none(value: object) -> bool:
    return value is None


class Section(BaseModel):
    """A frozen group of choices."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", revalidate_instances="always", allow_inf_nan=False, use_attribute_docstrings=True
    )

    panel: ClassVar[str] = RUNS
    """Panel of the help, unless a field names another."""
    prefix: ClassVar[str] = ""
    """Prefix of the fields' flat names."""
    affects: ClassVar[Affects] = Affects.RESULT
    """What the fields can change, unless a field says otherwise."""


class BatchSection(Section):
    """Size of an iteration: num_prompts x batch_size x group_size episodes."""

    panel = ROLLOUTS
    affects = Affects.LEARNING

    num_prompts: int = Field(default=3, ge=1)
    """Prompts per iteration (K). With one there is no ranking to rate it by, and it is the selector's first choice."""
    batch_size: int = Field(default=10, ge=1)
    """Problems per iteration (P)."""
    group_size: int = Field(default=5, ge=1)
    """Rollouts per problem and prompt (G)."""


class SamplingSection(Section):
    """How rollouts and evaluations are sampled."""

    panel = ROLLOUTS

    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature of rollouts and evaluations. The paper uses 0.6 to 0.7."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling. Values below 1 bias the importance ratio; the paper uses 0.95."""
    max_tokens: int = Field(default=1024, ge=1)
    """Maximum tokens per turn. The paper allows 15,000."""
    max_episode_tokens: Annotated[int | None, Flag(default="what the model's context holds")] = Field(default=None, ge=1)
    """Maximum tokens of an episode of several turns, prompt and observations included."""
    sampling_groups: Annotated[int, Flag(formerly="cohorts", affects=Affects.NOTHING)] = Field(default=1, ge=1)
    """Groups of episodes that take turns at the engine: one is sampled while the others wait for their tools."""
    tool_format: ToolFormat = "text"
    """How tools are described to the model: as text by the dialect, or natively by its chat template."""
    thinking: Annotated[Thinking | None, Flag(default=BY_TEMPLATE)] = Field(default=None, exclude_if=_is_none)
    """Thinking before a turn, for models whose chat template has a switch for it. Thoughts count in max_tokens."""


class OptimisationSection(Section):
    """How weights learn."""

    panel = WEIGHTS
    affects = Affects.WEIGHTS

    lr: float = Field(default=4e-5, ge=0)
    """Adam's learning rate."""
    loss: Annotated[str, Flag(lists_choices=True, seam=LOSSES)] = DEFAULT_LOSS
    """Policy-gradient loss: importance_sampling, ppo, cispo, or one that a package adds."""
    clip_low: Annotated[float | None, Flag(default=BY_LOSS)] = None
    """Lower bound of the probability ratio (ppo and cispo)."""
    clip_high: Annotated[float | None, Flag(default=BY_LOSS)] = None
    """Upper bound of the probability ratio (ppo and cispo)."""
    grad_clip: float = Field(default=1.0, ge=0)
    """Maximum norm of the gradient; 0: no clipping."""
    lora_rank: int = Field(default=32, ge=1)
    """Rank of the LoRA adapter."""
    lora_alpha: Annotated[float, Flag(decided_by_service=True)] = Field(default=32.0, gt=0)
    """Scale of the LoRA adapter."""
    token_budget: Annotated[
        int | None,
        Flag(
            default="auto: 4096 on a CPU, on a GPU as many as its free memory holds",
            word="auto",
            decided_by_service=True,
            affects=Affects.NOTHING,
        ),
    ] = Field(default=None, ge=1)
    """Tokens of one training micro-batch, padding included."""
    gradient_checkpointing: Annotated[bool, Flag(decided_by_service=True, affects=Affects.NOTHING)] = False
    """Train with less memory, in more time: activations are recomputed."""
    compile_layers: Annotated[bool, Flag(decided_by_service=True, affects=Affects.NOTHING)] = False
    """Compile the layers that are trained: faster steps, after a start that takes a minute or more."""
    correction: Annotated[CorrectionLevel, Flag(default="token for importance_sampling, else none", decided_by_service=True)] = (
        DEFAULT_CORRECTION
    )
    """What of the importance ratio between trainer and sampler is truncated: each token's, the whole sequence's, or nothing. Losses that
    bound the ratio themselves take none."""
    correction_cap: Annotated[float, Flag(decided_by_service=True)] = Field(default=2.0, ge=1)
    """Value at which that ratio is truncated."""
    mask_truncated: bool = False
    """Leave rollouts that hit the token limit out of the loss; they still count in the baseline."""
    train_device: Annotated[
        str | None,
        Flag(default="the fastest for the model's size", panel=DEVICES, decided_by_service=True, affects=Affects.NOTHING),
    ] = None
    """Device on which weights are trained, e.g. cuda:1; with engine vllm also several, e.g. cuda:2,cuda:3, which share the layers."""
    train_quantization: Annotated[
        Quantization | None, Flag(default="none", panel=DEVICES, decided_by_service=True, affects=Affects.RESULT)
    ] = Field(default=None, exclude_if=_is_none)
    """Hold the base on which weights are trained in 4 bits, by bitsandbytes. Engine hf samples from it too, vllm from the full weights."""

    @model_validator(mode="before")
    @classmethod
    def _corrected_as_its_loss_is(cls, value: Any) -> Any:
        """Fill in the correction of another loss than the default one, which is not loaded for it: it would load torch."""
        if not isinstance(value, Mapping):
            return value
        values = dict(cast(Mapping[str, Any], value))
        loss = values.get("loss", DEFAULT_LOSS)
        if "correction" not in values and loss != DEFAULT_LOSS and isinstance(loss, str):
            from espl_bench.learning.losses import correction_of

            values["correction"] = correction_of(loss)
        return values

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.clip_low is not None and self.clip_high is not None and self.clip_low > self.clip_high:
            raise OptionError("clip_low {low} is above clip_high {high}; swap them", {"low": self.clip_low, "high": self.clip_high})
        return self


class EditorSection(Section):
    """The model that writes the reflections, and how it is sampled."""

    panel = WORDS
    prefix = "editor_"
    affects = Affects.WORDS

    model: Annotated[str | None, Flag(default="the run's own model")] = None
    """Another model that writes the reflections."""
    engine: Annotated[str | None, Flag(default=BY_POLICY, lists_choices=True, seam=ENGINES)] = None
    """Engine of the editor's model: hf, vllm, openai or tinker."""
    base_url: Annotated[str | None, Flag(default=BY_POLICY, affects=Affects.NOTHING)] = None
    """Address of the editor's endpoint."""
    api_key_env: Annotated[str | None, Flag(default=BY_POLICY, affects=Affects.NOTHING)] = None
    """Environment variable with the API key of the editor's endpoint."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature of reflections."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling of reflections. The paper's reference code uses 0.95."""
    max_tokens: int = Field(default=1024, ge=1)
    """Maximum tokens of one reflection."""
    thinking: Annotated[Thinking | None, Flag(default="as the policy, if it is the same model")] = Field(default=None, exclude_if=_is_none)
    """Thinking before a reflection, for models whose chat template has a switch for it. Thoughts count in editor_max_tokens."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return check_address(value, "editor_base_url")

    @model_validator(mode="after")
    def _names_its_model(self) -> Self:
        for name in ("engine", "base_url", "api_key_env"):
            if self.model is None and getattr(self, name) is not None:
                raise OptionError(f"{{editor_{name}}} is about another editor; name it with {{editor_model}}")
        return self


class EvolutionSection(Section):
    """How prompts are bred and rated."""

    panel = WORDS
    affects = Affects.WORDS

    root_principles: Annotated[tuple[str, ...], Flag(typed=False, affects=Affects.RESULT)] = ()
    """Principles of the root prompt."""
    max_edits: int = Field(default=2, ge=1)
    """Edits that the critique of one problem may propose."""
    max_principle_words: int = Field(default=32, ge=1)
    """Maximum words of one principle, which editors are told."""
    word_limit: WordLimit = "aggregation"
    """Where that maximum is enforced: on what an aggregation leaves, so that critiques may propose longer texts for it to shorten; on every
    edit; or nowhere, as in the paper's reference code."""
    prompt_form: Annotated[PromptForm, Flag(affects=Affects.RESULT)] = PromptForm.PRINCIPLES
    """What evolves: a list of principles, or a text of numbered blocks."""
    max_prompt_words: Annotated[int | None, Flag(default=NO_LIMIT)] = Field(default=None, ge=1)
    """Maximum words of a whole prompt."""
    sigma_growth: float = Field(default=1.0, ge=0)
    """Uncertainty added to the rating that a child inherits (Δσ)."""
    tie: float = Field(default=0.01, ge=0)
    """Largest difference between mean rewards that counts as a draw."""
    reflect_on: ReflectOn = "prompt"
    """Rollouts that a mutation reflects on: all of the best prompt, or those of the best of its places (slot)."""
    summary_shows: SummaryShows = "attempt"
    """What summaries of attempts are written from: the attempt alone, also the principles, or also grade and correct answer (verdict)."""
    aggregation: Aggregation = "proposed"
    """When proposed edits are aggregated: if there are any (proposed), or in every iteration (always)."""
    unreadable_aggregation: UnreadableAggregation = "reject"
    """What an aggregation that cannot be read comes to: no child, or the parent with the proposed additions."""
    unchanged_child: UnchangedChild = "reject"
    """What becomes of a child that says what its parent says: reject, or admit."""


class PromptsSection(Section):
    """Wording of prompts, and where they are placed."""

    panel = WORDS

    dialect: Annotated[str, Flag(default="the environment's")] = "compact"
    """Templates of all prompts: compact, full, search, or a folder."""
    placement: Placement = Placement.SYSTEM
    """Message that holds the system prompt."""


class EvaluationSection(Section):
    """When the shown prompt is evaluated, and with how many samples."""

    panel = EVALUATION
    affects = Affects.NOTHING

    eval_every: int = Field(default=10, ge=0)
    """Iterations between validations; 0: only at the end."""
    test_every: int = Field(default=0, ge=0)
    """Iterations between tests, which are reported and influence nothing; 0: only at the end."""
    eval_samples: int = Field(default=4, ge=1)
    """Samples per item (k)."""


class VllmSection(Section):
    """Settings of engine vllm. Other engines do not read them."""

    panel = DEVICES
    affects = Affects.NOTHING

    gpu_memory_utilization: Annotated[float | None, Flag(default="0.9, or 0.45 on a card shared with the trainer")] = Field(
        default=None, gt=0, le=1
    )
    """Share of its device's memory that vLLM takes."""
    sleep: bool = False
    """Let vLLM free its memory while weights are trained, on one card. Reflections are then written before the weights change."""
    deterministic: bool = False
    """Make vLLM's results independent of how requests are batched, where it can."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Devices over which vLLM splits every layer."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Pipeline stages: groups of devices that each hold consecutive layers of vLLM's model."""
    data_parallel_size: int = Field(default=1, ge=1)
    """Replicas of vLLM's model."""
    distributed_executor_backend: Executor = "mp"
    """What starts vLLM's workers: processes on this machine, or Ray on a cluster."""


class EndpointSection(Section):
    """Settings of endpoints and services. Engines on this machine do not read them."""

    panel = ENDPOINTS
    affects = Affects.NOTHING

    base_url: Annotated[str | None, Flag(default="none; a service's own")] = None
    """Address of an OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1, or of a Tinker service."""
    api_key_env: Annotated[str | None, Flag(default="OPENAI_API_KEY, or TINKER_API_KEY for a service")] = None
    """Environment variable with the API key. The key itself is written nowhere."""
    concurrency: int = Field(default=16, ge=1)
    """Requests in flight at endpoints."""
    request_timeout: float = Field(default=600.0, gt=0)
    """Seconds of one try of a request. A service may be unreachable for as long."""
    request_tries: int = Field(default=8, ge=1)
    """Tries of a request before the run ends, to be resumed. A service has this many timeouts to answer any request in flight."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return check_address(value, "base_url")


class MethodChoices(Section):
    """Choices of the method's row that an option may override. `Method` declares the valid values."""

    panel = WORDS
    affects = Affects.WORDS

    baseline: Annotated[str | None, Flag(default=BY_METHOD, panel=WEIGHTS, lists_choices=True, seam=BASELINES, affects=Affects.WEIGHTS)] = (
        None
    )
    """What a reward is compared with: the mean of its group (per_prompt) or of its problem under all prompts (across_prompts)."""
    normalisation: Annotated[
        str | None, Flag(default=BY_METHOD, panel=WEIGHTS, lists_choices=True, seam=NORMALISATIONS, affects=Affects.WEIGHTS)
    ] = None
    """How advantages are scaled: none, or standard_deviation of what a reward is compared with."""
    reduction: Annotated[str | None, Flag(default=BY_METHOD, panel=WEIGHTS, lists_choices=True, affects=Affects.WEIGHTS)] = None
    """Whether the loss adds up tokens (sum) or averages them over the iteration (token_mean)."""
    schedule: Annotated[str | None, Flag(default=BY_METHOD, lists_choices=True, seam=SCHEDULES, affects=Affects.LEARNING)] = None
    """When weights and words learn: together, words_every_period, alternating, words_then_weights or weights_then_words."""
    schedule_period: Annotated[int | None, Flag(default=BY_METHOD, affects=Affects.LEARNING)] = None
    """Iterations of a period of the schedule."""
    acceptance: Annotated[str | None, Flag(default=BY_METHOD, lists_choices=True, seam=ACCEPTANCES)] = None
    """Whether a child joins at once (always) or must earn more than its parent on the same problems first (beats_parent)."""
    selector: Annotated[str | None, Flag(default=BY_METHOD, lists_choices=True, seam=SELECTORS)] = None
    """How the prompts of an iteration are selected: top_plus_random, softmax, ucb, lucb or uniform."""
    population_size: Annotated[int | None, Flag(default=BY_METHOD)] = None
    """Number of newest prompts that may be selected."""
    crossover_prob: Annotated[float | None, Flag(default=BY_METHOD)] = None
    """Probability of a crossover per iteration."""
    editor: Annotated[str | None, Flag(default=BY_METHOD, lists_choices=True)] = None
    """Weights that write the reflections: reference (the frozen base model) or current (the policy)."""
    shown: Annotated[str | None, Flag(default=BY_METHOD, panel=EVALUATION, lists_choices=True)] = None
    """Prompt that is evaluated: best (the highest-rated) or newest."""


METHOD_CHOICES = tuple(MethodChoices.model_fields)
"""Fields of Method that an option may override."""


def check_address(value: str | None, field: str) -> str | None:
    """Return an address unchanged. Raises OptionError for one that is not http or https, or that contains a login or a key."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise OptionError(f"{{{field}}} is not an address; give e.g. http://127.0.0.1:8000/v1") from None
    if parts.username or parts.password or parts.query or parts.fragment or holds_secret(value):
        raise OptionError(f"{{{field}}} holds more than an address, and is written to disk; put the key into the environment")
    if not sound:
        raise OptionError(f"{{{field}}} is not an http or https address; give e.g. http://127.0.0.1:8000/v1")
    return value
