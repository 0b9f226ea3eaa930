import asyncio

import pytest
from checked import present
from cli_fixtures import make_summary
from run_dir_fixtures import (
    advance,
    check_committed,
    commit,
    expected_logs,
    found_logs,
    make_ledger,
    population_at,
    snapshot,
    start,
    weights_at,
)

from espl_bench.errors import CheckpointError, RunDirError
from espl_bench.evolution.population import Population
from espl_bench.runs.logs import Log


def ran(path, steps):
    run = start(path)
    asyncio.run(advance(run, steps))
    return run


def checkpoints(path):
    return sorted(folder.name for folder in (path / "checkpoints").iterdir())


def test_a_commit_comes_back_as_it_was_made(tmp_path):
    run = ran(tmp_path, 7)
    found = present(run.last_commit())
    assert (found.step, found.folder) == (7, tmp_path / "checkpoints" / "step_000007")
    assert found.population == population_at(7)
    assert Population.from_json(found.population).newest.principles == ("step 7", "naïve √2")
    assert found.ledger == make_ledger(7)
    assert found.log_sizes == {log: len(data) for log, data in expected_logs(7).items()}
    assert (found.folder / "adapter.bin").read_bytes() == weights_at(7)


def test_the_newest_two_checkpoints_stay(tmp_path):
    run = start(tmp_path)
    kept = []
    for step in range(5):
        asyncio.run(commit(run, step, weights_at(step)))
        kept.append(checkpoints(tmp_path))
    assert kept[0] == ["step_000000"]
    assert kept[1] == ["step_000000", "step_000001"]
    assert kept[4] == ["step_000003", "step_000004"]


def test_the_engine_writes_into_an_empty_folder_and_folders_inside_are_verified_too(tmp_path):
    run = start(tmp_path)
    seen = []

    async def save(folder):
        seen.append(list(folder.iterdir()))
        (folder / "part").mkdir()
        (folder / "part" / "weights").write_bytes(b"abc")

    leftover = tmp_path / "checkpoints" / ".part-step_000000"
    leftover.mkdir()
    (leftover / "old").write_text("of a killed commit")
    asyncio.run(run.commit(0, population_at(0), make_ledger(), save))
    assert seen == [[]]
    assert checkpoints(tmp_path) == ["step_000000"]
    weights = tmp_path / "checkpoints" / "step_000000" / "part" / "weights"
    weights.write_bytes(b"abd")
    with pytest.raises(CheckpointError, match=r"part/weights is damaged"):
        run.last_commit()


def test_a_save_that_fails_or_is_cancelled_commits_nothing(tmp_path):
    run = ran(tmp_path, 3)
    before = snapshot(tmp_path)

    async def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("engine fault")

    async def hang(folder):
        (folder / "half").write_text("x")
        await asyncio.sleep(60)

    async def cancelled():
        task = asyncio.create_task(run.commit(4, population_at(4), make_ledger(4), hang))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(RuntimeError, match="engine fault"):
        asyncio.run(run.commit(4, population_at(4), make_ledger(4), fail))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert snapshot(tmp_path) == before
    assert checkpoints(tmp_path) == ["step_000000", "step_000003"]


def test_committing_the_newest_step_again_replaces_it(tmp_path):
    run = ran(tmp_path, 3)
    run.append(Log.METRICS, {"more": 1})
    asyncio.run(commit(run, 3, weights_at(3)))
    assert present(run.last_commit()).log_sizes[Log.METRICS] == (tmp_path / "metrics.jsonl").stat().st_size
    assert checkpoints(tmp_path) == ["step_000000", "step_000003"]


def test_an_earlier_step_cannot_be_committed(tmp_path):
    run = ran(tmp_path, 3)
    with pytest.raises(ValueError, match="step 2 cannot be committed after step 3"):
        asyncio.run(commit(run, 2, weights_at(2)))


# Rewinding


def test_rewinding_takes_back_everything_since_the_commit(tmp_path):
    run = ran(tmp_path, 6)
    before = snapshot(tmp_path)
    for log in Log:
        run.append(log, {"later": 1})
    run.write_rollouts(7, [{"later": 1}])
    run.write_summary(make_summary())
    (tmp_path / "checkpoints" / ".part-step_000009").mkdir()
    (tmp_path / "rollouts" / ".part-step_000008.jsonl").write_text("{")
    (tmp_path / ".part-summary.json").write_text("{")
    run.rewind(present(run.last_commit()))
    assert snapshot(tmp_path) == before
    assert not list(tmp_path.rglob(".part-*"))
    run.rewind(present(run.last_commit()))
    assert snapshot(tmp_path) == before


