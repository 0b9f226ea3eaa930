"""An episode that a foreign agent plays: its gateway, its thread, its time, and what becomes of it.

Whatever an agent does, the episode ends: with what it handed in, as an error, as a timeout, or as truncated if it failed after a request of
its was refused at a limit.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from inspect import isawaitable

from espl_bench.environment.agent_env import AgentEnv, AgentTask
from espl_bench.errors import EnvError, first_line
from espl_bench.gateway.chat_wire import MODEL
from espl_bench.gateway.conversations import Conversations, Place
from espl_bench.gateway.server import GatewayServer
from espl_bench.gateway.session import Ask, Sampling, Session
from espl_bench.rollouts.episode import Ending
from espl_bench.types import Message, Outcome, Turn
from espl_bench.utils.foreign_text import readable


@dataclass(frozen=True, slots=True)
class Played:
    """What is left of an agent's play."""

    turns: tuple[Turn, ...]
    result: str | Ending
    """What it handed in, or the episode's end if that is nothing."""


class AgentHost:
    """Lets the agents of a batch play. Its server is started for the first of them."""

    def __init__(self, sampling: Sampling) -> None:
        """Take how the policy is sampled."""
        self._sampling = sampling
        self._server: GatewayServer | None = None
        self._serving = ExitStack()

    async def play(self, env: AgentEnv, question: Message, place: Place, ask: Ask, seed_of: Callable[[int], int]) -> Played:
        """Let an agent play one episode.

        Args:
            env: has begun the episode.
            question: the problem in the dialect's words.
            place: puts the prompt into the agent's conversations.
            ask: samples one completion.
            seed_of: seed of the n-th.

        Raises what made sampling fail.
        """
        server = self._started()
        session = Session(self._sampling, ask, seed_of, Conversations(place, known=question), env.agent_completions)
        endpoint = server.open(session)
        agent = _AgentThread(env.play, AgentTask(question.content, endpoint.base_url, endpoint.api_key, MODEL))
        try:
            in_time = await _is_over(agent.done, session, env.agent_seconds)
        finally:
            server.forget(endpoint.session)
            agent.cancel()
        if session.fault is not None:
            raise session.fault
        await session.close()
        late = Ending(0.0, Outcome.TIMEOUT, f"the agent took more than {env.agent_seconds:g} s of its own")
        return Played(session.turns, _handed_in(agent.done, session) if in_time else late)

    def close(self) -> None:
        """Stop the server."""
        self._serving.close()

    def _started(self) -> GatewayServer:
        if self._server is None:
            self._server = self._serving.enter_context(GatewayServer().serving())
        return self._server


class _AgentThread:
    """Runs an agent in a thread of its own. One that is blocked cannot be ended: it is left behind, and its requests are refused."""

    def __init__(self, play: Callable[[AgentTask], str | Awaitable[str]], task: AgentTask) -> None:
        self.done: Future[object] = Future()
        """What it handed in, or what it raised."""
        self._play, self._task = play, task
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[object]] | None = None
        self._cancelled = False
        threading.Thread(target=self._run, name="agent", daemon=True).start()

    def cancel(self) -> None:
        """End the agent if it is a coroutine that has not ended."""
        self._cancelled = True
        if self._running is not None:
            loop, task = self._running
            with suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(task.cancel)

    def _run(self) -> None:
        try:
            said = self._play(self._task)
            self.done.set_result(asyncio.run(self._awaited(said)) if isawaitable(said) else said)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # foreign code runs here, and may raise anything
            self.done.set_result(error)

    async def _awaited(self, said: Awaitable[object]) -> object:
        task = asyncio.ensure_future(said)
        self._running = asyncio.get_running_loop(), task
        if self._cancelled:
            task.cancel()
        return await task


async def _is_over(done: Future[object], session: Session, seconds: float) -> bool:
    """Wait until the agent has ended, or sampling has failed; return False if its own time is over first."""
    began = time.monotonic()
    failed = asyncio.ensure_future(session.failed.wait())
    waited_for = {asyncio.wrap_future(done), failed}
    try:
        while True:
            left_s = seconds - (time.monotonic() - began - session.served_s)
            if left_s <= 0:
                return False
            ended, _ = await asyncio.wait(waited_for, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if ended:
                return True
    finally:
        failed.cancel()


def _handed_in(done: Future[object], session: Session) -> str | Ending:
    """Return what an agent that has ended handed in."""
    submitted = done.result()
    if isinstance(submitted, BaseException):
        if session.limit is not None:
            return Ending(0.0, Outcome.TRUNCATED, limit=session.limit)
        told = f"the agent failed: {type(submitted).__name__}: {first_line(submitted)}"
        return Ending(0.0, Outcome.ERROR, first_line(submitted) if isinstance(submitted, EnvError) else told)
    if not isinstance(submitted, str):
        return Ending(0.0, Outcome.ERROR, f"the agent handed in a {type(submitted).__name__}, not a text")
    if not session.turns:
        return Ending(0.0, Outcome.ERROR, "the agent asked for no completion")
    return readable(submitted)
