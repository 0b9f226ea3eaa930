"""espl-bench's own environments and the small laboratory model they run on. Importing this registers their Gymnasium ids."""

import gymnasium

from espl_envs.math.spec import MATH
from espl_envs.rulebook.spec import RULEBOOK

for _spec in (RULEBOOK, *MATH):
    if _spec.gym_id not in gymnasium.registry:
        gymnasium.register(id=_spec.gym_id, entry_point=_spec.entry_point, kwargs=dict(_spec.arguments))
