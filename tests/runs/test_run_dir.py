import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from checked import present
from cli_fixtures import make_summary
from run_dir_fixtures import commit, make_config, rollouts_at, snapshot, start, weights_at

from espl_bench.errors import RunDirError, UsageError
from espl_bench.runs.logs import Log
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode, encode

ROOT = Path(__file__).resolve().parents[2]


def assert_one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


# Making and opening


def test_a_new_run_holds_its_configuration_and_provenance(tmp_path):
    path = tmp_path / "deep" / "down" / "run"
    config = make_config(lr=1 / 3, env_options={"world": 7, "naïve": [1, 2]})
    RunDir.create(path, config, {"b": 1, "a": "√"})
    assert RunDir.open(path).config() == config
    assert json.loads((path / "provenance.json").read_text("utf-8")) == {"a": "√", "b": 1}
    assert not any(RunDir.open(path).read_log(log, decode) for log in Log)
    assert RunDir.open(path).last_commit() is None
    assert RunDir.open(path).rollout_steps() == []


def test_equal_configurations_give_equal_bytes(tmp_path):
    texts = []
    for name in "ab":
        start(tmp_path / name, lr=0.1)
        texts.append((tmp_path / name / "config.json").read_bytes())
    assert texts[0] == texts[1]
    assert texts[0].startswith(b'{\n  "schema": "espl-bench/config/2",\n  "method": {\n') and texts[0].endswith(b"}\n")


def test_a_folder_that_holds_a_run_is_not_started_again(tmp_path):
    path = tmp_path / "my run"
    start(path)
    before = snapshot(path)
    with pytest.raises(RunDirError) as error:
        start(path, seed=5)
    assert_one_line(error, f"{path} already holds a run; resume it with `espl-bench resume '{path}'` or choose another --out")
    assert snapshot(path) == before


def test_a_folder_without_a_configuration_is_started_anew(tmp_path):
    start(tmp_path)
    (tmp_path / "config.json").unlink()  # as if killed just before the last write of `create`
    (tmp_path / "metrics.jsonl").write_text("left over")
    run = start(tmp_path)
    assert run.read_log(Log.METRICS, decode) == []


def test_a_folder_without_a_run_cannot_be_opened(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunDirError) as error:
            RunDir.open(path)
        assert_one_line(error, path, "holds no run", "config.json", "espl-bench run")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(RunDirError) as error:
            start(path)
        assert_one_line(error, path, "choose another --out")


def test_a_folder_that_may_not_be_written_is_named():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            for path in (folder, folder / "run"):
                with pytest.raises(RunDirError) as error:
                    start(path)
                assert_one_line(error, path, "Permission denied", "choose another --out")
        finally:
            os.seteuid(user)


def test_a_damaged_configuration_is_named(tmp_path):
    run = start(tmp_path)
    (tmp_path / "config.json").write_text('{"method": ')
    with pytest.raises(UsageError) as error:
        run.config()
    assert_one_line(error, tmp_path / "config.json")


# Refusing another configuration


def test_the_same_configuration_is_not_refused(tmp_path):
    start(tmp_path, lr=1 / 3, root_principles=("a",), env_options={"world": 1}).refuse_changes(
        make_config(lr=1 / 3, root_principles=("a",), env_options={"world": 1})
    )


def test_every_difference_is_shown_by_its_dotted_name(tmp_path):
    run = start(tmp_path, root_principles=("old words",), env_options={"world": 1})
    wanted = make_config(
        lr=1e-3,
        method=make_config().method.varied(selector="ucb"),
        root_principles=("new words", "more"),
        env_options={"world": 2, "hard": True},
    )
    with pytest.raises(UsageError) as error:
        run.refuse_changes(wanted)
    assert_one_line(
        error,
        f"{tmp_path} was started with another configuration: method.selector top_plus_random -> ucb, env_options.world 1 -> 2, ",
        'lr 4e-05 -> 0.001, root_principles.0 "old words" -> "new words", env_options.hard (none) -> true, '
        "root_principles.1 (none) -> more; resume it without these options, or start a new run with another --out",
    )


