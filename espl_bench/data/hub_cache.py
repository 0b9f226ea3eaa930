"""Load a data set from the hub's caches, where the hub must not be asked (``HF_HUB_OFFLINE=1``).

There are two: of prepared sets, which `datasets` fills, and of files, which it and ``hf download`` fill. Offline, `datasets` takes whatever
commit it prepared last; here the commit is compared with the one that is wanted, and recorded.
"""

import re
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.data.data_files import find_files
from espl_bench.data.dataset_spec import DataSource
from espl_bench.data.opening import ending_of
from espl_bench.errors import DataError, reading
from espl_bench.utils import named_files

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def load_offline(datasets: Any, source: DataSource) -> tuple[Any, str | None]:
    """Return the rows of a set and its commit.

    Args:
        datasets: the package.
        source: the set.

    Raises:
        FileNotFoundError: the caches lack the set, or its wanted commit.
        OSError, ValueError: `datasets` cannot load what they hold.
        UsageError: they hold some shards of it and not all.
    """
    try:
        rows = datasets.load_dataset(source.hub_id, source.config, split=source.hub_split)
    except (OSError, ValueError):  # not prepared yet
        rows = None
    commit = None if rows is None else _prepared_commit(rows)
    if rows is not None and _fits(commit, source.revision):
        return rows, commit
    folder = _snapshot(source)
    if folder is None:
        has = "no copy of it" if rows is None else f"it at commit {commit}"
        raise FileNotFoundError(f"HF_HUB_OFFLINE is set, and the cache has {has}")
    _require_whole(folder)
    return datasets.load_dataset(str(folder), source.config, split=source.hub_split), folder.name


def _fits(commit: str | None, wanted: str | None) -> bool:
    """Return True if the prepared commit is the wanted one. A branch is resolved by the cache of files alone."""
    return wanted is None or commit == wanted


def _prepared_commit(rows: Any) -> str | None:
    """Return the commit that a prepared set was made from, which its folder is named by."""
    folders = {Path(file["filename"]).parent.name for file in cast(list[dict[str, str]], rows.cache_files)}
    commits = [name for name in folders if _COMMIT.fullmatch(name)]
    return commits[0] if len(commits) == 1 else None


def _snapshot(source: DataSource) -> Path | None:
    """Return the folder of the wanted commit in the cache of files; of the only one, if none is wanted and no branch is known."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    home = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=source.hub_id, repo_type="dataset")
    snapshots = sorted(path for path in (home / "snapshots").glob("*") if path.is_dir())
    branch = home / "refs" / (source.revision or "main")
    name = _line(branch) if branch.is_file() else source.revision
    if name is None and len(snapshots) == 1:
        return snapshots[0]
    return next((path for path in snapshots if path.name == name), None)


def _line(file: Path) -> str:
    with reading(file, "fetch the set again", DataError):
        return named_files.read_named(file, limit=4096).decode("utf-8", "replace").strip()


def _require_whole(folder: Path) -> None:
    """Raise UsageError if the cache holds some shards of a set and not all: `datasets` would load those."""
    for inside in {path.parent for path in folder.rglob("*") if path.is_file() and ending_of(path)}:
        shards = [path for path in inside.iterdir() if re.search(r"-\d+-of-\d+\.", path.name)]
        if shards:
            find_files(shards)
