"""espl-bench's own environments and the small laboratory model they run on. Importing this package registers their Gymnasium ids."""

import gymnasium

from espl_envs.almanac.spec import ALMANAC
from espl_envs.market.spec import ARITHMETIC_WORDS
from espl_envs.math.spec import MATH
from espl_envs.qa.spec import QA
from espl_envs.rulebook.spec import RULEBOOK
from espl_envs.search.spec import SEARCHING

for _spec in (RULEBOOK, ALMANAC, ARITHMETIC_WORDS, *MATH, QA, *SEARCHING):
    if _spec.gym_id not in gymnasium.registry:
        gymnasium.register(id=_spec.gym_id, entry_point=_spec.entry_point, kwargs=dict(_spec.arguments))
