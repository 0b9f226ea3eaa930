"""The family `reasoning-gym`: every served set, and every combination of them."""

from espl_bench.environment.family import EnvironmentFamily
from espl_bench.environment.text_env import EnvironmentSpec, Wording
from espl_bench.types import Split
from espl_envs.reasoning_gym.sets import FAMILY, joined, parse_sets, served_sets

GYM_ID = "espl/ReasoningGym-v1"
ENTRY_POINT = "espl_envs.reasoning_gym.env:make"


def member(name: str) -> EnvironmentSpec:
    """Return the spec of ``countdown`` or ``countdown+chain_sum``. Raises UsageError."""
    sets = parse_sets(name)
    return EnvironmentSpec(
        name=f"{FAMILY}:{joined(sets)}",
        gym_id=GYM_ID,
        entry_point=ENTRY_POINT,
        summary=f"generated puzzles: {', '.join(sets)}",
        wording=Wording(
            task="You solve puzzles and problems, step by step and without a slip.",
            answer_form="End with the answer, and nothing else, between two tags:\n<answer>…</answer>",
        ),
        defaults={"max_tokens": 1_024, "steps": 60},
        arguments={"sets": joined(sets)},
        items={Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100},
    )


REASONING_GYM = EnvironmentFamily(
    name=FAMILY,
    gym_id=GYM_ID,
    entry_point=ENTRY_POINT,
    summary="puzzles that the package reasoning-gym generates and grades, a set or several with + between",
    members=served_sets,
    member=member,
    example="countdown",
    arguments={"sets": "countdown"},
)
