"""Layout of the evolution tree: time runs along one axis, and a line of descent keeps its lane.

The page and the pictures draw the same tree from this. A line continues through its child with most descendants; the other
children branch off into the nearest lane that is free from then on.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from espl_bench.runs.view import PromptView, children

TRIED: Final = 200
"""Lanes that are tried for a line; if none of them is free, it gets one beyond all, so that a log of many lines is laid out in time
that grows with their number."""


def lanes(prompts: Sequence[PromptView]) -> dict[int, int]:
    """Assign each prompt id a lane, 0 for the root's line, increasing downwards. Prompts must be in order of birth."""
    by_id = {prompt.id: prompt for prompt in prompts}
    below = children(prompts, by_id.keys())
    placed: dict[int, int] = {}
    busy: list[list[tuple[int, int]]] = []
    """First and last step of each line of a lane, in order of time: lines of a lane do not overlap."""
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
        busy.extend([] for _ in range(len(busy), lane + 1))
        busy[lane].insert(bisect_left(busy[lane], (first, last)), (first, last))
        placed |= dict.fromkeys(line, lane)
        # the youngest branch is placed first and nearest: an older one, farther out, has passed its lane before it begins
        waiting.extend(sorted(child for node in line for child in below[node][1:]))
    return placed


def _free_lane(near: int, first: int, last: int, busy: Sequence[Sequence[tuple[int, int]]]) -> int:
    tried = range(near, min(near + TRIED, len(busy)))
    return next((lane for lane in tried if _is_free(busy[lane], first, last)), max(near, len(busy)))


def _is_free(lines: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Return whether no line of a lane has a step in common with these."""
    later = bisect_left(lines, (last + 1,))
    return later == 0 or lines[later - 1][1] < first
