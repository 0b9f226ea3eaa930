"""The family `verifiers`: every installed taskset of verifiers 0.4 that can be used here."""

from espl_bench.environment.family import EnvironmentFamily
from espl_bench.environment.text_env import EnvironmentSpec, Wording
from espl_bench.errors import UsageError
from espl_envs.verifiers_tasksets.tasksets import open_taskset, toolsets_of

FAMILY = "verifiers"
GYM_ID = "espl/VerifiersTaskset-v0"
ENTRY_POINT = "espl_envs.verifiers_tasksets.env:make"


def member(name: str) -> EnvironmentSpec:
    """Return the spec of a taskset. Its system prompt, if all its tasks have the same, begins the run's.

    A taskset that cannot be loaded without options says its system prompt in front of each question instead.
    """
    try:
        opened = open_taskset(name, {})
    except UsageError:
        opened = None
    said = opened.system_prompt if opened else ""
    has_tools = opened is not None and bool(toolsets_of(opened.taskset, type(opened.tasks[0])))
    return EnvironmentSpec(
        name=f"{FAMILY}:{name}",
        gym_id=GYM_ID,
        entry_point=ENTRY_POINT,
        summary=f"the taskset {name} of verifiers",
        wording=Wording(task=said) if said else Wording(),
        defaults={"max_tokens": 512},
        arguments={"taskset": name, "system_prompt": said},
        turns=8 if has_tools else 1,
        note=f"the tasks' own system prompt begins the run's, and principles follow it: {' '.join(said.split())[:80]}" if said else "",
    )


VERIFIERS = EnvironmentFamily(
    name=FAMILY,
    gym_id=GYM_ID,
    entry_point=ENTRY_POINT,
    summary="tasksets of the package verifiers 0.4, of one turn or with tools of this process, by the name of their package",
    members=tuple,
    member=member,
    example="reverse-text",
    arguments={"taskset": "reverse-text"},
)
