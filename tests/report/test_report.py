"""The page without a browser: what is in it, what is left out, and what the server answers."""

import base64
import hashlib
import http.client
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checked import present
from cli_fixtures import born, make_study
from report_fixtures import EVENTS, add_step, evaluation_row, group_rows, make_row, make_run, summary_of

from espl_bench.analysis.lineage_layout import lanes
from espl_bench.analysis.prompt_length import words_over_time
from espl_bench.analysis.rating_history import chance, duels, histories, rating_at
from espl_bench.analysis.study import Known, gather
from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.grouping import GroupEntry, group
from espl_bench.leaderboard.learning_curves import Axis, bands
from espl_bench.learning.advantages import ACROSS_PROMPTS, PER_PROMPT
from espl_bench.report import page
from espl_bench.report.live_server import Viewer, WatchedRun
from espl_bench.report.page_writer import MIB, build
from espl_bench.report.payload import run_json, study_json, tables_json
from espl_bench.report.prompt_pages import PromptPages
from espl_bench.report.rollout_pages import PIECE, Index, Listed, read_samples, texts
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.view import replay
from espl_bench.types import Rating, Split
from espl_bench.utils import jsonl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path / "study" / "espl-s0")
    return tmp_path / "study"


def parts_of(data: bytes) -> dict[str, Any]:
    """The embedded data by name; `study` is what the page begins with."""
    text = data.decode()
    found = {"study": json.loads(present(re.search(r'id="study">(.*?)</script>', text, re.DOTALL))[1])}
    for name, blob in re.findall(r'data-blob="([^"]+)">([^<]*)</script>', text):
        import gzip

        found[name] = json.loads(gzip.decompress(base64.b64decode(blob)))
    return found


def test_a_report_holds_tables_runs_and_rollouts(folder):
    made = build(gather([folder]), "t", 25 * MIB)
    parts = parts_of(made.page)
    assert {
        "study",
        "run/espl-s0",
        "prompts/espl-s0/0",
        "index/espl-s0",
        "rollouts/espl-s0/step_1",
        "rollouts/espl-s0/test_4",
    } <= parts.keys()
    assert parts["study"]["runs"][0]["name"] == "espl-s0"
    assert parts["study"]["boards"]["tests"][0]["rows"][0]["method"] == "espl"
    assert made.stored == made.kept == len(parts["index/espl-s0"]["outcome"]) == 57
    assert parts["rollouts/espl-s0/step_1"][0]["turns"] == ["dax larger 1 answer 0"]
    assert made.page == build(gather([folder]), "t", 25 * MIB).page, "the same runs give the same bytes"


def test_a_report_asks_for_nothing(folder):
    text = build(gather([folder]), "t", 25 * MIB).page.decode()
    assert "default-src 'none'" in text and "connect-src 'none'" in text
    assert not re.findall(r"""(?:src|href)=["']?(?!#main)[^"'\s>]+""", text.partition("<style>")[0])
    script = present(re.search(r'<script type="module">(.*?)</script>', text, re.DOTALL))[1]
    style = present(re.search(r"<style>(.*?)</style>", text, re.DOTALL))[1]
    for part in (script, style):
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in text, "the policy names what stands there by hash"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize("text", ["</script><script>x()</script>", "<!--", "a & b", "\u2028\u2029", "\ud800", "{{SCRIPT}}", "é 😀"])
def test_embedded_text_is_inert_and_comes_back_whole(text):
    written = page.inert({"a": text})
    assert not re.search(r"[<>&\u2028\u2029]", written)
    assert json.loads(written) == {"a": text}
    whole = page.page(text, {"a": text}, {})
    assert whole.count(b"<script") == 2 and whole.count(b"</script") == 2


def test_numbers_that_json_does_not_know_are_null():
    assert json.loads(page.encode({"a": [float("nan"), float("inf"), 1.5]})) == {"a": [None, None, 1.5]}


