"""Corpora that are made of the paragraphs in published rows: fetched, imported, stored, searched, and refused where they do not fit."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from espl_envs.search import rows
from hub_layouts import TEST, TRAIN, hotpot, hotpot_of_its_authors, nq

from espl_bench.cli.app import invoke
from espl_bench.data import corpus_store
from espl_bench.data.hub import fetch_paragraphs
from espl_bench.data.paragraphs import ParagraphError, gather, paragraphs_of
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.errors import DataError, UsageError

CORPUS = rows.PARAGRAPHS
SMALL = replace(CORPUS, questions=3)
[SOURCE, DEV] = CORPUS.sets
Capture = pytest.CaptureFixture[str]
TWO = [("Lake 1", "Lake 1 lies near Village 1. It is deep."), ("Village 1", "It was founded.")]


@pytest.mark.parametrize(
    "cell",
    [
        {"title": ["Lake 1", "Village 1"], "sentences": [["Lake 1 lies near Village 1.", " It is deep."], ["It was founded."]]},
        [["Lake 1", ["Lake 1 lies near Village 1.", " It is deep."]], ["Village 1", ["It was founded."]]],
        [
            {"title": "Lake 1", "sentences": ["Lake 1 lies near Village 1.", "It is\ndeep."]},
            {"title": "Village 1", "sentences": ["It was founded.", ""]},
        ],
        json.dumps({"title": ["Lake 1", "Village 1"], "sentences": [["Lake 1 lies near Village 1. It is deep."], ["It was founded."]]}),
        [["Lake 1", "Lake 1 lies near Village 1. It is deep."], ["Empty", []], ["Village 1", "It was \x00founded."]],
    ],
    ids=["columns", "pairs", "records", "as text", "texts"],
)
def test_paragraphs_are_read_in_every_layout(cell: object):
    assert [(each.title, each.text) for each in paragraphs_of(cell)] == TWO


@pytest.mark.parametrize(
    "cell", [None, "a text", 7, {"title": ["a"]}, {"title": ["a", "b"], "sentences": [["c"]]}, [["a", [1]]], [[1, ["a"]]]]
)
def test_what_holds_no_paragraphs_says_so(cell: object):
    with pytest.raises(ParagraphError):
        paragraphs_of(cell)


def test_the_questions_of_lowest_rank_are_taken_whatever_the_order_of_the_rows():
    records = [hotpot(number) for number in range(20)]
    gathered, again = gather(SMALL, SOURCE, records, "x"), gather(SMALL, SOURCE, reversed(records), "x")
    assert gathered == again
    ranked = sorted(range(20), key=lambda number: rows.rank_of(str(hotpot(number)["question"])))
    assert {each.title for each in gathered.paragraphs} == {
        title for n in ranked[:3] for title in (f"Lake {n}", f"Village {n}", f"Hill {n // 2}", "Common")
    }
    assert (gathered.rows, gathered.questions, gathered.without_evidence) == (20, 3, 0)
    assert gathered.last_rank == rows.rank_of(str(hotpot(ranked[2])["question"]))
    assert gather(SMALL, SOURCE, records[:3], "x").last_rank is None, "every question was taken"


def test_evidence_that_is_not_among_the_paragraphs_is_counted():
    row = {**hotpot(1), "supporting_facts": {"title": ["Elsewhere"], "sent_id": [0]}}
    assert gather(CORPUS, SOURCE, [row, hotpot(2)], "x").without_evidence == 1


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], "x has no rows"),
        ([nq(1)], "x has no column 'context' with paragraphs; take hotpotqa/hotpot_qa, configuration distractor, which has it"),
        ([hotpot(1), {**hotpot(2), "context": "gone"}], "x: row 1, counted from 0: column 'context' holds no titles with their sentences"),
        ([{**hotpot(1), "question": None}], "x: row 0, counted from 0, has no question"),
    ],
)
def test_rows_without_paragraphs_are_told(records: list[Mapping[str, object]], says: str):
    with pytest.raises(DataError) as error:
        gather(CORPUS, SOURCE, records, "x")
    assert says in str(error.value)


def test_a_set_is_fetched_by_the_datasets_library(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", [hotpot(n) for n in TRAIN])
    local = replace(SOURCE, hub_id=str(folder), config=None)
    gathered, origin = fetch_paragraphs(CORPUS, local, "…", progress=False)
    assert gathered == gather(CORPUS, SOURCE, [hotpot(n) for n in TRAIN], "x") and origin.hub_id == str(folder)


# The data home


def import_sets(folder: Path, authors: bool = False) -> list[str]:
    """Import the questions of `hotpotqa`, and return the command that makes its corpus."""
    make = hotpot_of_its_authors if authors else hotpot
    files = [write_jsonl(folder / f"{name}.jsonl", [make(n) for n in numbers]) for name, numbers in (("train", TRAIN), ("test", TEST))]
    for split, file in zip(("train", "test"), files, strict=True):
        assert invoke(["data", "import", "hotpotqa", "--split", split, "--from", str(file)]) == 0
    return ["data", "import", "hotpotqa", "--split", "corpus", "--from", str(files[0]), "--from", str(files[1])]


@pytest.mark.parametrize("authors", [False, True], ids=["as on the hub", "as of its authors"])
def test_an_imported_corpus_is_searched_and_recorded(authors: bool, data_home: Path, tmp_path: Path, capsys: Capture):
    command = import_sets(tmp_path, authors)
    spec = find_environment("hotpotqa")
    with pytest.raises(UsageError, match=r"hotpotqa needs --corpus FILE .* --split corpus --from HOTPOTQA-TRAIN-FILE --from HOTPOTQA-DEV-"):
        make_environment(spec, {}).prepare()
    capsys.readouterr()
    assert invoke(command) == 0
    said = capsys.readouterr().out
    assert "hotpotqa-paragraphs: 36 passages from file train.jsonl and file test.jsonl -> " in said and "licence cc-by-sa-4.0" in said
    env = make_environment(spec, {"top_k": 1})
    env.prepare()
    stored = corpus_store.load(CORPUS, "…")
    assert stored.manifest.passages_sha256 in env.data_identity()["retrieval"]
    assert env.data_facts()["corpus"] == stored.facts()
    env.reset(options={"split": "test", "index": 0})
    found, *_ = env.step('<tool_call>{"name": "search", "arguments": {"query_list": ["Village 103"]}}</tool_call>')
    assert "[1] Village 103\nVillage 103 was founded by Ada 103. Nobody knows when." in found
    assert "corpus" not in make_environment(spec, {"corpus": str(stored.path)}).data_facts(), "one that is named is no default"


def test_status_lists_the_corpus_and_the_ways_to_it(data_home: Path, tmp_path: Path, capsys: Capture):
    assert invoke(["data", "status", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)["sets"]
    found = [each for each in sets if each["source"] == CORPUS.name]
    assert [each["env"] for each in found] == ["hotpotqa", "nq", "nq-hotpotqa"] and not any(each["stored"] for each in found)
    assert found[1]["imports"] == "espl-bench data import nq --split corpus --from HOTPOTQA-TRAIN-FILE --from HOTPOTQA-DEV-FILE"
    command = import_sets(tmp_path)
    assert invoke(command) == 0
    capsys.readouterr()
    assert invoke(["data", "status", "--json"]) == 0
    found = [each for each in json.loads(capsys.readouterr().out)["sets"] if each["source"] == CORPUS.name]
    assert [each["items"] for each in found] == [36] * 3
    corpus_store.load(CORPUS, "…").path.write_text("{}")
    assert invoke(["data", "status"]) == 0
    assert "SHA-256 differs" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("math500", "--split", "corpus", "--from", "FILE"), "environment 'math500' searches no corpus"),
        (
            ("nq", "--split", "corpus", "--from", "FILE"),
            "hotpotqa-paragraphs is made of 2 sets; name a file, a pattern or a folder for each",
        ),
        (("nq", "--split", "corpu", "--from", "FILE"), "did you mean 'corpus'?"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], says: str, data_home: Path, tmp_path: Path, capsys: Capture):
    file = write_jsonl(tmp_path / "a.jsonl", [hotpot(1)])
    assert invoke(["data", "import", *(str(file) if each == "FILE" else each for each in arguments)]) == 2
    assert says in capsys.readouterr().err and not data_home.exists()


def test_questions_beyond_the_corpus_are_refused(data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import_sets(tmp_path)
    gathered = [gather(SMALL, source, [hotpot(n) for n in numbers], "x") for source, numbers in ((SOURCE, TRAIN), (DEV, TEST))]
    origin = corpus_store.DataOrigin(file="x")
    corpus_store.save(SMALL, [(each, origin) for each in gathered])
    spec = find_environment("hotpotqa")
    with pytest.raises(UsageError, match=r"hotpotqa: the corpus hotpotqa-paragraphs holds no paragraphs for 8 of the questions"):
        make_environment(spec, {})
    few = make_environment(spec, {"train_items": 2, "validation_items": 1, "test_items": 3})
    few.prepare()


@pytest.mark.parametrize("damage", [b"", b'{"title": "Lake 1"}\n'])
def test_damage_is_one_line_with_the_remedy(damage: bytes, data_home: Path, tmp_path: Path):
    assert invoke(import_sets(tmp_path)) == 0
    stored = corpus_store.load(CORPUS, "…")
    stored.path.write_bytes(damage)
    with pytest.raises(DataError, match=r"is not the file that was stored .* bring it back: espl-bench data get hotpotqa"):
        make_environment(find_environment("hotpotqa"), {})


def test_a_dry_run_needs_no_corpus(data_home: Path, tmp_path: Path, capsys: Capture, lab_model: Path):
    import_sets(tmp_path)
    capsys.readouterr()
    assert invoke(["run", "--env", "hotpotqa", "--model", str(lab_model), "--dry-run"]) == 0
    assert "not measured; not on this machine: corpus hotpotqa-paragraphs" in " ".join(capsys.readouterr().out.split())
