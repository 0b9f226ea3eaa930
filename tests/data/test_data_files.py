"""Which files a name means, packed files, and cells as tables and JSON have them."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from data_fixtures import write_jsonl

from espl_bench.data.data_files import find_files
from espl_bench.data.files import read_records
from espl_bench.data.intake import take_in
from espl_bench.errors import DataError, EsplError, UsageError

ROWS = [{"problem": f"p{n}", "answer": str(n)} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(path: Path | str) -> list[dict]:
    return list(find_files(path).records())


def zstandard(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


PACKED = {
    "a.jsonl.gz": gzip.compress(LINES.encode()),
    "a.jsonl": gzip.compress(LINES.encode()),
    "two-members.ndjson.gz": gzip.compress(LINES[:34].encode()) + gzip.compress(LINES[34:].encode()),
    "a.JSONL.ZST": zstandard(LINES.encode()),
    "two-frames.jsonl.zst": zstandard(LINES[:34].encode()) + zstandard(LINES[34:].encode()),
    "a.json.gz": gzip.compress(json.dumps(ROWS).encode()),
    "lines.json": LINES.encode(),
    "a.tsv": ("problem\tanswer\n" + "".join(f"p{n}\t{n}\n" for n in range(3))).encode(),
    "a.csv.gz": gzip.compress(b",problem,answer\n0,p0,0\n1,p1,1\n2,p2,2\n"),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_is_read_whatever_its_name_says(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(PACKED[name])
    assert [{key: row[key] for key in ("problem", "answer")} for row in read(tmp_path / name)] == ROWS


def test_arrow_files_and_streams_are_read(tmp_path: Path):
    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.feather.write_feather(table, str(tmp_path / "file.arrow"))
    with pyarrow.OSFile(str(tmp_path / "stream.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    assert read(tmp_path / "file.arrow") == read(tmp_path / "stream.arrow") == ROWS


def archive(make) -> bytes:
    data = io.BytesIO()
    make(data)
    return data.getvalue()


def tar(data: io.BytesIO) -> None:
    with tarfile.open(fileobj=data, mode="w") as file:
        file.addfile(tarfile.TarInfo("../../outside.jsonl"), io.BytesIO())


NOT_DATA = {
    ("a.jsonl.gz", gzip.compress(b" " * (80 * 2**20))): "unpacks to more than 200 times its size; if you trust it, unpack it yourself",
    ("a.jsonl.zst", zstandard(b" " * (80 * 2**20))): "unpacks to more than 200 times its size",
    ("a.jsonl.gz", gzip.compress(LINES.encode())[:-9]): "is damaged or cut off (gzip",
    ("a.jsonl.zst", zstandard(LINES.encode())[:-9]): "is damaged or cut off (Zstandard",
    (
        "a.jsonl",
        archive(lambda data: zipfile.ZipFile(data, "w").writestr("a", "b")),
    ): "is an archive (zip) or a spreadsheet; unpack it and",
    ("a.jsonl", archive(tar)): "is an archive (tar)",
    ("a.jsonl.gz", gzip.compress(archive(tar))): "is an archive (tar)",
    ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"): "is a pointer of Git LFS, not the file itself",
    ("a.csv", b"<!DOCTYPE html><html>"): "is a web page",
    ("a.arrow", b"x"): "is not an Arrow file",
    ("a.arrow", b"ARROW1\0\0xx"): "is not an Arrow file",
    ("a.parquet.gz", gzip.compress(b"PAR1")): "is packed as a whole",
    ("a.jsonl", b'{"a": 1, "b": 2, "a": 3}'): "names 'a' twice in one record",
    ("a.csv", b"a,b,a\n1,2,3\n"): "the header names 'a' twice",
    ("a.csv", b"a;b\n1;2\n"): "separated by ';'",
    ("a.csv", b"a\tb\n1\t2\n"): "separated by tabs; name the file .tsv",
    ("a.tsv", b"x\ty\t3\n"): "the first line is no header",
    ("a.json", b'{"a": [{"x": 1}], "b": [{"x": 2}]}'): "not hold one list of records but 2 (a, b)",
    ("a.json", b'{"x": [1], "y": [2]}'): "but columns",
    ("a.txt", b"x"): "unknown file format '.txt'",
}


@pytest.mark.parametrize("place", range(len(NOT_DATA)))
def test_what_is_no_data_is_refused_in_one_line(place: int, tmp_path: Path):
    (name, content), words = list(NOT_DATA.items())[place]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EsplError) as refusal:
        read(tmp_path / name)
    assert words in str(refusal.value) and "\n" not in str(refusal.value) and str(tmp_path) in str(refusal.value) + str(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name], "nothing is unpacked onto the disk"


def test_two_columns_of_one_name_in_a_table_are_refused(tmp_path: Path):
    table = pyarrow.table([pyarrow.array(["p"]), pyarrow.array(["1"]), pyarrow.array(["2"])], names=["problem", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has two columns named 'answer'"):
        read(tmp_path / "a.parquet")


CELLS = {
    "decimal": (pyarrow.array([__import__("decimal").Decimal("1.50")]), "1.5"),
    "bytes": (pyarrow.array([b"x"]), "x"),
    "list of one": (pyarrow.array([["7"]]), "7"),
    "float32": (pyarrow.array([0.1], pyarrow.float32()), "0.1"),
    "float16": (pyarrow.array([__import__("numpy").float16(0.1)]), "0.1"),
    "uint64": (pyarrow.array([2**64 - 1], pyarrow.uint64()), str(2**64 - 1)),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_number_or_text_of_any_type_keeps_its_digits(name: str, tmp_path: Path):
    column, answer = CELLS[name]
    pyarrow.parquet.write_table(pyarrow.table({"problem": ["p"], "answer": column}), tmp_path / "a.parquet")
    assert take_in(read(tmp_path / "a.parquet"), "FILE").items[0].answer == answer


def test_numbers_in_json_keep_every_digit(tmp_path: Path):
    numbers = ["12345678901234567890.0", "0.30000000000000004", "9" * 5_000, "1e3", "1e22", "-0.0", "0.50", "1e400"]
    (tmp_path / "a.jsonl").write_text("".join(f'{{"problem": "p{n}", "answer": {text}}}\n' for n, text in enumerate(numbers)))
    answers = [item.answer for item in take_in(read(tmp_path / "a.jsonl"), "FILE").items]
    assert answers == ["12345678901234567890", "0.30000000000000004", "9" * 5_000, "1000", f"{10**22}", "0", "0.5", f"1{'0' * 400}"]


def test_a_cell_of_any_size_and_marks_of_missing_values(tmp_path: Path):
    (tmp_path / "a.csv").write_text(f'problem,answer\n"{"x" * 200_000}",1\n')
    assert len(read(tmp_path / "a.csv")[0]["problem"]) == 200_000
    (tmp_path / "b.csv").write_text("problem,answer\np,NA\nq,nan\nr,1\n")
    with pytest.raises(DataError, match=r"2 answers are NA, None or another mark of a missing value; .* \(row 0, 1\)"):
        take_in(read(tmp_path / "b.csv"), "FILE")


def test_published_tables_without_a_header_are_known(tmp_path: Path):
    (tmp_path / "mgsm.tsv").write_text("How many are 2 and 4?\t6\nAnd 3 and 4?\t7\n")
    assert read(tmp_path / "mgsm.tsv") == [
        {"question": "How many are 2 and 4?", "answer": "6"},
        {"question": "And 3 and 4?", "answer": "7"},
    ]
    (tmp_path / "mmlu.csv").write_text('"2 + 4?",5,6,7,8,B\n')
    assert take_in(read(tmp_path / "mmlu.csv"), "FILE").items[0].answer == "B"


# Shards, patterns and folders


def shards(folder: Path, *numbers: int, of: int = 12) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        write_jsonl(folder / f"train-{number:05}-of-{of:05}.jsonl", [{"problem": f"p{number}", "answer": str(number)}])


def order(path: Path | str) -> list[int]:
    return [int(row["answer"]) for row in read(path)]


def test_shards_are_read_in_their_order_all_of_them_or_none(tmp_path: Path):
    folder = tmp_path / "set"
    shards(folder, *range(12))
    assert order(folder) == order(f"{folder}/train-*") == list(range(12))
    files = sorted(folder.iterdir())
    assert [int(row["answer"]) for row in find_files(files[::-1]).records()] == list(range(12))
    with pytest.raises(UsageError, match=r"is one of 12 shards, and 11 of them are not named .*; name all: '.*train-\*-of-00012.jsonl'$"):
        find_files(files[3])
    files[5].unlink()
    for named in (folder, f"{folder}/*"):
        with pytest.raises(UsageError, match=r"is one of 12 shards, and 1 of them are not named \(train-00005-of-00012.jsonl\)"):
            find_files(named)
    with pytest.raises(UsageError, match="is named twice"):
        find_files([files[0], files[0]])


def test_numbered_files_of_a_folder_are_read_in_the_order_of_their_numbers(tmp_path: Path):
    for number in (0, 1, 2, 10, 11):
        write_jsonl(tmp_path / f"part-{number}.jsonl", [{"problem": f"p{number}", "answer": number}])
    with pytest.raises(UsageError, match=r"lacks number 3 between part-0.jsonl and part-11.jsonl"):
        find_files(tmp_path)
    for number in range(3, 10):
        write_jsonl(tmp_path / f"part-{number}.jsonl", [{"problem": f"p{number}", "answer": number}])
    assert order(tmp_path) == list(range(12))
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".hidden.jsonl").write_text("x")
    assert order(tmp_path) == list(range(12))


def test_a_folder_that_datasets_saved_is_read_with_the_rows_that_it_should_have(tmp_path: Path):
    import datasets

    datasets.disable_progress_bars()
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(str(tmp_path / "one"), num_shards=2)
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "splits"))
    assert read(tmp_path / "one") == read(tmp_path / "splits" / "test") == ROWS
    with pytest.raises(UsageError, match=r"holds the splits train, test; name one of them: .*splits/train"):
        find_files(tmp_path / "splits")
    folder = tmp_path / "splits" / "test"
    info, state = (json.loads((folder / name).read_text()) for name in ("dataset_info.json", "state.json"))
    (folder / "dataset_info.json").write_text(json.dumps(info | {"splits": {str(state["_split"]): {"num_examples": 7}}}))
    assert find_files(folder).expected_rows == 7
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UsageError, match=r"lacks data-00001-of-00002.arrow, one of 2 files of its set"):
        find_files(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../splits/test/data-00000-of-00001.arrow"}]}))
    with pytest.raises(DataError, match="names no files of this folder"):
        find_files(tmp_path / "one")


def test_what_a_name_may_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "a[1].jsonl", ROWS)
    assert read("~/a[1].jsonl") == read(f"{tmp_path}/a[[]1].jsonl") == ROWS
    for named, words in (
        ("", "the name of a data file is empty"),
        ("~nobody-of-this-name/a.jsonl", "names a home folder that does not exist"),
        (f"{tmp_path}/b*.jsonl", "no file fits the pattern"),
        ("nowhere.jsonl", "nowhere.jsonl does not exist"),
    ):
        with pytest.raises(UsageError, match=words):
            find_files(named)
    (tmp_path / "several").mkdir()
    for name in ("train", "test"):
        write_jsonl(tmp_path / "several" / f"{name}.jsonl", ROWS)
    with pytest.raises(UsageError, match=r"holds several sets \(test.jsonl, train.jsonl, …\); name a file, or a pattern"):
        find_files(tmp_path / "several")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no data file; name one of its folders: inner"):
        find_files(tmp_path / "outer")


def test_reading_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match="does not exist or is not a file"):
        list(read_records(tmp_path / "a.jsonl"))
