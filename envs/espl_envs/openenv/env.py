"""Environments behind a server of OpenEnv, in words."""

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, cast

from espl_bench.environment.text_env import Info, TextEnv
from espl_bench.errors import EnvError, UsageError
from espl_bench.types import Limit, Outcome, Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_bench.utils.reasoning import strip_reasoning
from espl_envs.openenv.client import Observed, OpenEnvSession, address_of

APART: Final = 10**6
"""Between the seeds of the splits."""
_QUESTIONS: dict[tuple[str, str, int], str] = {}
"""What servers said to a seed: every instance asks for the same items."""
_ASKING: Final = Lock()


class OpenEnvEnv(TextEnv):
    """Episodes of an environment that an OpenEnv server runs.

    Description:
        The server's observation after ``reset`` with the item's seed is the question. Each turn of the policy is an action, until the
        server says that the episode is done.

    Action space:
        Text, which becomes one field of the server's action.

    Observation space:
        Text: one field of the server's observation, or all of it as JSON.

    Rewards:
        The server's, turn by turn. An episode is correct if they sum to `goal` or more.

    Episode end:
        Terminated when the server says so; truncated after `max_turns`. A server that fails or is silent is an error.

    Splits:
        Seeds 0, 1, … for training, from 1,000,000 for validation, from 2,000,000 for the test. A server that heeds no seed has one item.

    Arguments:
        url: Address of the server.
        action: Field of the action that takes the policy's text.
        observation: Field of the observation that holds the text; empty: the whole observation as JSON.
        max_turns: Turns of the policy.
        goal: Sum of rewards from which an episode is correct.
        sessions: Sessions of the server that are used at a time.
        timeout: Seconds that the server may take for a reply, or to have a session free.
        train: Number of training items.
        validation: Number of validation items.
        test: Number of test items.
    """

    items_hashed = 64

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        action: str = "message",
        observation: str = "",
        max_turns: int = 8,
        goal: float = 1.0,
        sessions: int = 1,
        timeout: float = 30.0,
        train: int = 64,
        validation: int = 16,
        test: int = 32,
    ) -> None:
        """Raise UsageError for an address that is none, or a size below 1. The server is not asked yet."""
        sizes = {"max_turns": max_turns, "sessions": sessions, "train": train, "validation": validation, "test": test}
        for name, value in sizes.items():
            if not is_whole(value):
                raise UsageError(f"openenv: {name} must be a whole number from 1, not {value!r}")
        if not 0 < timeout <= 3_600:
            raise UsageError(f"openenv: timeout must be above 0 and at most 3,600 seconds, not {timeout!r}")
        super().__init__()
        self.address = address_of(url)
        self.action, self.observation = action, observation
        self.max_turns, self.goal, self.timeout_s = max_turns, goal, timeout
        self.episodes_at_once = self.steps_at_once = sessions  # pyright: ignore[reportAttributeAccessIssue]  # as the server offers
        self._sizes = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
        self._session: OpenEnvSession | None = None
        self._taken, self._earned, self._spoke = 0, 0.0, False

    @property
    def turns(self) -> int:
        """Maximum number of turns."""
        return self.max_turns

    def prepare(self) -> None:
        """Ask for an item. Raises EnvError for a server that is not there, before models are loaded or anything waits for it again."""
        self.problem(self.splits[0], 0)

    def size(self, split: Split) -> int:
        """Return the number of items."""
        return self._sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Return an item: what the server says to its seed. There is no truth to show. Raises EnvError."""
        known = self.address, self.observation, self._seed(split, index)
        with _ASKING:
            if known not in _QUESTIONS:
                session, observed = OpenEnvSession.begun(self.address, self.timeout_s, known[2])
                session.close()
                _QUESTIONS[known] = self._text(observed)
        return Problem(f"{split}/{index}", split, index, _QUESTIONS[known])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Take a session and begin. Raises EnvError if the server has another item for the seed now."""
        self.close()
        question, info = super().reset(seed=seed, options=options)
        assert self.current is not None, "it was just set"
        self._session, observed = OpenEnvSession.begun(self.address, self.timeout_s, self._seed(self.current.split, self.current.index))
        self._taken, self._earned, self._spoke = 0, 0.0, False
        if self._text(observed) != question:
            self.close()
            raise EnvError(f"the server has another item for the seed of {self.current.id} now; it must be the same every time")
        return question, info

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Take a step of the server's episode."""
        assert self._session is not None, "it has begun"
        text = strip_reasoning(action)
        observed = self._session.step({self.action: text})
        reward = observed.reward or 0.0
        self._taken, self._earned, self._spoke = self._taken + 1, self._earned + reward, self._spoke or bool(text.strip())
        if observed.done:
            self._end()
            right = self._earned >= self.goal - 1e-9
            return "", reward, True, False, {"outcome": Outcome.CORRECT if right else Outcome.WRONG if self._spoke else Outcome.NO_ANSWER}
        if self._taken >= self.max_turns:
            self._end()
            return "", reward, False, True, {"outcome": Outcome.TRUNCATED, "limit": Limit.TURNS}
        return self._text(observed), reward, False, False, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Take a step, and give the session back at the end, also where the action is too long for the server to see it."""
        told = super().step(action)
        if told[2] or told[3]:
            self.close()
        return told

    def data_facts(self) -> Mapping[str, Any]:
        """Return the server's address."""
        return {"server": self.address}

    def close(self) -> None:
        """Give the session back."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _end(self) -> None:
        self.current = None
        self.close()

    def _seed(self, split: Split, index: int) -> int:
        return APART * list(Split).index(split) + index

    def _text(self, observed: Observed) -> str:
        """Return an observation in words. Raises EnvError without the field that holds them."""
        if not self.observation:
            return json.dumps(observed.observation, ensure_ascii=False)
        found = observed.observation.get(self.observation)
        if found is None:
            known = ", ".join(list(cast(dict[str, Any], observed.observation))[:8])
            raise EnvError(f"the server's observation has no {self.observation!r}; it has {known}")
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
