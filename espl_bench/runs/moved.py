"""Where a run's model and files are now, if not where its configuration says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.runs.binding import Binding
from espl_bench.utils.hashing import HUB_COMMIT


@dataclass(frozen=True, slots=True)
class Moved:
    """Present places. The configuration of the run, and what is recorded of it, keep the former ones."""

    model: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """By option of the environment."""

    def applied(self, config: RunConfig) -> RunConfig:
        """Return the configuration with the present places.

        Raises UsageError for a place that does not exist, or an option that names no file.
        """
        for name, path in self.files.items():
            if not isinstance(config.env_options.get(name), str):
                named = ", ".join(name for name, value in config.env_options.items() if isinstance(value, str)) or "none"
                raise UsageError(f"the run's environment has no option '{name}' that names a file; it has: {named}")
            if not Path(path).exists():
                raise UsageError(f"{path} does not exist; name the place that the run's {name} has moved to")
        config = config.model_copy(update={"env_options": {**config.env_options, **self.files}})
        if self.model is None:
            return config
        if not self.model.is_dir():
            raise UsageError(f"{self.model} is no folder; name the one that {config.model} was moved or copied to")
        editor = config.editor.model_copy(update={"model": str(self.model)}) if config.editor.model == config.model else config.editor
        return config.model_copy(update={"model": str(self.model), "editor": editor})

    def is_there(self, config: RunConfig, bound: Binding) -> bool:
        """Return False if the folder that the run's model came from is gone, and no other place is given."""
        was_folder = bool(bound.model) and HUB_COMMIT not in bound.model
        return self.model is not None or not was_folder or Path(config.model).is_dir()


NOT_MOVED = Moved()