def test_a_report_that_would_be_too_large_keeps_whole_groups_evenly(tmp_path):
    folder = make_run(tmp_path / "run", steps=4)
    for step in range(1, 5):
        rows = [row for problem in range(300) for row in group_rows(problem, (1.0, 0.0, 0.0, 0.0, 0.0), 0)]
        RunDir(folder).write_rollouts(step, [row | {"turns": [f"{row['turns'][0]} {hash(str(row))}"]} for row in rows])
    study = gather([folder])
    limit = 200 * 1024
    made = build(study, "t", limit)
    assert len(made.page) <= limit < len(build(study, "t", 25 * MIB).page)
    index = parts_of(made.page)["index/run"]
    assert made.stored == 6001 and 0 < made.kept < made.stored
    kept = [file["kept"] for file in index["files"] if file["split"] == "train"]
    assert max(kept) - min(kept) <= 5 and all(number % 5 == 0 for number in kept), "groups of five, evenly spread"
    assert parts_of(made.page)["study"]["rollouts"] == {"stored": made.stored, "kept": made.kept}


def test_a_report_that_cannot_fit_is_refused(folder):
    with pytest.raises(UsageError, match=r"do not fit into a page of .* raise --max-mib"):
        build(gather([folder]), "t", 100_000)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [(PER_PROMPT, [0.5, -0.5, None, 0.0]), (ACROSS_PROMPTS, [1 / 3, -2 / 3, None, 1 / 3])],
)
def test_advantages_are_those_that_were_trained_on(tmp_path, baseline, expected):
    folder = make_run(tmp_path / "run", steps=1)
    failed = make_row(1, 2, 0, outcome="error", error="broken")
    rows = [make_row(1, 0, 0, 1.0), make_row(1, 1, 0, 0.0), failed, make_row(1, 0, 1, 1.0)]
    RunDir(folder).write_rollouts(1, rows)
    first, *_ = read_samples(RunDir(folder), baseline)
    assert first.advantages == pytest.approx(expected)


def test_evaluations_have_no_advantage_and_old_rollouts_no_tokens(tmp_path):
    folder = make_run(tmp_path / "run", steps=1)
    old = {name: value for name, value in make_row(3, 0).items() if name not in ("lengths", "surprisals")}
    RunDir(folder).write_rollouts(1, [old])
    samples = list(read_samples(RunDir(folder), PER_PROMPT))
    assert [sample.file.split for sample in samples] == [None, Split.TEST]
    assert samples[1].advantages == (None,)
    index = Index()
    for sample in samples:
        index.add(Listed.of(sample))
    assert index.to_json()["problems"] == ["train/3", "test/7"]
    [text] = texts(samples[0].rows)
    assert (text["lengths"], text["surprisals"], text["heard"]) == ([[]], [[]], [])


def test_a_run_is_told_with_its_tree_and_history(folder):
    [record] = gather([folder]).records
    told = run_json(record)
    prompts = PromptPages(record).piece(0) or []
    assert [prompt["lane"] for prompt in prompts] == [0, 0, 1]
    assert prompts[1]["history"] == [[1, 25.0, 8.0, None], [2, 28.0, 6.0, 0.6], [3, 26.0, 5.0, 0.4], [4, 25.0, 4.0, 0.4]]
    assert told["rejected"] == {"mutation: no_contrast": 1}
    assert told["progress"]["step"] == [1, 2, 3, 4]
    assert told["card"]["config"]["steps"] == 4
    assert "sample_scores" not in told["card"]["summary"]


def test_a_run_that_goes_on_is_in_the_list_and_in_no_table(tmp_path):
    make_run(tmp_path / "going", steps=2, finished=False)
    study = gather([tmp_path])
    told = study_json(study, tables_json(study.entries), "t", live=True)
    assert told["boards"] is None
    assert (told["runs"][0]["finished"], told["runs"][0]["steps"], told["runs"][0]["iterations"]) == (False, 2, 4)


def test_a_damaged_run_is_named_and_the_others_are_shown(folder, tmp_path):
    make_run(folder / "broken", seed=1, finished=False)
    (folder / "broken" / "population.jsonl").write_text("{not json\n")
    study = gather([folder])
    assert [record.name for record in study.records] == ["espl-s0"]
    assert len(study.unreadable) == 1 and "population.jsonl, line 1" in study.unreadable[0]
    with pytest.raises(RunDirError, match=r"population\.jsonl, line 1"):
        gather([folder / "broken"])


