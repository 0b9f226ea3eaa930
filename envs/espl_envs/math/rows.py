"""One row of choices for each environment. They differ in nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from espl_bench.data.dataset_spec import DataSpec
from espl_envs.math import sources
from espl_envs.math.splits import Selection

HELD_OUT = "validation is the slice of train that a hash of the text holds out, about one in 5 (option holdout)"


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices of one environment."""

    data: DataSpec
    selection: Selection | None = None
    """Selection from the training set; None: all of it."""


ROWS: Mapping[str, Choices] = MappingProxyType(
    {
        "beyondaime": Choices(DataSpec(train=(sources.AIME_2022_2024,), test=(sources.BEYONDAIME,), split_rule=HELD_OUT)),
        "beyondaime-amc": Choices(
            DataSpec(train=(sources.AIME_2022_2024, sources.AMC_2022_2023), test=(sources.BEYONDAIME,), split_rule=HELD_OUT)
        ),
        "aime25": Choices(
            DataSpec(
                train=(sources.DAPO_MATH_17K,),
                test=(sources.AIME_2025,),
                split_rule=f"train is shuffled with seed 42 and cut to 100 problems; {HELD_OUT}",
                selected=100,
            ),
            selection=Selection(seed=42, count=100),
        ),
        "hmmt25": Choices(
            DataSpec(
                train=(sources.HMMT_FEB_2023, sources.HMMT_FEB_2024, sources.HMMT_FEB_2025),
                test=(sources.HMMT_NOV_2025,),
                split_rule=HELD_OUT,
            )
        ),
        "math500": Choices(DataSpec(test=(sources.MATH_500,), split_rule="evaluation only")),
    }
)
"""Choices by the environment's name."""
