"""The resolved configuration of a run: frozen, complete, and written into the run directory before anything happens."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from espl_bench.engines.source import ModelSource
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.learning.spec import CorrectionLevel
from espl_bench.method import Method
from espl_bench.prompts.dialect import Placement
from espl_bench.prompts.forms import PromptForm

ToolFormat = Literal["text", "native"]
Executor = Literal["mp", "ray"]


class RunConfig(BaseModel):
    """Every choice of a run. Defaults are the paper's unless the docstring says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", revalidate_instances="always", allow_inf_nan=False)

    method: Method
    env: str
    env_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the environment, e.g. rulebook's `world`."""
    model: str
    """Folder or hub id of a causal language model with a chat template; for an endpoint or a service, the name it is served under."""
    engine: str = "hf"
    base_url: str | None = None
    """Of the policy's endpoint or service; a service's is known without one (engines/tinker/service.py)."""
    api_key_env: str | None = None
    """Name of the variable that holds the key; None: OPENAI_API_KEY, if it is set, or a service's TINKER_API_KEY. The key itself is
    nowhere written."""
    concurrency: int = Field(default=16, ge=1)
    """Requests in flight at endpoints."""
    request_timeout: float = Field(default=600.0, gt=0)
    """Seconds of one try of a request; at a service, seconds that it may be out of reach."""
    request_tries: int = Field(default=8, ge=1)
    """At a service, times the seconds above: how long all requests in flight may stay unanswered."""
    steps: int = Field(default=100, ge=0)
    """Iterations; each rolls out num_prompts x batch_size x group_size episodes."""
    seed: int = Field(default=0, ge=0)
    control: str | None = None
    """What is taken away, so that what still improves did not come from it."""

    num_prompts: int = Field(default=3, ge=1)
    """K: prompts per iteration."""
    batch_size: int = Field(default=10, ge=1)
    """P: problems per iteration."""
    group_size: int = Field(default=5, ge=1)
    """G: rollouts per problem and prompt."""

    temperature: float = Field(default=1.0, ge=0)
    """Of rollouts and evaluations. The paper samples at 0.6 to 0.7."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Below 1 the sampler's distribution is not the one the loss corrects for; the paper uses 0.95."""
    max_tokens: int = Field(default=1024, ge=1)
    """Per turn. The paper allows 15,000."""
    max_episode_tokens: int | None = Field(default=None, ge=1)
    """Of an episode of several turns, prompt and observations included; None: what the model's context holds."""
    cohorts: int = Field(default=1, ge=1)
    """Groups of episodes that go turn by turn by themselves, so that the engine works for one while another waits for its tools."""
    tool_format: ToolFormat = "text"
    """How an environment's tools are worded: as text by the dialect, or in the model's own format by its chat template."""

    lr: float = Field(default=4e-5, ge=0)
    loss: str = "importance_sampling"
    clip_low: float | None = None
    """None: the loss's own default."""
    clip_high: float | None = None
    grad_clip: float = Field(default=1.0, ge=0)
    lora_rank: int = Field(default=32, ge=1)
    lora_alpha: float = Field(default=32.0, gt=0)
    token_budget: int = Field(default=4_096, ge=1)
    """Tokens, padding included, of one training micro-batch."""
    gradient_checkpointing: bool = False
    correction: CorrectionLevel = "token"
    """What is truncated of the ratio between trainer and sampler: nothing, each token's, or the whole rollout's."""
    correction_cap: float = Field(default=2.0, ge=1)
    mask_truncated: bool = False
    """Leave rollouts that the token limit cut out of the loss (they still count in the baseline)."""
    train_device: str | None = None
    """None: the first accelerator, or the CPU."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """vllm's share of its device's memory. None: engines/vllm/setup.py says which."""
    sleep: bool = False
    """vllm frees its memory while weights are trained; reflections then come before the weights move."""
    deterministic: bool = False
    """vllm computes alike whatever it is batched with, where it can."""
    # What follows is only written down where it differs from its default: a run on one device has the id that it had before.
    tensor_parallel_size: int = Field(default=1, ge=1, exclude_if=lambda size: size == 1)
    """Devices over which vllm spreads every layer."""
    pipeline_parallel_size: int = Field(default=1, ge=1, exclude_if=lambda size: size == 1)
    """Groups of devices, each with a stretch of vllm's layers."""
    data_parallel_size: int = Field(default=1, ge=1, exclude_if=lambda size: size == 1)
    """Replicas of all that."""
    distributed_executor_backend: Executor = Field(default="mp", exclude_if=lambda name: name == "mp")
    """What starts vllm's workers: processes of this machine, or Ray on a cluster."""
    stuck_after: float = Field(default=600.0, ge=0)
    """Seconds after which a rollout that does not move is named; 0: never."""

    dialect: str = "compact"
    placement: Placement = Placement.SYSTEM
    root_principles: tuple[str, ...] = ()
    """The root prompt's principles."""
    editor_model: str | None = None
    """Who writes the reflections; None: the run's own model."""
    editor_engine: str | None = None
    """None: the policy's engine."""
    editor_base_url: str | None = None
    """None: the policy's."""
    editor_api_key_env: str | None = None
    """None: the policy's."""
    editor_temperature: float = Field(default=1.0, ge=0)
    editor_max_tokens: int = Field(default=1024, ge=1)
    max_edits: int = Field(default=2, ge=1)
    """K_ops: edits that one problem's critique may propose."""
    max_principle_words: int = Field(default=32, ge=1)
    prompt_form: PromptForm = PromptForm.PRINCIPLES
    """What evolves: a list of principles, or a text of numbered blocks."""
    max_prompt_words: int | None = Field(default=None, ge=1)
    """Of a whole prompt; None: no limit."""
    sigma_growth: float = Field(default=1.0, ge=0)
    """Δσ of a child's rating."""
    tie: float = Field(default=0.01, ge=0)
    """Mean rewards this close are a draw."""

    eval_every: int = Field(default=10, ge=0)
    """Iterations between validations; 0: only at the end."""
    test_every: int = Field(default=0, ge=0)
    """Iterations between tests, which are reported and steer nothing; 0: only at the end."""
    eval_samples: int = Field(default=4, ge=1)
    """k: samples per item."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Iterations between commits that a resume can start from."""

    @property
    def limits(self) -> EditLimits:
        """What bounds the operators."""
        return EditLimits(
            max_edits=self.max_edits,
            max_words=self.max_principle_words,
            attempts=self.group_size,
            sigma_growth=self.sigma_growth,
            form=self.prompt_form,
            max_prompt_words=self.max_prompt_words,
            crossover_prob=self.method.crossover_prob,
        )

    @property
    def iterations(self) -> int:
        """Steps that will really be made: none if nothing learns."""
        return 0 if self.method.is_static else self.steps

    @property
    def policy_source(self) -> ModelSource:
        """The model that is rolled out."""
        return ModelSource(self.engine, self.model, self.base_url, self.api_key_env)

    @property
    def editor_source(self) -> ModelSource | None:
        """The editor's model, if it is another than the policy's."""
        if self.editor_model is None:
            return None
        engine = self.editor_engine or self.engine
        policy = self.policy_source if engine == self.engine else ModelSource(engine, self.editor_model)
        base_url, key = self.editor_base_url or policy.base_url, self.editor_api_key_env or policy.api_key_env
        return ModelSource(engine, self.editor_model, base_url, key)


def model_name(model: str) -> str:
    """What people call a model: a folder's own name, else the name as it is."""
    return Path(model).name if Path(model).is_dir() else model
