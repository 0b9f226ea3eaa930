"""Base of all records on disk: frozen, strict about keys, with one-line errors."""

from pydantic import BaseModel, ConfigDict, ValidationError


class FrozenRecord(BaseModel):
    """An immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError) -> str:
    """Return the first fault as ``where: what``; ``file`` stands for the whole."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return f"{where}: {first['msg']}"
