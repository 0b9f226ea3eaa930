"""An environment, a dialect and a control."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from espl_envs.lab import MODEL
from espl_envs.rulebook.env import RulebookEnv

from espl_bench.controls import Control
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.types import Split

WORDS = Path(__file__).parent / "words"


class PluginWorld(RulebookEnv):
    """Another world of chains, with a shorter test."""

    sizes: ClassVar[dict[Split, int]] = {Split.TRAIN: 32, Split.VALIDATION: 8, Split.TEST: 8}
    steps: ClassVar[dict[Split, tuple[int, ...]]] = {Split.TRAIN: (1,), Split.VALIDATION: (1,), Split.TEST: (1,)}

    def __init__(self):
        super().__init__(world=7)


@dataclass(frozen=True, slots=True)
class NoPrompt(Control):
    """The policy is never shown a principle."""

    taken_away: str = "the prompt"

    def principles(self, principles, dialect):
        return ()


PLUGIN_WORLD = EnvironmentSpec(
    name="plugin_world",
    gym_id="plugin/World-v0",
    entry_point="espl_plugin.world:PluginWorld",
    summary="chains of one step in a world of its own",
    dialect="plugin_words",
    model=str(MODEL),
    defaults={"max_tokens": 24, "editor_max_tokens": 64, "lr": 1e-3, "eval_samples": 1},
)
NO_PROMPT = NoPrompt()
