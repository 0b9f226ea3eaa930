"""An agent that is a program: it reads the question from its standard input, and prints what it hands in.

It finds the gateway as every OpenAI client does, in ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; ``OPENAI_MODEL`` names the model.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from espl_bench.environment.agent_env import AgentTask
from espl_bench.errors import EnvError

MAX_PRINTED: Final = 2**20
"""Bytes that are read of what an agent prints."""
LAST_WORDS: Final = 200
"""Characters of its last line on standard error that an error shows."""


async def run_command(command: Sequence[str], task: AgentTask) -> str:
    """Run an agent, and return what it printed, without white space around it. Cancelled, it is ended with all that it started.

    Raises EnvError if it cannot be started, prints too much, or ends with another exit code than 0.
    """
    variables = {"OPENAI_BASE_URL": task.base_url, "OPENAI_API_KEY": task.api_key, "OPENAI_MODEL": task.model}
    pipe = asyncio.subprocess.PIPE
    try:
        agent = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **variables}, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise EnvError(f"the agent {command[0]!r} cannot be started ({error})") from error
    try:
        printed, complaint, _ = await asyncio.gather(_read(agent.stdout), _read(agent.stderr), _tell(agent.stdin, task.question))
        code = await agent.wait()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(agent.pid, signal.SIGKILL)
        await agent.wait()
    if code:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2][:LAST_WORDS]
        raise EnvError(f"the agent ended with exit code {code}" + (f": {last}" if last else ""))
    return printed.decode(errors="replace").strip()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """Read a stream to its end. Raises EnvError if it is too long."""
    assert stream is not None, "it was asked for"
    content = b""
    while piece := await stream.read(2**16):
        content += piece
        if len(content) > MAX_PRINTED:
            raise EnvError(f"the agent printed more than {MAX_PRINTED:,} bytes")
    return content


async def _tell(stream: asyncio.StreamWriter | None, question: str) -> None:
    """Write the question. An agent that does not read it is none of our concern."""
    assert stream is not None, "it was asked for"
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(question.encode())
        await stream.drain()
    stream.close()
