"""An optimizer that owns its loop: hill climbing, with the editor asked for each next rule."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class State:
    best: list[str]
    score: float = -1.0
    round: int = 0


class HillClimb:
    async def optimise(self, harness):
        state = State(**harness.restored) if harness.restored else State(list(harness.root))
        problems = harness.training[:4]
        while harness.rollouts_left >= len(problems):
            said = await harness.write(f"round {state.round}")
            rule = " ".join(said.split()[:6]) or "nothing"
            tried = [*state.best, f"{state.round} {rule}"]
            groups = await harness.roll_out(tried, problems)
            score = sum(sum(group.graded_rewards) for group in groups)
            best, top = (tried, score) if score > state.score else (state.best, state.score)
            state = State(best, top, state.round + 1)
            await harness.checkpoint(asdict(state))
        return state.best


HILL_CLIMB = HillClimb()
