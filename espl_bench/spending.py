"""What endpoints cost: prices, a budget, and the purse that is opened before every request.

Prices are in files that a user can edit; nothing here knows a price. Cost is a function of token counts, so it can be
computed again from any ledger. Hidden reasoning is priced as output; discounts (cached prompts, batches) are not known here.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espl_bench.config import RunConfig
from espl_bench.errors import EsplError, UsageError
from espl_bench.summary import LedgerTotals, Spent
from espl_bench.types import Usage

PACKAGED = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000


class Role(StrEnum):
    """What an endpoint's model does in a run."""

    POLICY = "policy"
    EDITOR = "editor"


class Price(BaseModel):
    """USD per million tokens, with where and when it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    source: str
    date: str

    def of(self, usage: Usage) -> float:
        """USD for these tokens."""
        return (usage.prompt * self.input + usage.sampled * self.output) / MILLION


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on a run at its endpoints. Not part of its configuration: a resume may be given another."""

    max_cost: float | None = None
    """USD over the whole run, what was spent before a resume included."""
    max_tokens: int | None = None
    """Prompt and sampled tokens over the whole run."""
    prices: Path | None = None
    """A file whose prices go before the packaged ones."""

    @property
    def is_bound(self) -> bool:
        """Whether anything is limited."""
        return self.max_cost is not None or self.max_tokens is not None


class BudgetSpent(EsplError):
    """A request was not made, because the budget is spent."""

    def __init__(self, message: str, flag: str) -> None:
        """`flag` is the option to raise."""
        super().__init__(message)
        self.flag = flag


def endpoint_models(config: RunConfig) -> dict[Role, str]:
    """The model in each role that an endpoint plays; reflections are the policy's unless there is another editor."""
    roles = {Role.POLICY: config.policy_source}
    if config.method.operators:
        roles[Role.EDITOR] = config.editor_source or config.policy_source
    return {role: source.model for role, source in roles.items() if source.is_endpoint}


def read_prices(file: Path | None) -> dict[str, Price]:
    """Prices by model: the packaged ones, and over them those of a file. Raises UsageError naming the file and the entry."""
    return {**_read(PACKAGED), **(_read(file) if file else {})}


def _read(path: Path) -> dict[str, Price]:
    try:
        return _PriceFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).models
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a price file, e.g. a copy of {PACKAGED}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; compare it with {PACKAGED}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}; compare it with {PACKAGED}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg']}; compare it with {PACKAGED}") from error


class Purse:
    """What a run has spent at its endpoints, and what is left. Used from one event loop."""

    def __init__(self, models: Mapping[Role, str], budget: Budget) -> None:
        """Nothing spent.

        Args:
            models: the endpoints' model in each role that an endpoint plays; none for a run without endpoints.
            budget: the limits.

        Raises:
            UsageError: a limit without an endpoint, a limit on the cost of a model without a price, a price file that cannot be read.
        """
        prices = read_prices(budget.prices)
        self.models = dict(models)
        self.prices = {model: prices[model] for model in models.values() if model in prices}
        self._budget = budget
        self._spent = {role: Usage(0, 0) for role in models}
        if budget.is_bound and not models:
            raise UsageError("--max-cost and --max-tokens-total bound what endpoints are asked, and this run asks none; leave them out")
        unpriced = sorted(set(models.values()) - set(self.prices))
        if budget.max_cost is not None and unpriced:
            raise UsageError(f"--max-cost needs a price for {' and '.join(unpriced)}; put it into a file and name that with --prices")

    def pay(self, role: Role, usage: Usage) -> None:
        """Enter one answer."""
        before = self._spent[role]
        self._spent[role] = Usage(before.prompt + usage.prompt, before.sampled + usage.sampled)

    def restore(self, totals: LedgerTotals) -> None:
        """Go on from what an earlier process's ledger had counted."""
        self._spent = self._used(totals)

    def require(self) -> None:
        """Raise BudgetSpent if nothing more may be asked."""
        limits = self._budget
        tokens = sum(usage.prompt + usage.sampled for usage in self._spent.values())
        if limits.max_tokens is not None and tokens >= limits.max_tokens:
            raise BudgetSpent(f"the budget of {limits.max_tokens:,} tokens is spent ({tokens:,} so far)", "--max-tokens-total")
        cost = self.cost(self._spent)
        if limits.max_cost is not None and cost is not None and cost >= limits.max_cost:
            raise BudgetSpent(f"the budget of {limits.max_cost:g} USD is spent ({cost:.4f} so far)", "--max-cost")

    def bill(self, totals: LedgerTotals) -> float | None:
        """USD for a ledger's tokens, as far as endpoints were asked for them; None as `cost`."""
        return self.cost(self._used(totals))

    def bill_of_learning(self, spent: Spent) -> float | None:
        """USD for what learning had used at a point of its curve, evaluations left out; None as `cost`."""
        used = {
            Role.POLICY: Usage(spent.prompt_tokens, spent.generated_tokens),
            Role.EDITOR: Usage(spent.reflection_prompt_tokens, spent.reflection_tokens),
        }
        return self.cost({role: used[role] for role in self.models})

    def _used(self, totals: LedgerTotals) -> dict[Role, Usage]:
        every = {
            Role.POLICY: Usage(totals.prompt_tokens + totals.eval_prompt_tokens, totals.generated_tokens + totals.eval_tokens),
            Role.EDITOR: Usage(totals.reflection_prompt_tokens, totals.reflection_tokens),
        }
        return {role: every[role] for role in self.models}

    def cost(self, used: Mapping[Role, Usage]) -> float | None:
        """USD for these tokens; None without an endpoint, or if a model has no price."""
        if not used or any(model not in self.prices for model in self.models.values()):
            return None
        return sum(self.prices[self.models[role]].of(usage) for role, usage in used.items())
