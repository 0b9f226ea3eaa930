"""`provenance.json` of a run, as it is read again: when and with what the run was started, and what changed since then."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from espl_bench.environment.identity import DECLARED
from espl_bench.errors import RunDirError
from espl_bench.runs.binding import AllowedChange, Binding, Change, KnownBinding
from espl_bench.utils import atomic_io
from espl_bench.utils.validation import FrozenRecord, first_fault

DATA_FACTS = "data"
"""Key in the facts for an environment's data."""
IDENTITY = "identity"
"""Key in the data facts: split → hash."""
GIVEN_FACTS = "given"
"""Key in the facts for the objects that a run was started with from Python."""
BINDING = "binding"
"""Key for what the run's numbers depend on, at its start."""
ALLOWED = "allowed_changes"
"""Key for what differed when the run was resumed, and was allowed to."""
SUMMARY_HASH = "summary_sha256"
"""Key for the hash of what the run's summary says."""

REMEDY = "restore it from a copy, or start a new run"
Record = TypeVar("Record", bound=FrozenRecord)


@dataclass(frozen=True, slots=True)
class ProvenanceFile:
    """The file of one run. Every method reads it anew, and raises RunDirError if it is damaged."""

    path: Path

    def facts(self) -> Mapping[str, Any]:
        """Return the facts about data, models and objects."""
        return self._read().get("facts", {})

    def data_identity(self) -> dict[str, str]:
        """Return the hashes that two runs are compared by; empty for a version that did not hash generated items."""
        return dict(self.facts().get(DATA_FACTS, {}).get(IDENTITY, {}))

    def started(self) -> datetime | None:
        """Return when the run was started; None if it is not recorded."""
        recorded = self._read().get("started_utc")
        return None if recorded is None else datetime.fromisoformat(recorded)

    def first_binding(self) -> Binding | None:
        """Return what the run was bound to at its start; None for a run older than bindings."""
        recorded = self._read().get(BINDING)
        return None if recorded is None else self._parsed(Binding, recorded)

    def present_binding(self) -> Binding | None:
        """Return what the run is bound to after every allowed change; None for a run older than bindings."""
        first = self.first_binding()
        return None if first is None else first.after(self.allowed_changes())

    def known_binding(self, step: int | None, bound: Binding | None) -> KnownBinding:
        """Return what is known of the binding that a run goes on from, with the changes that were allowed there.

        Args:
            step: the commit's; None: the run starts again.
            bound: what the commit says; None: it is older than bindings, and only the model's files and declared data are known.
        """
        allowed_here = [change for change in self.allowed_changes() if change.step == step]
        if bound is not None:
            return KnownBinding(bound.after(allowed_here))
        model: Mapping[str, Any] = self._read().get("model", {}).get("fingerprint") or {}
        items = {f"{DECLARED}{name}": hashed for name, hashed in self.data_identity().items()}
        return KnownBinding(Binding(model=model.get("files", {}), items=items).after(allowed_here), complete=False)

    def allowed_changes(self) -> tuple[AllowedChange, ...]:
        """Return what a resume was told to accept, in order."""
        return tuple(self._parsed(AllowedChange, change) for change in self._read().get(ALLOWED, []))

    def bound_summary(self) -> str | None:
        """Return the hash of the summary that the run wrote at its end; None if it is not finished, or older than the hash."""
        recorded = self._read().get(SUMMARY_HASH)
        return recorded if isinstance(recorded, str) else None

    def bind_summary(self, sha256: str) -> None:
        """Record the hash of the run's summary. A full disk is an OSError."""
        atomic_io.write_atomic(self.path, [atomic_io.indented({**self._read(), SUMMARY_HASH: sha256})])

    def allow(self, changes: Iterable[Change], step: int | None) -> None:
        """Add changes that the run goes on with from a commit, or from its start. A full disk is an OSError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = [AllowedChange(**change.model_dump(), step=step, utc=now).model_dump(mode="json") for change in changes]
        if added:
            record = self._read()
            atomic_io.write_atomic(self.path, [atomic_io.indented({**record, ALLOWED: [*record.get(ALLOWED, []), *added]})])

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise RunDirError(f"{self.path} cannot be read ({error}); {REMEDY}") from error

    def _parsed(self, record: type[Record], value: object) -> Record:
        try:
            return record.model_validate(value)
        except ValidationError as error:
            raise RunDirError(f"{self.path} is damaged ({first_fault(error)}); {REMEDY}") from error
