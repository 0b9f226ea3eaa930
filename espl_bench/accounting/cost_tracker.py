"""Costs of endpoints and services: prices, a budget, and the cost tracker that is checked before every request.

Prices are in files that a user can edit; the code holds none. Cost is a function of token counts, so it can be computed again
from any ledger. Hidden reasoning is priced as output; discounts (cached prompts, batches) are ignored.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espl_bench.accounting.usage import LedgerTotals, Spent
from espl_bench.config.run_config import RunConfig
from espl_bench.engines.model_source import ModelSource
from espl_bench.errors import EsplError, UsageError, reading
from espl_bench.types import Usage
from espl_bench.utils.named_files import read_named_text
from espl_bench.utils.validation import first_fault

PACKAGED = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000


class ModelRole(StrEnum):
    """Role in a run of a model that costs money."""

    POLICY = "policy"
    EDITOR = "editor"


class Price(BaseModel):
    """USD per million tokens, with source and date."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    train: Annotated[float, Field(ge=0)] | None = None
    """Price of tokens trained on, at a service that trains."""
    source: str
    date: str

    def of(self, usage: Usage) -> float:
        """Return the cost of these tokens in USD."""
        return (usage.prompt * self.input + usage.sampled * self.output) / MILLION


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Budget:
    """Spending limits of a run at its endpoints and services. Not part of its configuration: a resume may have another."""

    max_cost: float | None = None
    """USD over the whole run, including spending before a resume."""
    max_tokens: int | None = None
    """Prompt, sampled and, at a service, trained tokens over the whole run."""
    prices: Path | None = None
    """A file whose prices override the packaged ones."""

    @property
    def is_bound(self) -> bool:
        """True if anything is limited."""
        return self.max_cost is not None or self.max_tokens is not None


class BudgetSpentError(EsplError):
    """A request was not sent, because the budget is spent."""

    def __init__(self, message: str, flag: str) -> None:
        """Set the message; `flag` is the option to raise."""
        super().__init__(message)
        self.flag = flag


def paid_sources(config: RunConfig) -> dict[ModelRole, ModelSource]:
    """Return the endpoint or service in each role; the policy writes reflections unless there is another editor."""
    roles = {ModelRole.POLICY: config.policy_source}
    if config.method.operators:
        roles[ModelRole.EDITOR] = config.editor_source or config.policy_source
    return {role: source for role, source in roles.items() if source.is_remote}


def open_cost_tracker(config: RunConfig, budget: Budget) -> "CostTracker":
    """Make the cost tracker of a run. Raises UsageError as `CostTracker`."""
    models = {role: source.model for role, source in paid_sources(config).items()}
    return CostTracker(models, budget, trains=config.policy_source.is_service and config.method.learns_weights)


def read_prices(file: Path | None) -> dict[str, Price]:
    """Read prices by model: the packaged ones, overridden by those of a file. Raises UsageError naming the file and the entry."""
    return {**_read(PACKAGED), **(_read(file) if file else {})}


def _read(path: Path) -> dict[str, Price]:
    try:
        with reading(path, f"name a price file, e.g. a copy of {PACKAGED}", UsageError):
            return _PriceFile.model_validate(tomllib.loads(read_named_text(path))).models
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; compare it with {PACKAGED}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}; compare it with {PACKAGED}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {first_fault(error)}; compare it with {PACKAGED}") from error


class CostTracker:
    """Spending of a run at its endpoints and services, and the rest of its budget. Used from one event loop."""

    def __init__(self, models: Mapping[ModelRole, str], budget: Budget, trains: bool = False) -> None:
        """Start with nothing spent.

        Args:
            models: the model in each role that an endpoint or a service has; empty for a run without either.
            budget: the limits.
            trains: True if training the policy costs money too.

        Raises:
            UsageError: a limit without an endpoint, a limit on the cost of a model without a price, a price file that cannot be read.
        """
        prices = read_prices(budget.prices)
        self.models = dict(models)
        self.trains = trains
        self.prices = {model: prices[model] for role, model in models.items() if model in prices and self._suffices(role, prices[model])}
        self._budget = budget
        self._spent = {role: Usage(0, 0) for role in models}
        self._trained = 0
        if budget.is_bound and not models:
            raise UsageError("--max-cost and --max-tokens-total bound the use of endpoints, and this run uses none; leave them out")
        if budget.max_cost is not None and self.unpriced:
            raise UsageError(f"--max-cost needs a price for {' and '.join(self.unpriced)}; put it into a file and pass that with --prices")

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Models without a known price."""
        return tuple(
            sorted(model for role, model in self.models.items() if not (model in self.prices and self._suffices(role, self.prices[model])))
        )

    def _suffices(self, role: ModelRole, price: Price) -> bool:
        return price.train is not None or not (self.trains and role is ModelRole.POLICY)

    def record(self, role: ModelRole, usage: Usage) -> None:
        """Add the tokens of one response."""
        before = self._spent[role]
        self._spent[role] = Usage(before.prompt + usage.prompt, before.sampled + usage.sampled)

    def record_training_cost(self, tokens: int) -> None:
        """Add the tokens of one training step."""
        self._trained += tokens if self.trains else 0

    def restore(self, totals: LedgerTotals) -> None:
        """Continue from the totals of an earlier process's ledger."""
        self._spent = self._used(totals)
        self._trained = totals.train_tokens if self.trains else 0

    def require(self) -> None:
        """Raise BudgetSpentError if the budget is spent."""
        limits = self._budget
        tokens = sum(usage.prompt + usage.sampled for usage in self._spent.values()) + self._trained
        if limits.max_tokens is not None and tokens >= limits.max_tokens:
            raise BudgetSpentError(f"the budget of {limits.max_tokens:,} tokens is spent ({tokens:,} so far)", "--max-tokens-total")
        cost = self.cost(self._spent, self._trained)
        if limits.max_cost is not None and cost is not None and cost >= limits.max_cost:
            raise BudgetSpentError(f"the budget of {limits.max_cost:g} USD is spent ({cost:.4f} so far)", "--max-cost")

    def cost_of(self, totals: LedgerTotals) -> float | None:
        """Return the cost in USD of a ledger's tokens at endpoints and services; None as `cost`."""
        return self.cost(self._used(totals), totals.train_tokens)

    def cost_of_learning(self, spent: Spent) -> float | None:
        """Return the cost in USD of learning up to a point of its curve, without evaluations; None as `cost`."""
        used = {
            ModelRole.POLICY: Usage(spent.prompt_tokens, spent.generated_tokens),
            ModelRole.EDITOR: Usage(spent.reflection_prompt_tokens, spent.reflection_tokens),
        }
        return self.cost({role: used[role] for role in self.models}, spent.train_tokens)

    def _used(self, totals: LedgerTotals) -> dict[ModelRole, Usage]:
        every = {
            ModelRole.POLICY: Usage(totals.prompt_tokens + totals.eval_prompt_tokens, totals.generated_tokens + totals.eval_tokens),
            ModelRole.EDITOR: Usage(totals.reflection_prompt_tokens, totals.reflection_tokens),
        }
        return {role: every[role] for role in self.models}

    def cost(self, used: Mapping[ModelRole, Usage], trained: int) -> float | None:
        """Return the cost of these tokens in USD; None without an endpoint or service, or if a model has no price."""
        if not used or self.unpriced:
            return None
        training = trained * (self.prices[self.models[ModelRole.POLICY]].train or 0.0) / MILLION if self.trains else 0.0
        return training + sum(self.prices[self.models[role]].of(usage) for role, usage in used.items())
