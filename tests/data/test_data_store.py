"""The data home: whole or absent, and never another set in silence. Fetching, for real from a folder and for real without a network."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from hub_server import COMMIT, serving_hub
from patience import PATIENCE_S

from espl_bench.data import store
from espl_bench.data.dataset_spec import DataSource, DataSpec, Licence
from espl_bench.data.find_data import load_data, missing
from espl_bench.data.hub import fetch
from espl_bench.data.intake import IntakeRules, take_in
from espl_bench.errors import DataError, UsageError
from espl_bench.types import Split

LICENCE = Licence("apache-2.0", "its page")
SOURCE = DataSource("sums", "somebody/sums", LICENCE)
ROWS = [{"problem": f"{n} + \x0crac12 √2 = ?", "answer": n} for n in range(5)]
REMEDY = "espl-bench data import …"


def put(source: DataSource = SOURCE, rows=ROWS) -> store.Manifest:
    return store.save(source, take_in(rows, "FILE", source), store.DataOrigin(file="a.jsonl", file_sha256="ab"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_saved_comes_back_with_where_it_came_from(home: Path):
    manifest = put()
    stored = store.load(SOURCE, REMEDY)
    assert stored.items == take_in(ROWS, "FILE", SOURCE).items and stored.manifest == manifest
    assert stored.manifest.identity == take_in(ROWS, "FILE").identity
    assert stored.facts()["origin"]["file_sha256"] == "ab"
    assert store.load(SOURCE, REMEDY) is stored, "read once"
    assert sorted(path.name for path in (home / "sums").iterdir()) == ["manifest.json", f"rows-{manifest.identity[:8]}.jsonl"]


def test_another_import_replaces_the_set(home: Path):
    before, _ = store.load(put() and SOURCE, REMEDY), put(rows=ROWS[::-1])
    after = store.load(SOURCE, REMEDY)
    assert after.items[0].problem == before.items[-1].problem and after.manifest.identity != before.manifest.identity
    assert len(list((home / "sums").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("rows", lambda data: data[:-3]),
        ("rows", lambda data: data.replace(b"1 +", b"7 +")),
        ("rows", lambda data: b""),
        ("manifest", lambda data: data[:-3]),
        ("manifest", lambda data: data.replace(b"data/1", b"data/7")),
        ("manifest", lambda data: b""),
    ],
)
def test_damage_is_one_line_with_the_remedy(name: str, damage, home: Path):
    put()
    store.load(SOURCE, REMEDY)
    [path] = (home / "sums").glob(f"{name}*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as error:
        store.load(SOURCE, REMEDY)
    said = str(error.value)
    assert str(path) in said and said.endswith(f"bring it back: {REMEDY}") and "\n" not in said
    put()
    assert len(store.load(SOURCE, REMEDY).items) == 5


def test_rows_that_vanish_are_told(home: Path):
    (home / "sums" / put().rows_file).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        store.load(SOURCE, REMEDY)


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written .*set ESPL_BENCH_DATA to a writable folder"):
        put()


@pytest.mark.skipif(sys.platform != "linux", reason="names the folder of Linux")
def test_the_home_is_the_platforms_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ESPL_BENCH_DATA", "~/sets")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.home() == tmp_path / "sets"
    monkeypatch.delenv("ESPL_BENCH_DATA")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert store.home() == tmp_path / ".local/share/espl-bench"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert store.home() == Path("/data/espl-bench")


# An environment's data

ONE, TWO, TEST = (DataSource(name, f"somebody/{name}", LICENCE) for name in ("one", "two", "test-set"))
DATA = DataSpec(train=(ONE, TWO), test=(TEST,), split_rule="as it comes")


def test_what_is_missing_is_told_at_once_with_the_commands(home: Path):
    with pytest.raises(DataError) as error:
        load_data("pair", DATA)
    said = str(error.value)
    assert said.startswith(f"pair needs data that {home} lacks: one (train), two (train), test-set (test); with a network: ")
    assert "espl-bench data get pair ;" in said
    assert "espl-bench data import pair --split train --source one --from FILE ;" in said
    assert said.endswith("espl-bench data import pair --split test --from FILE")


def test_a_training_set_in_part_is_refused_unless_chosen(home: Path):
    put(ONE)
    put(TEST)
    with pytest.raises(DataError, match=r"which is another training set: --env-option sources=one$"):
        load_data("pair", DATA)
    loaded = load_data("pair", DATA, ["one"])
    assert [stored.manifest.source for stored in loaded[Split.TRAIN]] == ["one"]
    assert [source.name for _, source in missing(DATA)] == ["two"] and missing(DATA, ["one"]) == []
    with pytest.raises(UsageError, match="unknown training source of pair 'tow'; did you mean 'two'"):
        load_data("pair", DATA, ["tow"])


# The hub


def test_a_folder_is_fetched_by_the_datasets_library(home: Path, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", [{"problem": "1 + 1", "answer": 2.0, "extra": [1]}] * 3 + [{"problem": "1 + 2", "answer": 3.0}])
    intake, origin = fetch(DataSource("sums", str(folder), LICENCE, answers="integer"), REMEDY)
    assert [(item.problem, item.answer, item.row) for item in intake.items] == [("1 + 1", "2", 0), ("1 + 2", "3", 3)]
    assert intake.duplicates == 2 and origin.hub_id == str(folder) and origin.revision is None
    with pytest.raises(DataError, match=r"cannot fetch .* \(Unknown split .*; without a network, .*: espl-bench data import …$"):
        fetch(DataSource("sums", str(folder), LICENCE, hub_split="exam"), REMEDY)


def test_chat_columns_as_on_the_hub(home: Path, tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": [{"role": "user", "content": f"{n}?"}], "reward_model": {"ground_truth": str(n), "style": "rule"}} for n in (1, 2)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows * 2), tmp_path / "train.parquet")
    intake, _ = fetch(DataSource("chat", str(tmp_path), LICENCE), REMEDY)
    assert [(item.problem, item.answer) for item in intake.items] == [("1?", "1"), ("2?", "2")]


def test_without_a_network_it_is_one_line_at_once(tmp_path: Path):
    script = (
        "from espl_bench.data.hub import fetch; from espl_bench.data.dataset_spec import *; from espl_bench.errors import DataError\n"
        "try: fetch(DataSource('s', 'somebody/set', Licence('x', 'y'), revision='abc'), 'THE COMMAND')\n"
        "except DataError as error: print(error)"
    )
    unreachable = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=unreachable, timeout=PATIENCE_S, check=True)
    assert done.stdout.startswith("cannot fetch somebody/set at revision abc (")
    assert done.stdout.endswith("THE COMMAND\n") and done.stdout.count("\n") == 1 and done.stderr == ""


def test_the_manifest_is_readable_by_people(home: Path):
    put()
    record = json.loads((home / "sums" / "manifest.json").read_text())
    assert record["schema"] == "espl-bench/data/1" and record["rows_read"] == record["items"] == 5
    assert record["repaired"] == 5 and record["imported_utc"].endswith("+00:00")


def test_a_manifest_of_before_rows_were_counted_is_read(home: Path):
    put()
    path = home / "sums" / "manifest.json"
    record = json.loads(path.read_text())
    for name in ("layout", "skipped", "unshown", "unread_columns"):
        del record[name]
    del record["origin"]["files"]
    path.write_text(json.dumps(record))
    stored = store.load(SOURCE, REMEDY)
    assert len(stored.items) == 5 and stored.facts()["skipped"] == {} and stored.facts()["conflicts"] == 0


def test_what_became_of_every_row_is_kept_with_the_set(home: Path):
    rows = [*ROWS, {"problem": "none", "answer": None}, ROWS[0]]
    intake = take_in(rows, "FILE", SOURCE, rules=IntakeRules(skip_bad_rows=True))
    store.save(SOURCE, intake, store.DataOrigin(file="a.jsonl", file_sha256="ab"))
    facts = store.load(SOURCE, REMEDY).facts()
    counts = {name: facts[name] for name in ("rows_read", "items", "duplicates", "skipped", "repaired")}
    assert counts == {"rows_read": 7, "items": 5, "duplicates": 1, "skipped": {"rows have no answer": 1}, "repaired": 5}


FETCH = (
    "from espl_bench.data.hub import fetch; from espl_bench.data.dataset_spec import *; from espl_bench.errors import EsplError\n"
    "for revision in (None, 'a' * 40, 'b' * 40):\n"
    "    source = DataSource('s', 'some/set', Licence('x', 'y'), hub_split='test', revision=revision)\n"
    "    try: intake, origin = fetch(source, 'THE COMMAND')\n"
    "    except EsplError as error: print(error)\n"
    "    else: print(len(intake.items), origin.revision)\n"
)


@pytest.mark.slow
def test_offline_a_filled_cache_is_enough_and_its_commit_is_the_one_that_is_wanted(tmp_path: Path):
    lines = "".join(json.dumps({"problem": f"p{n}", "answer": n}) + "\n" for n in range(3))
    parts = "".join(f"  - {{split: {split}, path: {split}.jsonl}}\n" for split in ("train", "test"))
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{parts}---\n"
    files = {"README.md": card.encode(), "train.jsonl": lines.encode(), "test.jsonl": lines.encode()}

    def fetched(**environ: str) -> list[str]:
        run = [sys.executable, "-c", FETCH]
        done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "HF_HOME": str(tmp_path), **environ}, check=True)
        return done.stdout.splitlines()

    with serving_hub(files) as address:
        assert fetched(HF_ENDPOINT=address)[0] == f"3 {COMMIT}"
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    prepared = fetched(**offline)
    assert prepared[:2] == [f"3 {COMMIT}"] * 2
    assert f"(HF_HUB_OFFLINE is set, and the cache has it at commit {COMMIT})" in prepared[2] and prepared[2].endswith("THE COMMAND")
    shutil.rmtree(tmp_path / "datasets")
    assert fetched(**offline)[:2] == [f"3 {COMMIT}"] * 2, "from the cache of files"
    shutil.rmtree(tmp_path / "datasets")
    shutil.rmtree(tmp_path / "hub")
    assert all("(HF_HUB_OFFLINE is set, and the cache has no copy of it)" in line for line in fetched(**offline))


@pytest.mark.parametrize("kind", ["fifo", "device", "large"])
@pytest.mark.parametrize("name", ["manifest.json", "rows"])
def test_what_is_no_file_in_the_data_home_is_refused(name: str, kind: str, home: Path):
    manifest = put()
    path = home / "sums" / (manifest.rows_file if name == "rows" else name)
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            with path.open("wb") as file:
                file.truncate(2**40)
    with pytest.raises(DataError, match=REMEDY):
        store.load(SOURCE, REMEDY)


@pytest.mark.parametrize("rows", ["/dev/zero", "../../secret.jsonl", "", "a/b.jsonl"])
def test_a_manifest_names_no_file_outside_its_folder(rows: str, home: Path):
    put()
    edit(home / "sums" / "manifest.json", rows_file=rows)
    with pytest.raises(DataError, match="is damaged"):
        store.load(SOURCE, REMEDY)


@pytest.mark.parametrize("line", [b"{}", b"[" * 5000, b'{"problem": 1, "answer": "2", "row": 3}', b"1e999", b"null"])
def test_rows_that_are_no_items_are_refused_though_their_hash_is_right(line: bytes, home: Path):
    manifest = put()
    (home / "sums" / manifest.rows_file).write_bytes(line + b"\n")
    edit(home / "sums" / "manifest.json", rows_sha256=hashlib.sha256(line + b"\n").hexdigest())
    with pytest.raises(DataError, match="holds a line that is no item"):
        store.load(SOURCE, REMEDY)


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
