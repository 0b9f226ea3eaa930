"""Logs that the real tools wrote (lm-evaluation-harness 0.4.13, inspect 0.3.285, verifiers 0.4.0): their scores are the tools' own.

The second log of lm-evaluation-harness is the first with other scores.
"""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from espl_bench.errors import DataError, UsageError
from espl_bench.scores.arrange import arrange
from espl_bench.scores.read import Kind, kind_of, parse_sources, read_scores
from espl_bench.scores.score import Score, Selection

LOGS = Path(__file__).parents[1] / "support" / "logs"
LM_EVAL, INSPECT, VERIFIERS = LOGS / "lm_eval", LOGS / "inspect", LOGS / "verifiers"


def scores(*named: Path | str, metrics: tuple[str, ...] = ()) -> list[Score]:
    read = read_scores(parse_sources([str(each) for each in named]), Selection(metrics))
    return [score for file in read for score in file.scores]


def mean(found: list[Score], method: str, test: str = "") -> float:
    values = [each.value for each in found if each.method == method and test in ("", each.test) and each.value is not None]
    return sum(values) / len(values)


# lm-evaluation-harness


def test_the_samples_of_lm_eval_have_the_mean_that_it_reports():
    found = scores(LM_EVAL, metrics=("acc", "exact_match,flexible-extract"))
    for model in ("one", "two"):
        [results] = (LM_EVAL / f"org__{model}").glob("results_*.json")
        reported = json.loads(results.read_text())["results"]
        assert mean(found, f"org/{model}", "adding_mc") == pytest.approx(reported["adding_mc"]["acc,none"])
        assert mean(found, f"org/{model}", "adding_gen") == pytest.approx(reported["adding_gen"]["exact_match,flexible-extract"])
    tests = arrange(read_scores(parse_sources([str(LM_EVAL)]), Selection(("acc_norm", "exact_match,strict-match"))))
    assert [(test.name, len(test.items), sorted(test.methods)) for test in tests] == [
        ("adding_gen", 20, ["org/one", "org/two"]),
        ("adding_mc", 20, ["org/one", "org/two"]),
    ]


def test_several_metrics_or_filters_of_lm_eval_are_never_mixed():
    with pytest.raises(UsageError, match=r"has several scores: acc,none, acc_norm,none; name one with --metric"):
        scores(next((LM_EVAL / "org__one").glob("samples_adding_mc*")))
    with pytest.raises(UsageError, match=r"has several scores: exact_match,strict-match, exact_match,flexible-extract"):
        scores(next((LM_EVAL / "org__one").glob("samples_adding_gen*")), metrics=("exact_match",))
    with pytest.raises(UsageError, match="did you mean 'acc,none'"):
        scores(next((LM_EVAL / "org__one").glob("samples_adding_mc*")), metrics=("acc,non",))


def test_without_the_results_beside_them_samples_are_named_by_their_folder_or_as_they_are_told(tmp_path: Path):
    [samples] = (LM_EVAL / "org__one").glob("samples_adding_mc*")
    (tmp_path / "alone").mkdir()
    copy = Path(shutil.copy(samples, tmp_path / "alone"))
    assert {each.method for each in scores(copy, metrics=("acc",))} == {"alone"}
    assert {(each.method, each.run) for each in scores(f"mine@3={copy}", metrics=("acc",))} == {("mine", "3")}
    renamed = copy.rename(tmp_path / "alone" / "anything.jsonl")
    assert kind_of(renamed) is Kind.LM_EVAL, "by what is in it"


# inspect


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_a_log_of_inspect_has_the_mean_that_it_reports(ending: str):
    for model in ("weak", "strong"):
        [log] = INSPECT.glob(f"{model}*.{ending}")
        [document] = INSPECT.glob(f"{model}*.json")
        reported = json.loads(document.read_text())["results"]["scores"][0]["metrics"]["accuracy"]["value"]
        found = scores(log)
        assert mean(found, f"mockllm/{model}") == pytest.approx(reported)
        assert {each.test for each in found} == {"adding"} and len({each.item for each in found}) == 6
        assert {each.sample for each in found} == {"1", "2"}


def test_several_scorers_of_inspect_are_never_mixed():
    [log] = INSPECT.glob("two*.eval")
    with pytest.raises(UsageError, match=r"has several scores: match, includes; name one with --metric"):
        scores(log)
    assert len(scores(log, metrics=("includes",))) == 12


def test_a_log_of_inspect_that_is_unfinished_or_damaged_is_refused(tmp_path: Path):
    [document] = INSPECT.glob("weak*.json")
    content = json.loads(document.read_text())
    stopped = tmp_path / "stopped.json"
    stopped.write_text(json.dumps(content | {"status": "cancelled"}))
    with pytest.raises(DataError, match=r"ended with status 'cancelled'; finish it with: inspect eval-retry"):
        scores(stopped)
    [archive] = INSPECT.glob("weak*.eval")
    spoilt = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        place = opened.getinfo("summaries.json").header_offset
    spoilt[place + 60 : place + 90] = b"\0" * 30
    (tmp_path / "spoilt.eval").write_bytes(spoilt)
    with pytest.raises(DataError, match=r"spoilt\.eval cannot be read as a log of inspect"):
        scores(tmp_path / "spoilt.eval")


def test_a_sample_of_inspect_with_an_error_failed(tmp_path: Path):
    [document] = INSPECT.glob("weak*.json")
    content = json.loads(document.read_text())
    content["samples"][0]["error"] = {"message": "no sandbox", "traceback": "", "traceback_ansi": ""}
    log = tmp_path / "log.json"
    log.write_text(json.dumps(content))
    assert [each.value for each in scores(log)].count(None) == 1


# verifiers


def test_episodes_of_verifiers_earn_the_weighted_sum_of_their_rewards():
    found = scores(VERIFIERS)
    for model in ("weak", "strong"):
        episodes = [json.loads(line) for line in (VERIFIERS / model / "traces.jsonl").read_text().splitlines()]
        rewards = [episode["traces"][0]["rewards"] for episode in episodes]
        expected = [sum(each["score"] * each["weight"] for each in reward.values()) for reward in rewards if reward]
        assert mean(found, f"org/{model}") == pytest.approx(sum(expected) / len(expected))
        assert [each.value for each in scores(VERIFIERS / model, metrics=("form",)) if each.value is not None] == [1.0] * len(expected)
    assert {(each.test, each.item) for each in found} == {("adding", f"k{item}") for item in range(12)}


def test_an_episode_that_nothing_scored_is_no_zero():
    assert [each.value for each in scores(VERIFIERS / "weak")].count(None) == 1


def test_rollouts_of_earlier_verifiers_are_read_with_their_metadata(tmp_path: Path):
    folder = tmp_path / "outputs" / "adding--org--old" / "1234"
    folder.mkdir(parents=True)
    rollouts = [{"example_id": item, "prompt": [], "completion": [], "reward": item % 2, "right": 1.0} for item in range(4)] * 2
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rollouts))
    (folder / "metadata.json").write_text(json.dumps({"env_id": "adding", "model": "org/old"}))
    found = scores(tmp_path)
    assert {(each.test, each.method) for each in found} == {("adding", "org/old")} and mean(found, "org/old") == 0.5
    assert mean(scores(tmp_path, metrics=("right",)), "org/old") == 1.0
    with pytest.raises(UsageError, match="did you mean 'right'"):
        scores(tmp_path, metrics=("rigt",))