def test_a_resumed_run_ends_like_an_unbroken_one_byte_for_byte(tmp_path):
    class KilledError(Exception):
        pass

    def kill_at(fatal):
        def on_step(step):
            if step == fatal:
                raise KilledError

        return on_step

    ran(tmp_path / "unbroken", 14)
    broken = start(tmp_path / "broken")
    for fatal in (1, 2, 5, 6, 11):
        with pytest.raises(KilledError):
            asyncio.run(advance(broken, 14, kill_at(fatal)))
    asyncio.run(advance(broken, 14))
    assert snapshot(tmp_path / "broken") == snapshot(tmp_path / "unbroken")


def test_restarting_leaves_the_run_as_it_was_made(tmp_path):
    run = start(tmp_path)
    before = snapshot(tmp_path)
    run.append(Log.POPULATION, {"event": "born"})
    run.write_rollouts(1, [{}])
    run.restart()
    assert snapshot(tmp_path) == before


def test_a_log_that_lost_committed_rows_is_named_and_nothing_is_changed(tmp_path):
    run = ran(tmp_path, 6)
    found = run.last_commit()
    path = tmp_path / "population.jsonl"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    run.append(Log.METRICS, {"later": 1})
    before = snapshot(tmp_path)
    with pytest.raises(RunDirError) as error:
        run.rewind(present(found))
    assert f"{path} has {size - 1} bytes, but {size} were committed; restore the file from a copy" in str(error.value)
    assert snapshot(tmp_path) == before
    path.unlink()
    with pytest.raises(RunDirError, match=r"population\.jsonl has 0 bytes"):
        run.rewind(present(found))


# Damage


def test_any_flipped_bit_in_a_checkpoint_is_found_and_the_way_on_is_named(tmp_path):
    run = ran(tmp_path, 6)
    folder = tmp_path / "checkpoints" / "step_000006"
    for path in sorted(folder.iterdir()):
        sound = path.read_bytes()
        for place in range(0, len(sound), 1 if len(sound) < 700 else 37):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError) as error:
                run.last_commit()
            text = str(error.value)
            assert text.startswith(str(path)) and "\n" not in text, (path, place)
            assert text.endswith(f"; delete {folder} to resume from step 3")
        path.write_bytes(sound)
    assert present(run.last_commit()).step == 6


@pytest.mark.parametrize("name", ["commit.json", "adapter.bin", "adapter_config.json"])
@pytest.mark.parametrize("content", [None, b"", b"null\n", b"{}\n"])
def test_a_missing_or_emptied_file_is_named(tmp_path, name, content):
    run = ran(tmp_path, 3)
    path = tmp_path / "checkpoints" / "step_000003" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        run.last_commit()
    assert str(error.value).startswith(f"{path} is {'missing' if content is None else 'damaged'}")


def test_following_the_advice_resumes_from_the_older_checkpoint_to_the_same_end(tmp_path):
    unbroken = tmp_path / "unbroken"
    ran(unbroken, 9)
    run = ran(tmp_path / "run", 6)
    (tmp_path / "run" / "checkpoints" / "step_000006" / "adapter.bin").write_bytes(b"?")
    with pytest.raises(CheckpointError, match=r"delete (.*) to resume from step 3"):
        run.last_commit()
    for path in (tmp_path / "run" / "checkpoints" / "step_000006").iterdir():
        path.unlink()
    (tmp_path / "run" / "checkpoints" / "step_000006").rmdir()
    assert check_committed(tmp_path / "run") == 3
    asyncio.run(advance(run, 9))
    assert snapshot(tmp_path / "run") == snapshot(unbroken)


def test_without_a_sound_older_checkpoint_the_advice_is_to_start_again(tmp_path):
    run = ran(tmp_path, 3)
    for folder in (tmp_path / "checkpoints").iterdir():
        (folder / "adapter.bin").unlink()
    with pytest.raises(CheckpointError, match="no older checkpoint is sound: start the run again with another --out"):
        run.last_commit()


def test_a_checkpoint_in_the_wrong_folder_is_refused(tmp_path):
    run = ran(tmp_path, 3)
    folder = tmp_path / "checkpoints" / "step_000003"
    folder.rename(folder.with_name("step_000004"))
    with pytest.raises(CheckpointError, match="belongs to step 3"):
        run.last_commit()


def test_the_logs_of_an_unbroken_run_are_what_was_written(tmp_path):
    ran(tmp_path, 8)
    assert found_logs(tmp_path) == expected_logs(8)
