"""A file may not choose where secrets go: what a configuration from disk connects to is confirmed by the user, or was chosen by them.

A run that this user started on this machine goes on as it is: a private record in the user's state folder holds, for each run, its place,
the hash of its configuration and what it connects to. A copy of the run elsewhere, another configuration in its place, or a record that
others can write, does not count, so there is nothing that a stranger could bring along. Everything else is named in one line, and needs
``--contact PLACE`` and ``--send-key NAME`` on the command line, or an entry in the user's own ``trust.toml``.
"""

import hashlib
import os
import shlex
import tomllib
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import platformdirs

from espl_bench.config.contacts import Contact, contacts_of, contacts_of_environment
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import UsageError
from espl_bench.runs.run_dir import CONFIG, RunDir
from espl_bench.utils import atomic_io, foreign_files, key_names
from espl_bench.utils.foreign_files import RECORD_BYTES
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object
from espl_bench.utils.named_files import decoded, open_named

APP: Final = "espl-bench"
TRUST: Final = "trust.toml"
"""The user's own list, in the user's configuration folder: ``contacts = ["http://lab:8000/v1"]`` and ``keys = ["LAB_KEY"]``."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What the user has confirmed."""

    contacts: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, contacts: Collection[str] | None, keys: Collection[str] | None) -> "Consent":
        """Make it from options."""
        return cls(frozenset(contacts or ()), frozenset(keys or ()))

    @classmethod
    def to(cls, contacts: Iterable[Contact]) -> "Consent":
        """Return the consent that covers contacts, for those that the caller has chosen."""
        listed = list(contacts)
        return cls(frozenset(contact.place for contact in listed), frozenset(contact.key for contact in listed if contact.key))

    def flags(self) -> list[str]:
        """Return it as command-line arguments."""
        return [f"--contact={place}" for place in sorted(self.contacts)] + [f"--send-key={name}" for name in sorted(self.keys)]

    @classmethod
    def parse(cls, flags: Iterable[str]) -> "Consent":
        """Read what `flags` returns."""
        pairs = [flag.partition("=") for flag in flags]
        return cls.of(
            [value for flag, _, value in pairs if flag == "--contact"], [value for flag, _, value in pairs if flag == "--send-key"]
        )

    def covers(self, contact: Contact) -> bool:
        """Return whether a contact is confirmed, with what it gets."""
        return contact.place in self.contacts and (contact.key is None or contact.key in self.keys)

    def __or__(self, other: "Consent") -> "Consent":
        """Return both together."""
        return Consent(self.contacts | other.contacts, self.keys | other.keys)


NO_CONSENT: Final = Consent()


@dataclass(frozen=True, slots=True)
class Origin:
    """A file on disk that chooses contacts."""

    place: str
    """Absolute path, or a URL."""
    content: bytes

    @classmethod
    def of(cls, path: Path, place: Path | None = None) -> "Origin":
        """Read a file; `place` is what it stands for, such as the folder of a run. Raises OSError."""
        return cls(str((place or path).resolve()), foreign_files.read_record(path))

    def is_own(self, contacts: Sequence[Contact]) -> bool:
        """Return whether this user has put this file there, or confirmed it, with these contacts."""
        try:
            path = self._record()
            status = path.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return False
            recorded = parse_object(foreign_files.read_record(path))
        except (OSError, InvalidJsonError):
            return False
        known = recorded.get("contacts", [])
        return {**self._entry(contacts), "contacts": known} == recorded and all(_entry_of(contact) in known for contact in contacts)

    def remember(self, contacts: Sequence[Contact]) -> None:
        """Record that this user has chosen the contacts. A state folder that cannot be written only means to be asked again."""
        if not contacts:
            return
        with suppress(OSError):
            path = self._record()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with foreign_files.open_folder(path.parent) as folder:
                part, descriptor = folder.create()
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(atomic_io.indented(self._entry(contacts)))
            foreign_files.rename(path.with_name(part), path)

    def _record(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.place)).hexdigest()[:32]
        return platformdirs.user_state_path(APP) / "own" / f"{name}.json"

    def _entry(self, contacts: Sequence[Contact]) -> dict[str, Any]:
        entries = [_entry_of(contact) for contact in contacts]
        return {"place": self.place, "sha256": hashlib.sha256(self.content).hexdigest(), "contacts": entries}


def confirm(chosen: Iterable[tuple[Origin, Sequence[Contact]]], consent: Consent, command: str) -> None:
    """Let what files choose pass, and allow the keys it sends; what is confirmed is remembered.

    Args:
        chosen: files with the contacts that they choose.
        consent: what the command line confirms.
        command: for the message: the command to repeat.

    Raises:
        UsageError: in one line, with every contact that is not confirmed and the options that confirm it.
    """
    listed = [(origin, contacts) for origin, contacts in chosen if contacts]
    if not listed:
        return
    given = consent | own_consent()
    foreign = [(origin, contacts) for origin, contacts in listed if not origin.is_own(contacts)]
    missing = [contact for _, contacts in foreign for contact in contacts if not given.covers(contact)]
    if missing:
        wanted = Consent.to(missing)
        new = Consent(wanted.contacts - given.contacts, wanted.keys - given.keys)
        flags = " ".join(shlex.quote(flag) for flag in (consent | new).flags())
        shown = "; ".join(str(contact) for contact in dict.fromkeys(missing))
        whose = f"{foreign[0][0].place} was not put there by you on this machine"
        raise UsageError(f"{whose}, and would connect to {shown}; if you mean that: {command} {flags}")
    for origin, contacts in foreign:
        origin.remember(contacts)
    for _, contacts in listed:
        allow_keys_of(contacts)


def confirm_run(run_dir: RunDir, config: RunConfig, consent: Consent, command: str) -> None:
    """`confirm` what the configuration of a run chooses. Raises UsageError."""
    confirm([(Origin.of(run_dir.path / CONFIG, run_dir.path), contacts_of(config))], consent, command)


def confirm_items(run_dir: RunDir, config: RunConfig, consent: Consent = NO_CONSENT) -> None:
    """`confirm` what reading a run's items connects to, if its environment asks for them. Nothing else is reached to read a run.

    Raises UsageError.
    """
    if find_environment(config.env, config.env_options).asks_for_items:
        chosen = list(contacts_of_environment(config))
        confirm([(Origin.of(run_dir.path / CONFIG, run_dir.path), chosen)], consent, f"espl-bench verify {shlex.quote(str(run_dir.path))}")


def allow_keys_of(contacts: Iterable[Contact]) -> None:
    """Allow the keys of contacts that the caller has chosen."""
    key_names.allow(contact.key for contact in contacts if contact.key)


def own_consent() -> Consent:
    """Return what the user's own configuration allows. Raises UsageError if it is no such file, or others can write it."""
    path = platformdirs.user_config_path(APP) / TRUST
    try:
        with open_named(path, RECORD_BYTES) as file:
            status, content = os.fstat(file.fileno()), file.read()
        values = tomllib.loads(decoded(content))
    except FileNotFoundError:
        return NO_CONSENT
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); mend or remove it") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise UsageError(f"{path} can be written by others, so it cannot say whom you trust; make it yours alone: chmod go-w")
    for name, value in values.items():
        listed = cast(list[object], value) if isinstance(value, list) else [None]
        if name not in ("contacts", "keys") or not all(isinstance(item, str) for item in listed):
            raise UsageError(f"{path} has lists of texts named contacts and keys, not {name} = {value!r}")
    return Consent.of(values.get("contacts"), values.get("keys"))


def _entry_of(contact: Contact) -> list[str]:
    return [contact.place, contact.key or ""]