def test_of_long_values_the_part_that_differs_is_shown(tmp_path):
    same = "the same words " * 20
    run = start(tmp_path, root_principles=(same + "FIRST\nline",))
    with pytest.raises(UsageError) as error:
        run.refuse_changes(make_config(root_principles=(same + "SECOND",)))
    assert_one_line(error, "FIRST\\nline", "SECOND")
    assert len(str(error.value)) < 400


# Logs


def test_a_log_gives_back_its_rows_in_order(tmp_path):
    run = start(tmp_path)
    rows = [{"step": step, "text": "line\u2028break \x85 √ \ud800\n", "value": 0.1 + 0.2, "list": (1, None)} for step in range(3)]
    for row in rows:
        run.append(Log.METRICS, row)
    assert run.read_log(Log.METRICS, decode) == [row | {"list": [1, None]} for row in rows]
    assert run.read_log(Log.TIMING, decode) == []


def test_the_same_row_gives_the_same_bytes_whatever_the_order_of_its_keys():
    assert encode({"b": 1, "a": {"d": 0.1, "c": 2}}) == encode({"a": {"c": 2, "d": 0.1}, "b": 1}) == b'{"a":{"c":2,"d":0.1},"b":1}\n'


def test_numbers_that_json_lacks_become_null():
    assert encode({"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.0}) == b'{"a":null,"b":[null,{"c":null}],"d":1.0}\n'


def test_a_row_that_cannot_be_written_leaves_the_log_alone(tmp_path):
    run = start(tmp_path)
    run.append(Log.METRICS, {"step": 1})
    with pytest.raises(TypeError):
        run.append(Log.METRICS, {"step": 2, "bad": object()})
    assert run.read_log(Log.METRICS, decode) == [{"step": 1}]


@pytest.mark.parametrize("garbage", [b"garbage", b'{"step": 2', b"[1]", b"3", b"\xff\xfe", b""])
def test_a_broken_line_is_named_with_its_number(tmp_path, garbage):
    run = start(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n' + garbage + b'\n{"step":3}\n')
    with pytest.raises(RunDirError) as error:
        run.read_log(Log.METRICS, decode)
    assert_one_line(error, f"{path}, line 2: not ", "restore the file from a copy")


@pytest.mark.parametrize("torn", [b'{"st', b'{"step":2}'])
def test_a_torn_last_line_is_named_with_the_command_that_cuts_it_off(tmp_path, torn):
    run = start(tmp_path)
    asyncio.run(commit(run, 0, b"w"))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n' + torn)
    with pytest.raises(RunDirError) as error:
        run.read_log(Log.METRICS, decode)
    assert_one_line(error, f"{path}, line 2", f"`espl-bench resume {tmp_path}` cuts it off")
    run.rewind(present(run.last_commit()))
    assert run.read_log(Log.METRICS, decode) == []


def test_a_missing_log_is_named(tmp_path):
    run = start(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(RunDirError) as error:
        run.read_log(Log.METRICS, decode)
    assert_one_line(error, tmp_path / "metrics.jsonl")


# Rollouts and summary


def test_rollouts_are_replaced_whole(tmp_path):
    run = start(tmp_path)
    run.write_rollouts(12, rollouts_at(1, b"x"))
    run.write_rollouts(12, rollouts_at(12, weights_at(12)))
    run.write_rollouts(3, [])
    assert (tmp_path / "rollouts" / "step_000012.jsonl").exists()
    assert run.read_rollouts(12, decode) == rollouts_at(12, weights_at(12))
    assert run.read_rollouts(3, decode) == []
    assert run.rollout_steps() == [3, 12]


def test_rollouts_of_evaluations_have_files_of_their_own(tmp_path):
    run = start(tmp_path)
    run.write_rollouts(12, [{"of": "training"}])
    for split in (Split.VALIDATION, Split.TEST):
        run.write_rollouts(12, [{"of": split.value}], split)
    assert (tmp_path / "rollouts" / "test_000012.jsonl").exists()
    assert [run.read_rollouts(12, decode, split) for split in (None, Split.TEST)] == [[{"of": "training"}], [{"of": "test"}]]
    assert [run.rollout_steps(split) for split in (None, *Split)] == [[12], [], [12], [12]]


def test_who_is_reading_while_a_file_is_replaced_reads_the_old_one_to_its_end(tmp_path):
    run = start(tmp_path)
    run.write_rollouts(1, [{"old": 1}])
    run.write_summary(make_summary(seed=1))
    files = [tmp_path / "rollouts" / "step_000001.jsonl", tmp_path / "summary.json"]
    before = [file.read_bytes() for file in files]
    with files[0].open("rb") as rollouts, files[1].open("rb") as summary:
        run.write_rollouts(1, [{"new": 1}])
        run.write_summary(make_summary(seed=2))
        assert [rollouts.read(), summary.read()] == before


def test_rollouts_that_fail_half_way_leave_the_old_ones(tmp_path):
    run = start(tmp_path)
    run.write_rollouts(1, [{"old": 1}])
    with pytest.raises(TypeError):
        run.write_rollouts(1, [{"new": 1}, {"bad": object()}])
    assert run.read_rollouts(1, decode) == [{"old": 1}]
    assert [path.name for path in (tmp_path / "rollouts").iterdir()] == ["step_000001.jsonl"]


def test_missing_and_broken_rollouts_are_named(tmp_path):
    run = start(tmp_path)
    with pytest.raises(RunDirError) as error:
        run.read_rollouts(4, decode)
    assert_one_line(error, tmp_path / "rollouts" / "step_000004.jsonl", "none yet")
    run.write_rollouts(1, [{}])
    run.write_rollouts(2, [{}])
    with pytest.raises(RunDirError) as error:
        run.read_rollouts(4, decode)
    assert_one_line(error, "2 steps from 1 to 2")
    for broken in ("{}\n{\n", "{}\n{}"):
        (tmp_path / "rollouts" / "step_000002.jsonl").write_text(broken)
        with pytest.raises(RunDirError) as error:
            run.read_rollouts(2, decode)
        assert_one_line(error, tmp_path / "rollouts" / "step_000002.jsonl, line 2", "restore the file from a copy")


def test_a_summary_comes_back_equal(tmp_path):
    run = start(tmp_path)
    with pytest.raises(RunDirError) as error:
        run.summary()
    assert_one_line(error, tmp_path / "summary.json")
    for seed in (1, 2):
        run.write_summary(make_summary(seed=seed))
        assert run.summary() == make_summary(seed=seed)


def test_nothing_of_the_environment_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a-very-secret-value")
    run = start(tmp_path)
    asyncio.run(commit(run, 0, b"w"))
    assert not [name for name, data in snapshot(tmp_path).items() if b"a-very-secret-value" in data]


# Locking

HOLDER = """
import os, sys, time
from pathlib import Path
from espl_bench.runs.run_dir import RunDir
with RunDir.open(Path(sys.argv[1])).lock():
    child = os.fork() if sys.argv[2] == "fork" else -1
    if child != 0:
        print(child, flush=True)
    time.sleep(60)
"""


def hold(path, how="plain"):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path), how], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return process, int(present(process.stdout).readline())


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    run = start(tmp_path)
    process, _ = hold(tmp_path)
    try:
        with pytest.raises(RunDirError) as error, run.lock():
            pass
        assert_one_line(error, f"{tmp_path} is being written by process {process.pid};")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with run.lock():
        pass


def test_a_forked_worker_does_not_keep_the_lock_of_a_dead_run(tmp_path):
    run = start(tmp_path)
    process, worker = hold(tmp_path, "fork")
    try:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run.lock():
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        process.communicate()


def test_the_same_process_cannot_lock_twice_and_keeps_its_lock_when_it_tries(tmp_path):
    run = start(tmp_path)
    with run.lock():
        with pytest.raises(RunDirError) as error, RunDir.open(tmp_path).lock():
            pass
        assert_one_line(error, f"process {os.getpid()}, this one")
        other = subprocess.run([sys.executable, "-c", HOLDER, str(tmp_path), "plain"], capture_output=True, text=True, cwd=ROOT)
        assert f"is being written by process {os.getpid()};" in other.stderr
    with run.lock():
        pass


def test_a_run_that_is_being_made_cannot_be_made_by_another(tmp_path):
    run = start(tmp_path)
    with run.lock(), pytest.raises(RunDirError, match="is being written by process"):
        start(tmp_path)
