"""State of the code that ran: commit and uncommitted changes, if the package is in a git checkout of its own."""

import os
import subprocess
from pathlib import Path
from typing import Any

from espl_bench.utils.redaction import mask_text

DIFF_LIMIT = 1_000_000
"""Maximum bytes of the diff."""
TIMEOUT_S = 5.0
"""Seconds for each git command."""
UNTRACKED_LIMIT = 100
"""Maximum names of untracked files."""


def checkout_state(root: Path) -> dict[str, Any] | None:
    """Return the commit, whether anything differs from it, and the diff.

    None without git, or if `root` is not the top of a checkout: a package installed inside another project must not report that project's
    commit as its own.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    status = _git(root, "status", "--porcelain", "--untracked-files=all")
    if top is None or status is None or Path(top.decode(errors="replace").rstrip("\n")).resolve() != root.resolve():
        return None
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    diff = (_git(root, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD") or b"") if commit else b""
    lines = status.decode("utf-8", errors="replace").splitlines()
    untracked = [line[3:] for line in lines if line.startswith("?? ")]
    return {
        "commit": commit.decode("ascii").strip() if commit else None,
        "dirty": bool(lines),
        "untracked": untracked[:UNTRACKED_LIMIT],
        "diff": mask_text(diff[:DIFF_LIMIT].decode("utf-8", errors="replace")),
        "diff_truncated": len(diff) > DIFF_LIMIT,
    }


def _git(root: Path, *arguments: str) -> bytes | None:
    """Return the output of a read-only git command, at most one byte more than `DIFF_LIMIT`; None if it fails or takes too long."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(root), *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # e.g. a hook's GIT_DIR
    try:
        done = subprocess.run(command, env=plain, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout[: DIFF_LIMIT + 1] if done.returncode == 0 else None
