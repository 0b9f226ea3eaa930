"""The spec of `qa`."""

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.environment.text_env import EnvironmentSpec

QA = EnvironmentSpec(
    name="qa",
    gym_id="espl/QA-v1",
    entry_point="espl_envs.qa.env:own_files",
    summary="your own questions with short answers in free text: --data train=FILE --data test=FILE",
    dialect="short",
    defaults={"max_tokens": 2_048, "editor_max_tokens": 8_192},
    data=DataSpec(split_rule="validation is a slice of the training file unless a file is given for it"),
)
