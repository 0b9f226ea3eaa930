"""Layout of the evolution tree: time runs along one axis, and a line of descent keeps its lane.

The page and the pictures draw the same tree from this. A line continues through its child with most descendants; the other
children branch off into the nearest lane that is free from then on.
"""

from collections.abc import Sequence

from espl_bench.runs.view import PromptView, children


def lanes(prompts: Sequence[PromptView]) -> dict[int, int]:
    """Assign each prompt id a lane, 0 for the root's line, increasing downwards. Prompts must be in order of birth."""
    by_id = {prompt.id: prompt for prompt in prompts}
    below = children(prompts, by_id.keys())
    placed: dict[int, int] = {}
    busy: list[tuple[int, int, int]] = []
    """(lane, first step, last step) of each placed line."""
    waiting = [prompt.id for prompt in reversed(prompts) if not prompt.parents]
    while waiting:
        start = waiting.pop()
        line = [start]
        while below[line[-1]]:
            line.append(below[line[-1]][0])
        parents = by_id[start].parents
        near = placed[parents[0]] if parents else 0
        first, last = by_id[parents[0] if parents else start].born_step, by_id[line[-1]].born_step
        lane = _free_lane(near + bool(parents), first, last, busy)
        busy.append((lane, first, last))
        placed |= dict.fromkeys(line, lane)
        # the youngest branch is placed first and nearest: an older one, farther out, has passed its lane before it begins
        waiting.extend(sorted(child for node in line for child in below[node][1:]))
    return placed


def _free_lane(near: int, first: int, last: int, busy: Sequence[tuple[int, int, int]]) -> int:
    lane = near
    while any(taken == lane and start <= last and first <= end for taken, start, end in busy):
        lane += 1
    return lane
