"""Cache of endpoint responses since the last checkpoint, so that nothing is paid for twice.

A run that ends between two checkpoints (killed, a budget spent, an endpoint that fails) starts again at the last one and sends
the same requests with the same seeds: earlier responses then come from ``answers/step_N.jsonl``, N the step of that checkpoint.
The next checkpoint starts a new file and removes the old one: its responses are in the rollouts and in the ledger.
"""

import hashlib
import json
import re
from collections import deque
from pathlib import Path
from typing import Any

from espl_bench.accounting.cost_tracker import ModelRole
from espl_bench.errors import RunDirError
from espl_bench.types import Completion, SampleRequest, StopReason, Usage
from espl_bench.utils import atomic_io, foreign_files, jsonl

FOLDER = "answers"
_NAME = re.compile(r"step_\d+\.jsonl")


def key_of(role: ModelRole, model: str, request: SampleRequest) -> str:
    """Return the key of a request: equal exactly if role, model, conversation, seed and sampling settings are."""
    messages = [[message.role, message.content] for message in request.messages]
    parts = [role.value, model, messages, request.seed, request.max_tokens, request.temperature, request.top_p]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode("ascii")).hexdigest()


class ResponseCache:
    """Responses of one run since one checkpoint. Identical requests are cached as separate entries."""

    def __init__(self) -> None:
        """Make a cache without a file; `open` chooses the file."""
        self._path: Path | None = None
        self._run: Path | None = None
        self._cached: dict[str, deque[Completion]] = {}

    def open(self, run: Path, step: int) -> list[tuple[ModelRole, Usage]]:
        """Open the cache for the interval that starts at checkpoint `step`, loading responses an earlier process recorded there.

        Returns role and usage of each loaded response. Raises RunDirError if a file is damaged or cannot be written.
        """
        self._run = run
        self._path = run / FOLDER / f"step_{step:06d}.jsonl"
        self._cached = {}
        used: list[tuple[ModelRole, Usage]] = []
        try:
            for name in foreign_files.names(self._path.parent, run):
                if _NAME.fullmatch(name) and name != self._path.name:
                    foreign_files.remove(self._path.with_name(name), run)
            for row in self._read():
                completion = _completion(row)
                self._cached.setdefault(row["key"], deque()).append(completion)
                used.append((ModelRole(row["role"]), completion.usage or Usage(0, 0)))
        except OSError as error:
            raise RunDirError(f"cannot read or write {error.filename or self._path} ({error.strerror})") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunDirError(
                f"{self._path} holds a row that is not a response; remove the file, and its requests are sent again"
            ) from error
        return used

    def pop(self, key: str) -> Completion | None:
        """Remove and return a cached response; None if the request must be sent."""
        waiting = self._cached.get(key)
        return waiting.popleft() if waiting else None

    def put(self, key: str, role: ModelRole, completion: Completion) -> None:
        """Write a response to the file. Raises RunDirError if that fails."""
        if self._path is None:
            raise RuntimeError("open the cache first")
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
            foreign_files.make_folder(self._path.parent, self._run)
            atomic_io.append(self._path, jsonl.encode(row), self._run)
        except OSError as error:
            raise RunDirError(f"cannot write {self._path} ({error.strerror})") from error

    def _read(self) -> list[dict[str, Any]]:
        """Read the rows; a last line that a kill left unfinished is cut off."""
        if self._path is None or not foreign_files.exists(self._path, self._run):
            return []
        whole = foreign_files.read_bytes(self._path, self._run).rfind(b"\n") + 1
        atomic_io.truncate(self._path, whole, self._run)
        return jsonl.read_rows(self._path, jsonl.decode, inside=self._run)


def _completion(row: dict[str, Any]) -> Completion:
    usage = Usage(row["prompt_tokens"], row["sampled_tokens"])
    return Completion((), (), row["text"], StopReason(row["stop_reason"]), usage)
