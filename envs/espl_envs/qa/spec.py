"""The specs of `qa`, and of `mcp-qa`, which has tools."""

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.environment.text_env import EnvironmentSpec, Wording

OWN_FILES = DataSpec(split_rule="validation is a slice of the training file unless a file is given for it")

QA = EnvironmentSpec(
    name="qa",
    gym_id="espl/QA-v1",
    entry_point="espl_envs.qa.env:own_files",
    summary="your own questions with short answers in free text: --data train=FILE --data test=FILE",
    dialect="short",
    defaults={"max_tokens": 2_048, "editor_max_tokens": 8_192},
    data=OWN_FILES,
)

MCP_QA = EnvironmentSpec(
    name="mcp-qa",
    gym_id="espl/McpQA-v1",
    entry_point="espl_envs.qa.with_tools:make",
    summary='your own questions, answered with the tools of an MCP server: --env-option \'mcp=["python", "server.py"]\' --data test=FILE',
    wording=Wording(
        task="You answer questions with short, exact answers. Use your tools to find out what you do not know for certain.",
        answer_form="Once you know the answer, end with a line that holds it and nothing else:\nAnswer: …",
    ),
    defaults={"max_tokens": 2_048, "max_episode_tokens": 24_000, "editor_max_tokens": 8_192},
    data=OWN_FILES,
    turns=8,
)
