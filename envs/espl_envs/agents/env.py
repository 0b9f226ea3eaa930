"""Any environment of one turn, with its problems worked on by a program and its grader for what the program prints."""

import hashlib
import shlex
import shutil
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, cast

from espl_bench.environment.agent_command import run_command
from espl_bench.environment.agent_env import AgentEnv, AgentTask
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.types import Problem, Split
from espl_bench.utils.named_files import read_named
from espl_bench.utils.numbers import is_whole

LARGEST = 2**24
"""Most bytes of a file among the program's arguments that are hashed."""


class PlayedByProgram(AgentEnv):
    """An environment of one turn, played by a program.

    Description:
        The program reads a problem from its standard input, works on it with the model behind ``OPENAI_BASE_URL``, and prints what it
        hands in. That is graded as the environment grades a response.

    Action space:
        Text: what the program prints.

    Observation space:
        Text: the problem.

    Rewards:
        Those of the environment.

    Episode end:
        Terminated when the program ends. An error if it fails; a timeout if it takes too long; truncated if it fails after it used up its
        completions or the model's context.

    Arguments:
        environment: Name of the environment.
        command: The program with its arguments, a list or a text as in a shell, e.g. ``python agent.py``. Without one the environment can
            grade and not play.
        agent_seconds: Time that the program may take of its own, without waiting for the model.
        agent_completions: Completions that it may ask for.
        Any other argument goes to the environment.
    """

    def __init__(
        self,
        environment: str = "rulebook",
        command: str | list[str] | None = None,
        agent_seconds: float = 300.0,
        agent_completions: int = 16,
        **options: Any,
    ) -> None:
        """Raise UsageError for a command that is none, or an environment of several turns."""
        spec = find_environment(environment)
        played = make_environment(spec, options)
        if not isinstance(played, SingleTurnEnv) or isinstance(played, AgentEnv):
            raise UsageError(f"agent:{environment}: a program can play environments of one turn; let an AgentEnv of yours play this one")
        if not is_whole(agent_completions) or agent_seconds <= 0:
            raise UsageError("agent_completions must be a whole number from 1, and agent_seconds above 0")
        self.played = played
        self.max_response_chars = played.max_response_chars  # pyright: ignore[reportAttributeAccessIssue]  # as its environment's
        self.steps_at_once = played.steps_at_once  # pyright: ignore[reportAttributeAccessIssue]
        self.items_hashed = played.items_hashed  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__()
        self.command = _words(command)
        self.agent_seconds = agent_seconds
        self.agent_completions = agent_completions

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return those of the environment."""
        return self.played.splits

    def size(self, split: Split) -> int:
        """Return the environment's number of items."""
        return self.played.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        """Return the environment's item."""
        return self.played.problem(split, index)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade what was handed in as the environment grades a response."""
        return self.played.grade(problem, response)

    def play(self, task: AgentTask) -> str | Awaitable[str]:
        """Run the program."""
        return run_command(self.command, task)

    def prepare(self) -> None:
        """Prepare the environment. Raises UsageError without a command."""
        if not self.command:
            raise UsageError("""an agent needs its program: --env-option 'command=["python", "agent.py"]'""")
        if shutil.which(self.command[0]) is None:
            raise UsageError(f"there is no program {self.command[0]!r} to play; name one in --env-option command=…")
        self.played.prepare()

    def data_identity(self) -> Mapping[str, str]:
        """Return the environment's."""
        return self.played.data_identity()

    def agent_identity(self) -> Mapping[str, str]:
        """Return a hash of the command and of the files that it names."""
        return {"agent": _hash_of(self.command)}

    def data_facts(self) -> Mapping[str, Any]:
        """Return the environment's facts, and the command."""
        return {**self.played.data_facts(), "command": shlex.join(self.command)}

    def close(self) -> None:
        """Close the environment."""
        self.played.close()


def _words(command: object) -> tuple[str, ...]:
    if isinstance(command, str):
        try:
            return tuple(shlex.split(command))
        except ValueError as error:
            raise UsageError(f"command {command!r} is none ({error})") from error
    if command is None:
        return ()
    if not isinstance(command, list) or not all(isinstance(word, str) for word in cast(list[object], command)):
        raise UsageError("""command must be a list of texts, e.g. ["python", "agent.py"]""")
    return tuple(cast(list[str], command))


def _hash_of(command: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for word in command:
        content = _content(Path(word))
        digest.update(f"{word}\n".encode() if content is None else f"{Path(word).name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _content(path: Path) -> bytes | None:
    """Read a file; None for what is none, or is too large."""
    try:
        return read_named(path, LARGEST)
    except (OSError, ValueError):
        return None
