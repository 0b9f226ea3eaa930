"""What every record on disk shares: it is frozen, it refuses unknown keys, and its first fault fits in one line."""

from pydantic import BaseModel, ConfigDict, ValidationError


class FrozenRecord(BaseModel):
    """A pydantic model that cannot change and that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError) -> str:
    """Return the first fault as ``where: what``; ``file`` stands for the whole."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return f"{where}: {first['msg']}"
