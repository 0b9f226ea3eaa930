"""What endpoints have answered since the last commit, so that nothing is paid for twice.

A run that ends between two commits (killed, a budget spent, an endpoint that fails) begins again at the last one and asks the
same requests with the same seeds: what was answered before is then taken from ``answers/step_N.jsonl``, N the step of that
commit. A later commit begins a new file and removes the old one: its answers are in the rollouts and in the ledger.
"""

import hashlib
import json
from collections import deque
from pathlib import Path
from typing import Any

from espl_bench.accounting.budget import ModelRole
from espl_bench.errors import RunDirError
from espl_bench.types import Completion, SampleRequest, StopReason, Usage
from espl_bench.utils import atomic_io, jsonl

FOLDER = "answers"


def key_of(role: ModelRole, model: str, request: SampleRequest) -> str:
    """Names a request: the same exactly if role, model, conversation, seed and sampling are."""
    messages = [[message.role, message.content] for message in request.messages]
    parts = [role.value, model, messages, request.seed, request.max_tokens, request.temperature, request.top_p]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode("ascii")).hexdigest()


class ResponseCache:
    """The answers of one run since one commit. A request that was asked twice was answered twice."""

    def __init__(self) -> None:
        """Nowhere yet: `begin` says where."""
        self._path: Path | None = None
        self._kept: dict[str, deque[Completion]] = {}

    def begin(self, run: Path, step: int) -> list[tuple[ModelRole, Usage]]:
        """Keep what is answered after the commit of `step`, and know again what was answered after it before.

        Returns what the latter has used. Raises RunDirError if a file is damaged or cannot be written.
        """
        self._path = run / FOLDER / f"step_{step:06d}.jsonl"
        self._kept = {}
        used: list[tuple[ModelRole, Usage]] = []
        try:
            for old in set(self._path.parent.glob("step_*.jsonl")) - {self._path}:
                old.unlink()
            for row in self._read():
                completion = _completion(row)
                self._kept.setdefault(row["key"], deque()).append(completion)
                used.append((ModelRole(row["role"]), completion.usage or Usage(0, 0)))
        except OSError as error:
            raise RunDirError(f"cannot read or write {error.filename or self._path} ({error.strerror})") from error
        except (KeyError, TypeError, ValueError) as error:
            raise RunDirError(f"{self._path} holds a row that is no answer; remove the file, and what it held is asked again") from error
        return used

    def take(self, key: str) -> Completion | None:
        """An answer from before, which is then taken; None if the request must be asked."""
        waiting = self._kept.get(key)
        return waiting.popleft() if waiting else None

    def keep(self, key: str, role: ModelRole, completion: Completion) -> None:
        """Write an answer down. Raises RunDirError if that fails."""
        if self._path is None:
            raise RuntimeError("begin first")
        usage = completion.usage or Usage(0, 0)
        row = {
            "key": key,
            "role": role.value,
            "text": completion.text,
            "stop_reason": completion.stop_reason.value,
            "prompt_tokens": usage.prompt,
            "sampled_tokens": usage.sampled,
        }
        try:
            self._path.parent.mkdir(exist_ok=True)
            atomic_io.append(self._path, jsonl.encode(row))
        except OSError as error:
            raise RunDirError(f"cannot write {self._path} ({error.strerror})") from error

    def _read(self) -> list[dict[str, Any]]:
        """The rows; a last line that a kill left unfinished is cut off."""
        if self._path is None or not self._path.exists():
            return []
        whole = self._path.read_bytes().rfind(b"\n") + 1
        atomic_io.truncate(self._path, whole)
        return jsonl.read_rows(self._path, jsonl.decode)


def _completion(row: dict[str, Any]) -> Completion:
    usage = Usage(row["prompt_tokens"], row["sampled_tokens"])
    return Completion((), (), row["text"], StopReason(row["stop_reason"]), usage)
