"""Let `gymnasium.make` find every registered environment by its id, without loading any before one is asked for.

An id stands in an environment's spec, and a spec in a package that may be slow to import. So Gymnasium's registry is replaced by one that
loads the specs once an id is asked for that it does not have. This is done when Gymnasium is imported: `import espl_bench` costs nothing.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Registry(dict[str, Any]):
    """Gymnasium's registry, by id."""

    complete = False

    def get(self, key: str, default: Any = None) -> Any:
        """Return an environment's entry, from our specs too."""
        self._look_for(key)
        return super().get(key, default)

    def __missing__(self, key: str) -> Any:
        self._look_for(key)
        if key not in self:
            raise KeyError(key)
        return self[key]

    def _look_for(self, key: str) -> None:
        if key not in self and not self.complete:
            self.complete = True
            _register_all(self)


def _register_all(registry: _Registry) -> None:
    """Register the environments whose packages can be imported; `espl-bench envs` tells of the others."""
    import gymnasium

    from espl_bench.errors import UsageError
    from espl_bench.registry import ENVIRONMENTS, FAMILIES, find, names

    registered = [(seam, name) for seam in (ENVIRONMENTS, FAMILIES) for name in names(seam)]
    for seam, name in registered:
        try:
            spec = find(seam, name)
        except UsageError:
            continue
        if spec.gym_id not in registry:
            gymnasium.register(  # pyright: ignore[reportUnknownMemberType]
                id=spec.gym_id, entry_point=spec.entry_point, kwargs=dict(spec.arguments)
            )


def replace_registry() -> None:
    """Put our registry wherever a module holds Gymnasium's. A second call does nothing."""
    plain = sys.modules["gymnasium.envs.registration"].__dict__["registry"]
    if isinstance(plain, _Registry):
        return
    ours = _Registry(plain)
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("registry") is plain:
            module.registry = ours  # pyright: ignore[reportAttributeAccessIssue]


def replacing_spec(name: str) -> ModuleSpec | None:
    """Find Gymnasium as usual, and replace its registry once it is imported. None if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.loader is not None:
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            replace_registry()

        spec.loader.exec_module = exec_module
    return spec
