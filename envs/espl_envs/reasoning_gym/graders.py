"""Scores by reasoning-gym's own graders. Called in a confined process, since some of them evaluate what a model wrote.

That process imports this module before it is confined, and everything that it needs with it.
"""

import json
from functools import lru_cache
from typing import Any

import reasoning_gym
from reasoning_gym.dataset import ProceduralDataset
from reasoning_gym.factory import DATASETS


def compares_texts(name: str) -> bool:
    """Return whether a set is graded by comparing two texts, as most are, and so in any process."""
    return DATASETS[name][0].score_answer is ProceduralDataset.score_answer


def score(payload: dict[str, Any]) -> float:
    """Score an answer from 0 to 1.

    Args:
        payload: ``set``, its ``parameters`` as JSON text, the ``entry`` as the set made it, and the ``answer``.
    """
    return float(_grader(payload["set"], payload["parameters"]).score_answer(payload["answer"], payload["entry"]))


@lru_cache(maxsize=256)
def _grader(name: str, parameters: str) -> ProceduralDataset:
    """Return a set whose grader has these parameters, with an item of its own that nobody asks for."""
    return reasoning_gym.create_dataset(name, seed=0, size=1, **json.loads(parameters))
