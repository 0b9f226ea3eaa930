"""Folders of temporary files that live as long as their processes, told by their locks and by no process id."""

import os
import subprocess
import sys
from pathlib import Path

from espl_bench.utils.living_folder import LOCK, LivingFolder, remove_dead

PREFIX = "espl-bench-adapters-"
KEEPER = """
import sys
from pathlib import Path
from espl_bench.utils.living_folder import LivingFolder
own = LivingFolder(Path(sys.argv[1]), sys.argv[2])
print(own.path, flush=True)
sys.stdin.read()
"""


def keeper(home: Path, prefix: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(home), prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_living_process_keeps_its_folder_though_its_id_is_of_no_process_here(tmp_path: Path):
    """As in a container, which shares the memory but numbers its processes anew."""
    process = keeper(tmp_path, f"{PREFIX}999999999-")
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    remove_dead(tmp_path, PREFIX)
    assert folder.is_dir()
    process.kill()
    process.communicate()
    assert folder.is_dir(), "a kill leaves it"
    remove_dead(tmp_path, PREFIX)
    assert not folder.exists()


def test_a_dead_process_keeps_nothing_though_its_id_is_taken(tmp_path: Path):
    left = tmp_path / f"{PREFIX}{os.getpid()}-left"
    left.mkdir()
    (left / LOCK).touch()
    remove_dead(tmp_path, PREFIX)
    assert not left.exists()


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path):
    (victim := tmp_path / "victim").mkdir()
    (victim / LOCK).touch()
    (tmp_path / f"{PREFIX}1-link").symlink_to(victim)
    (tmp_path / f"{PREFIX}1-being-made").mkdir()
    (fifo := tmp_path / f"{PREFIX}1-fifo").mkdir()
    os.mkfifo(fifo / LOCK)
    if os.geteuid() == 0:
        (others := tmp_path / f"{PREFIX}1-others").mkdir()
        (others / LOCK).touch()
        os.chown(others, 12345, -1)
    before = sorted(tmp_path.rglob("*"))
    remove_dead(tmp_path, PREFIX)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_end_of_its_owner_removes_it_and_only_its_user_can_read_it(tmp_path: Path):
    own = LivingFolder(tmp_path, PREFIX)
    assert own.path.stat().st_mode & 0o777 == 0o700
    own.close()
    assert list(tmp_path.iterdir()) == []
