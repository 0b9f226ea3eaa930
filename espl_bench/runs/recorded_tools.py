"""Tools that a server offered to a run's policy. They are recorded with the run, so that it is read again without the server.

To tell a call from an answer, and a call that fits from one that does not, a replay needs the tools as they were. Starting a program for
that, or reaching an address, would let a run that came from elsewhere choose what is started here.
"""

from collections.abc import Mapping
from typing import Any, Final

from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError, RunDirError
from espl_bench.runs.provenance_file import DATA_FACTS, REMEDY
from espl_bench.runs.run_dir import RunDir
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.tools.tool_server import ToolServer
from espl_bench.tools.tool_spec import ToolSpec

TOOLS: Final = "tools"
"""Key in the data facts."""


def tool_facts(env: TextEnv) -> dict[str, Any]:
    """Return the tools of a server as the run's provenance keeps them; empty for an environment without such a server."""
    if not (isinstance(env, ToolEnv) and isinstance(env.tools, ToolServer)):
        return {}
    return {TOOLS: [tool.schema() for tool in env.tools]}


def give_recorded_tools(env: TextEnv, run: RunDir) -> None:
    """Give an environment whose tools a server offers those that the run recorded. Raises RunDirError if it recorded none."""
    if not (isinstance(env, ToolEnv) and isinstance(env.tools, ToolServer)):
        return
    recorded = run.facts().get(DATA_FACTS, {})
    try:
        env.offer(tuple(_spec(record["function"]) for record in recorded[TOOLS]))
    except (KeyError, TypeError, AttributeError, EnvError) as error:
        raise RunDirError(f"{run.path} does not say which tools its server offered ({error}); {REMEDY}") from error


def _spec(record: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec.of_schema(record["name"], record["description"], record["parameters"])