def test_runs_that_do_not_compare_are_still_looked_at(tmp_path):
    entries = [
        GroupEntry("espl", summary_of(data_identity={"test": "a"})),
        GroupEntry("base", summary_of("base", data_identity={"test": "b"})),
    ]
    assert "have different test items" in present(tables_json(entries))["unknown"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        make_run(tmp_path / folder / "espl-s0")
    study = gather([tmp_path])
    assert list(study.named) == ["espl-s0", "espl-s0~2"]
    told = study_json(study, None, "t", live=False)
    assert [run["id"] for run in told["runs"]] == list(study.named)


def test_unchanged_runs_are_not_read_again(folder):
    known: Known = {}
    [first] = gather([folder], known).records
    [again] = gather([folder], known).records
    assert again is first
    add_step(first.run, 5)
    [changed] = gather([folder], known).records
    assert changed is not first and len(changed.metrics) == 5


def test_lanes_keep_a_line_and_part_where_it_branches():
    prompts, _ = replay(EVENTS, 10)
    assert lanes(prompts) == {0: 0, 1: 0, 2: 1}
    chain = [born(0, 0, "root", []), *(born(at, at, "mutation", [at - 1]) for at in range(1, 5))]
    branch = [born(5, 5, "mutation", [1]), born(6, 6, "mutation", [0])]
    placed = lanes(replay([*chain, *branch], 10)[0])
    assert {placed[at] for at in range(5)} == {0}
    assert len({placed[4], placed[5], placed[6]}) == 3, "lines that overlap in time have lanes of their own"


def test_ratings_are_followed_and_favourites_counted():
    past = histories(EVENTS)
    assert rating_at(past[1], 0) is None
    assert rating_at(past[1], 2) == Rating(28.0, 6.0)
    found = list(duels(EVENTS, 0.01))
    assert [duel.won for duel in found] == [0.0, 0.0], "the favourite of step 3 lost, and of step 4; in step 2 there was none"
    assert found[0].expected == pytest.approx(chance(Rating(28.0, 6.0), Rating(22.0, 6.0)))
    assert chance(Rating(25.0, 5.0), Rating(25.0, 5.0)) == 0.5
    assert chance(Rating(25 + 25 / 6, 0.0), Rating(25.0, 0.0)) == pytest.approx(0.76, abs=0.002), "what a distance of beta means"


def test_words_and_diversity_over_time(folder):
    [record] = gather([folder]).records
    told = list(words_over_time(record.view.prompts, record.metrics, 10))
    assert [entry.shown_words for entry in told] == [0, 7, 7, 7]
    assert told[1].mean_words == 3.5 and told[1].diversity == 1.0
    shared = {"fep", "sum", "of", "digits"}
    assert told[3].diversity == pytest.approx((1 + 1 + (1 - len(shared) / 10)) / 3)
    alone = list(words_over_time(record.view.prompts, record.metrics, 1))
    assert all(entry.diversity is None for entry in alone)


def test_bands_over_steps_and_over_what_differs_between_seeds():
    entries = [GroupEntry("espl", summary_of(seed=seed)) for seed in (0, 1)] + [GroupEntry("base", summary_of("base", steps=0))]
    [test] = group(entries)
    over_steps = {band.method: band for band in bands(test, Axis.ITERATIONS, "validation")}
    assert over_steps["espl"].x == (0, 2, 4)
    assert over_steps["espl"].mean == pytest.approx((0.1, 0.305, 0.5))
    assert present(over_steps["espl"].low)[1] <= 0.305 <= present(over_steps["espl"].high)[1]
    assert over_steps["base"].x == (0.0,) and over_steps["base"].low is None
    over_tokens = {band.method: band for band in bands(test, Axis.TOKENS, "test")}["espl"]
    assert (over_tokens.x[0], over_tokens.x[-1], len(over_tokens.x)) == (0.0, 4 * 89.0, 60)


def test_five_hundred_runs_of_curves_are_no_matter():
    [test] = group(GroupEntry(each.method, each) for each in make_study(items=10, seeds=100))
    assert len(bands(test, Axis.SECONDS, "validation")) == 5


@pytest.fixture
def viewer(folder) -> Iterator[Viewer]:
    with Viewer(WatchedRun([folder], "<live>"), 0) as viewer:
        threading.Thread(target=viewer.serve_forever, daemon=True).start()
        yield viewer
        viewer.shutdown()


def ask(viewer: Viewer, path: str, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    named = {"Host": f"127.0.0.1:{viewer.server_port}", "Cookie": viewer.cookie.partition(";")[0]}
    connection.request("GET", path, headers={**named, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_viewer_serves_the_page_and_its_parts(viewer):
    answer, body = ask(viewer, "/")
    assert answer.status == 200 and b"&lt;live&gt;" in body and b'id="study"' not in body
    assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
    answer, body = ask(viewer, "/study")
    assert json.loads(body)["live"] is True
    again, nothing = ask(viewer, "/study", **{"If-None-Match": answer.headers["ETag"]})
    assert (again.status, nothing) == (304, b"")
    assert len(json.loads(ask(viewer, "/index/espl-s0")[1])["outcome"]) == 57
    assert json.loads(ask(viewer, "/run/espl-s0")[1])["shown"] == 1
    assert [prompt["id"] for prompt in json.loads(ask(viewer, "/prompts/espl-s0/0")[1])] == [0, 1, 2]
    assert len(json.loads(ask(viewer, "/rollouts/espl-s0/test_4")[1])) == 1


def test_the_viewer_notices_that_a_run_moved_on(viewer, folder):
    before = ask(viewer, "/study")[0].headers["ETag"]
    run = RunDir(folder / "espl-s0")
    run.append(Log.EVALUATIONS, evaluation_row(5, "test", 0.6))
    answer, body = ask(viewer, "/study", **{"If-None-Match": before})
    assert answer.status == 200 and answer.headers["ETag"] != before
    good = json.loads(body)
    with (folder / "espl-s0" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, ')  # in the middle of a write
    written = Log.EVALUATIONS.path(folder / "espl-s0").stat().st_mtime_ns
    os.utime(folder / "espl-s0" / "metrics.jsonl", ns=(written, written))  # the page says when that was: not a second later
    assert json.loads(ask(viewer, "/study")[1]) == good


def long_evaluation(run: RunDir, rollouts: int = 2 * PIECE + 30) -> None:
    """An evaluation of many rollouts, some of them with line ends of other systems in their text."""
    run.write_rollouts(9, [make_row(number, 0, turns=[f"no. {number}\r\u2028ü"]) for number in range(rollouts)], Split.TEST)


def test_texts_come_in_pieces_the_same_ones_served_and_embedded(viewer, folder):
    long_evaluation(RunDir(folder / "espl-s0"))
    index = json.loads(ask(viewer, "/index/espl-s0")[1])
    assert index["piece"] == PIECE and index["files"][-1]["kept"] == 2 * PIECE + 30
    names = ["test_9", f"test_9+{PIECE}", f"test_9+{2 * PIECE}"]
    served = [json.loads(ask(viewer, f"/rollouts/espl-s0/{name}")[1]) for name in names]
    assert [len(each) for each in served] == [PIECE, PIECE, 30]
    assert [row["turns"] for each in served for row in each] == [[f"no. {number}\r\u2028ü"] for number in range(2 * PIECE + 30)]
    embedded = parts_of(build(gather([folder]), "t", 25 * MIB).page)
    assert [embedded[f"rollouts/espl-s0/{name}"] for name in names] == served
    assert ask(viewer, f"/rollouts/espl-s0/test_9+{3 * PIECE}")[0].status == 404


@pytest.fixture
def bytes_read(monkeypatch) -> dict[str, int]:
    """Bytes of rollouts that were parsed since, by the name of their file."""
    found: dict[str, int] = {}
    read = jsonl.rows

    def counted(path: Path, data: bytes, *rest: Any):
        if path.parent.name == "rollouts":
            found[path.name] = found.get(path.name, 0) + len(data)
        return read(path, data, *rest)

    monkeypatch.setattr(jsonl, "rows", counted)
    return found


def test_the_viewer_reads_each_file_once_and_then_where_it_is_looked_at(viewer, folder, bytes_read):
    run = RunDir(folder / "espl-s0")
    long_evaluation(run)
    sizes = {path.name: path.stat().st_size for path in run.rollout_paths()}
    ask(viewer, "/index/espl-s0")
    assert bytes_read == sizes
    bytes_read.clear()
    ask(viewer, "/index/espl-s0")
    assert not bytes_read
    ask(viewer, f"/rollouts/espl-s0/test_9+{PIECE}")
    assert bytes_read.keys() == {"test_000009.jsonl"} and bytes_read["test_000009.jsonl"] < 0.5 * sizes["test_000009.jsonl"]
    bytes_read.clear()
    add_step(run, 5)
    assert len(json.loads(ask(viewer, "/index/espl-s0")[1])["outcome"]) == 57 + 2 * PIECE + 30 + 16
    assert bytes_read.keys() == {"step_000005.jsonl"}, "of a run that moved on, what is new"
    bytes_read.clear()
    run.write_rollouts(9, [make_row(7, 0, turns=["another"])], Split.TEST)
    assert json.loads(ask(viewer, "/rollouts/espl-s0/test_9")[1])[0]["turns"] == ["another"], "a file that was replaced is read again"


def test_a_damaged_rollout_is_named(viewer, folder):
    run = RunDir(folder / "espl-s0")
    whole = run.rollout_path(2).read_bytes().partition(b"\n")[0]
    run.rollout_path(2).write_bytes(whole + b"\nno json\n")
    answer, body = ask(viewer, "/index/espl-s0")
    assert answer.status == 500 and "step_000002.jsonl, line 2" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "/run/", "/run/x", "/run/espl-s0/x", "/favicon.ico"),
        *(f"/rollouts/espl-s0/{name}" for name in ("..%2f", "step_99", "step_1+100", "step_1+1", "step_1+", "step_1+0", "step_1+-100")),
        *(f"/prompts/espl-s0/{piece}" for piece in ("1", "-1", "x", "", "0/0", "9" * 5000, "%c2%b2")),
    ],
)
def test_the_viewer_has_nothing_else(viewer, path):
    assert ask(viewer, path)[0].status == 404


def test_the_viewer_answers_only_to_its_own_name(viewer):
    assert ask(viewer, "/study", Host="evil.example")[0].status == 403
    assert ask(viewer, "/study", Host="127.0.0.1:1")[0].status == 403
    assert ask(viewer, "/study", Origin="http://evil.example")[0].status == 403
    assert viewer.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "path", ["/", "/study", "/index/espl-s0", "/run/espl-s0", "/favicon.ico", "/?token=", "/study?token=x", "/?token=%ff"]
)
def test_without_the_token_the_viewer_answers_nothing(viewer, path):
    for cookie in ("", "x", f"{viewer.cookie_name}=x", f"{viewer.cookie_name}=", "espl_view_1=" + viewer.url.partition("=")[2]):
        answer, body = ask(viewer, path, Cookie=cookie)
        assert answer.status == 403 and b"espl-bench view" in body and b"live" not in body and "Set-Cookie" not in answer.headers


def test_the_token_of_the_printed_address_becomes_a_cookie(viewer):
    path = viewer.url.partition(str(viewer.server_port))[2]
    assert len(path) > 40
    answer, body = ask(viewer, path, Cookie="", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    cookie = answer.headers["Set-Cookie"]
    assert answer.status == 200 and b"&lt;live&gt;" in body and {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert ask(viewer, "/study", Cookie=cookie.partition(";")[0])[0].status == 200
    with Viewer(WatchedRun([viewer.watched._paths[0]], "x"), 0) as other:
        assert other.url.partition("=")[2] != viewer.url.partition("=")[2]
