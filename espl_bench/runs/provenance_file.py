"""`provenance.json` of a run, as it is read again: when and with what the run was started, and what changed since then."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from espl_bench.environment.identity import DECLARED
from espl_bench.errors import RunDirError, reading
from espl_bench.runs.binding import AllowedChange, Binding, Change, KnownBinding
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object
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

    def read(self) -> dict[str, Any]:
        """Return all of it."""
        return self._read()

    def facts(self) -> Mapping[str, Any]:
        """Return the facts about data, models and objects."""
        return self._object(self._read().get("facts", {}), "facts")

    def data_identity(self) -> dict[str, str]:
        """Return the hashes that two runs are compared by; empty for a version that did not hash generated items."""
        data = self._object(self.facts().get(DATA_FACTS, {}), DATA_FACTS)
        hashes = self._object(data.get(IDENTITY, {}), IDENTITY)
        if wrong := next((name for name, hashed in hashes.items() if not isinstance(hashed, str)), None):
            raise RunDirError(f"{self.path} is damaged (the {IDENTITY} of {wrong} is no text); {REMEDY}")
        return hashes

    def started(self) -> datetime | None:
        """Return when the run was started; None if it is not recorded."""
        recorded = self._read().get("started_utc")
        try:
            return None if recorded is None else datetime.fromisoformat(recorded)
        except (TypeError, ValueError) as error:
            raise RunDirError(f"{self.path} is damaged (started_utc is no time); {REMEDY}") from error

    def first_binding(self) -> Binding | None:
        """Return what the run was bound to at its start; None for a run older than bindings."""
        recorded = self._read().get(BINDING)
        return None if recorded is None else self._parsed(Binding, recorded)

    def present_binding(self) -> Binding | None:
        """Return what the run is bound to after every allowed change; None for a run older than bindings."""
        first = self.first_binding()
        return None if first is None else self._after(first, self.allowed_changes())

    def known_binding(self, step: int | None, bound: Binding | None) -> KnownBinding:
        """Return what is known of the binding that a run goes on from, with the changes that were allowed there.

        Args:
            step: the commit's; None: the run starts again.
            bound: what the commit says; None: it is older than bindings, and only the model's files and declared data are known.
        """
        allowed_here = [change for change in self.allowed_changes() if change.step == step]
        if bound is not None:
            return KnownBinding(self._after(bound, allowed_here))
        model = self._object(self._object(self._read().get("model", {}), "model").get("fingerprint") or {}, "fingerprint")
        items = {f"{DECLARED}{name}": hashed for name, hashed in self.data_identity().items()}
        older = self._parsed(Binding, {"model": model.get("files", {}), "items": items})
        return KnownBinding(self._after(older, allowed_here), complete=False)

    def allowed_changes(self) -> tuple[AllowedChange, ...]:
        """Return what a resume was told to accept, in order."""
        recorded = self._read().get(ALLOWED, [])
        if not isinstance(recorded, list):
            raise RunDirError(f"{self.path} is damaged ({ALLOWED} is not a list); {REMEDY}")
        return tuple(self._parsed(AllowedChange, change) for change in cast(list[object], recorded))

    def bound_summary(self) -> str | None:
        """Return the hash of the summary that the run wrote at its end; None if it is not finished, or older than the hash."""
        recorded = self._read().get(SUMMARY_HASH)
        return recorded if isinstance(recorded, str) else None

    def bind_summary(self, sha256: str | None) -> None:
        """Record the hash of the run's summary; None: the run has none any more. A full disk is an OSError."""
        recorded = self._read()
        bound = {name: value for name, value in recorded.items() if name != SUMMARY_HASH}
        bound |= {} if sha256 is None else {SUMMARY_HASH: sha256}
        if bound != recorded:
            atomic_io.write_atomic(self.path, [atomic_io.indented(bound)])

    def allow(self, changes: Iterable[Change], step: int | None) -> None:
        """Add changes that the run goes on with from a commit, or from its start. A full disk is an OSError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = [AllowedChange(**change.model_dump(), step=step, utc=now).model_dump(mode="json") for change in changes]
        if added:
            record = self._read()
            atomic_io.write_atomic(self.path, [atomic_io.indented({**record, ALLOWED: [*record.get(ALLOWED, []), *added]})])

    def _read(self) -> dict[str, Any]:
        try:
            with reading(self.path, REMEDY):
                return parse_object(foreign_files.read_record(self.path))
        except InvalidJsonError as error:
            raise RunDirError(f"{self.path} is damaged ({error}); {REMEDY}") from error

    def _object(self, value: object, name: str) -> dict[str, Any]:
        """Return a part that is an object. Raises RunDirError naming it."""
        if not isinstance(value, dict):
            raise RunDirError(f"{self.path} is damaged ({name} is not an object); {REMEDY}")
        return cast(dict[str, Any], value)

    def _after(self, binding: Binding, changes: Collection[AllowedChange]) -> Binding:
        try:
            return binding.after(changes)
        except ValidationError as error:
            raise RunDirError(f"{self.path} is damaged ({first_fault(error)}); {REMEDY}") from error

    def _parsed(self, record: type[Record], value: object) -> Record:
        try:
            return record.model_validate(value)
        except ValidationError as error:
            raise RunDirError(f"{self.path} is damaged ({first_fault(error)}); {REMEDY}") from error
