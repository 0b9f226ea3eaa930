"""One's own questions, answered with the tools of an MCP server."""

from collections.abc import Mapping
from typing import Any, ClassVar

from espl_bench.environment.text_env import Verdict
from espl_bench.errors import UsageError
from espl_bench.tools.mcp import McpTools
from espl_bench.tools.tool_env import ToolEnv, ToolLimits
from espl_bench.types import Problem, Split
from espl_envs.qa.env import QaEnv, own_files


class QaWithToolsEnv(ToolEnv):
    """Questions with short answers, which an agent looks up or works out with tools of an MCP server.

    Description:
        A question of a file of one's own, as in `qa`, and the tools that a server offers: a program that is started here, or an address on
        this machine.

    Action space:
        Text. A call of a tool as ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, or in the model's own format; a text without a
        call is the answer: what follows the last ``Answer:`` that begins a line.

    Observation space:
        Text: the question; then the replies of the tools, or the fault of a call. Markers of chat formats and control characters are
        broken up.

    Rewards:
        As in `qa`: 1 if the answer is exactly one of the true ones, else 0. F1 is reported too.

    Episode end:
        Terminated by an answer. Truncated, with the limit named, by too many turns, calls or replies, or by a response of more than 20,000
        characters. A server that fails is an error.

    Splits:
        As in `qa`.

    Arguments:
        mcp: The server: an address, a command line, or a command as a list.
        mcp_only: Names of the tools to offer (default all).
        mcp_timeout: Seconds that a call may take (default 30).
        max_turns, max_calls, max_reply_chars, max_heard_chars: See `espl_bench.tools.tool_env.ToolLimits`.
        train, validation, test and the others: As in `qa`.

    Version history:
        v1: first version.
    """

    steps_at_once: ClassVar[int] = 16

    def __init__(self, questions: QaEnv, tools: McpTools, limits: ToolLimits) -> None:
        """Serve these questions with these tools."""
        super().__init__(limits)
        self.questions = questions
        self.offer(tools)

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits with questions."""
        return self.questions.splits

    def size(self, split: Split) -> int:
        """Return the number of questions."""
        return self.questions.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        """Return question `index` of the split."""
        return self.questions.problem(split, index)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade by exact match, and measure F1."""
        return self.questions.grade(problem, response)

    def data_identity(self) -> Mapping[str, str]:
        """Return the hash of each split's questions. What the server offers is bound with the run's templates."""
        return self.questions.data_identity()

    def data_facts(self) -> Mapping[str, Any]:
        """Return the origins of the questions."""
        return self.questions.data_facts()


def make(
    mcp: object = None,
    mcp_only: tuple[str, ...] = (),
    mcp_timeout: float = 30.0,
    max_turns: int = 8,
    max_calls: int = 6,
    max_reply_chars: int = 4_000,
    max_heard_chars: int = 40_000,
    **questions: Any,
) -> QaWithToolsEnv:
    """Make an environment; for the arguments see `QaWithToolsEnv`. Raises as `espl_envs.qa.env.own_files`, UsageError without a server."""
    if not mcp:
        wanted = '--env-option \'mcp=["python", "server.py"]\' or mcp=http://127.0.0.1:8000/mcp'
        raise UsageError(f"mcp-qa needs an MCP server for its tools: {wanted}")
    tools = McpTools.of(mcp, only=mcp_only, timeout_s=mcp_timeout)
    return QaWithToolsEnv(own_files(**questions), tools, ToolLimits(max_turns, max_calls, max_reply_chars, max_heard_chars))
