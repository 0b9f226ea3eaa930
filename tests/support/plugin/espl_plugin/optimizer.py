"""An optimizer that owns its loop: hill climbing, with the editor asked for each next rule."""


class HillClimb:
    async def optimise(self, harness):
        state = dict(harness.restored or {"best": list(harness.root), "score": -1.0, "round": 0})
        problems = harness.training[:4]
        while harness.rollouts_left >= len(problems):
            said = await harness.write(f"round {state['round']}")
            rule = " ".join(said.split()[:6]) or "nothing"
            tried = [*state["best"], f"{state['round']} {rule}"]
            groups = await harness.roll_out(tried, problems)
            score = sum(sum(group.graded_rewards) for group in groups)
            if score > state["score"]:
                state |= {"best": tried, "score": score}
            state["round"] += 1
            await harness.checkpoint(state)
        return state["best"]


HILL_CLIMB = HillClimb()
