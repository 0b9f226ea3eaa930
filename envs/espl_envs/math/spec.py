"""The specs of the mathematics environments."""

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.types import Split
from espl_envs.math.rows import ROWS

DEFAULTS = {"max_tokens": 15_000, "editor_max_tokens": 8_192}
"""Tokens per response as in the paper. A reasoning editor needs room for its thinking before it writes its edits."""


PAPERS = ("aime25", "hmmt25", "beyondaime")
"""The pairs of the paper, which holds nothing out and trains for `PAPERS_EPOCHS` epochs of its training problems."""
PAPERS_EPOCHS = 10
PAPERS_BATCH = 10


def _published(name: str, gym_id: str, summary: str) -> EnvironmentSpec:
    rows = ROWS[name].data.rows(Split.TRAIN)
    experiment = {"steps": PAPERS_EPOCHS * (rows or 0) // PAPERS_BATCH, "env_options": {"holdout": 0}}
    return EnvironmentSpec(
        name=name,
        gym_id=gym_id,
        entry_point="espl_envs.math.env:published",
        summary=summary,
        dialect="full",
        defaults=DEFAULTS,
        presets=dict.fromkeys(("paper", "reference-code"), experiment) if name in PAPERS else {},
        arguments={"dataset": name},
        data=ROWS[name].data,
    )


BEYONDAIME = _published("beyondaime", "espl/BeyondAIME-v1", "AIME 2022 to 2024 to train on, BeyondAIME to be tested on")
BEYONDAIME_AMC = _published("beyondaime-amc", "espl/BeyondAIMEAMC-v1", "AIME and AMC 12 to train on, BeyondAIME to be tested on")
AIME25 = _published("aime25", "espl/AIME25-v1", "100 problems of DAPO-Math-17k to train on, AIME 2025 to be tested on")
HMMT25 = _published("hmmt25", "espl/HMMT25-v1", "HMMT February 2023 to 2025 to train on, HMMT November 2025 to be tested on")
MATH500 = _published("math500", "espl/MATH500-v1", "MATH-500, for evaluation only")

JSONL = EnvironmentSpec(
    name="jsonl",
    gym_id="espl/JSONL-v1",
    entry_point="espl_envs.math.own_files:own_files",
    summary="your own problems, mathematics or choices, with an answer in a box: --data train=FILE --data test=FILE",
    dialect="full",
    defaults=DEFAULTS,
    data=DataSpec(split_rule="validation is a slice of the training file unless a file is given for it"),
)

MATH = (BEYONDAIME, BEYONDAIME_AMC, AIME25, HMMT25, MATH500, JSONL)
"""Every environment of this folder."""
