"""`espl-bench env new`: a package that is built, installed, checked and run as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from espl_bench.cli.app import invoke
from espl_bench.environment.scaffold import Kind, write_package
from espl_bench.errors import UsageError


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
def test_a_new_package_installs_keeps_the_contract_passes_its_tests_and_runs(kind: Kind, tmp_path: Path):
    name, source, site = f"my-{kind}", tmp_path / "source", tmp_path / "site"
    write_package(name, kind, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, f"--target={site}", str(source)], check=True, timeout=PATIENCE_S)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}

    def call(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", *arguments], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    record = json.loads(call("espl_bench", "env", "check", name, "--json"))
    assert record["kept"] and not record["findings"]
    assert "passed" in call("pytest", "-q", "-p", "no:cacheprovider", str(source))
    shape = ("--num-prompts=1", "--batch-size=2", "--group-size=2", "--steps=1", "--eval-every=0", "--quiet")
    call("espl_bench", "run", "--env", name, "--method", "rl_only", f"--out={tmp_path / 'run'}", *shape)
    call("espl_bench", "verify", str(tmp_path / "run"))
    row = json.loads((tmp_path / "run" / "rollouts" / "step_000001.jsonl").read_text().splitlines()[0])
    assert row["outcome"] != "error"


@pytest.mark.parametrize("name", ["Spelling", "my_words", "-x", "9lives", "a--b", "../up", "rulebook"])
def test_a_name_that_cannot_be_or_is_taken_is_refused(name: str, tmp_path: Path):
    with pytest.raises(UsageError, match=rf"'{name}' (cannot be the name|is installed already)"):
        write_package(name, "single", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_kind_that_is_nearly_right_is_named_and_a_folder_that_holds_something_is_left(tmp_path: Path):
    with pytest.raises(UsageError, match="unknown kind 'tool'; did you mean 'tools'"):
        write_package("words", "tool", tmp_path / "new")
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(UsageError, match="is there already and is not an empty folder; choose another with --out"):
        write_package("words", "single", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_command_names_what_it_wrote_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke(["env", "new", "words", "--kind=multi", f"--out={tmp_path / 'words'}", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert sorted(record["files"]) == sorted(str(path.relative_to(tmp_path / "words")) for path in (tmp_path / "words").rglob("*.*"))
    assert record["next"][1] == "espl-bench env check words"
