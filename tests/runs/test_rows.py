"""Rows on disk: what is written is read back equal, what is damaged is named, and a directory says in which version it is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_dir_fixtures import start

from espl_bench.errors import RunDirError
from espl_bench.evolution.operators.proposal import Evidence
from espl_bench.runs import format_versions
from espl_bench.runs.log_rows import EvaluationRow, LearningCost, MetricsRow, TimingRow, read_evaluations, read_metrics
from espl_bench.runs.population_events import BornEvent, RatedEvent, RejectedEvent, parse_event, read_events
from espl_bench.runs.rollout_rows import RolloutRow, read_stored
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Limit, Observation, Outcome, Split, StopReason
from espl_bench.utils.jsonl import InvalidRowError, decode, encode
from espl_bench.utils.numbers import MAX_FLOAT

OLD_RUN = Path(__file__).parents[1] / "support" / "old_run"
"""A finished run of the version before rows had types."""

NUMBERS = st.floats(max_value=MAX_FLOAT, min_value=-MAX_FLOAT, exclude_max=True, exclude_min=True)
"""Every number that a row holds."""
COUNTS = st.integers(0, 10**9)
NAMES = st.text(max_size=8)
SHARES = st.dictionaries(st.sampled_from(Outcome), NUMBERS)
MEASURES = st.dictionaries(NAMES, NUMBERS | st.none(), max_size=3)
IDS = st.lists(COUNTS, max_size=3).map(tuple)
TOKENS = st.lists(st.lists(COUNTS, max_size=4).map(tuple), max_size=3).map(tuple)
REPLIES = st.lists(st.builds(Observation, NAMES, st.none() | NAMES), max_size=2).map(tuple)

METRICS = st.builds(MetricsRow, COUNTS, NUMBERS, st.dictionaries(COUNTS, NUMBERS, max_size=12), SHARES, COUNTS, COUNTS, COUNTS, MEASURES)
TIMING = st.builds(TimingRow, COUNTS, NUMBERS, NUMBERS)
COSTS = st.builds(LearningCost, *[COUNTS] * 6)
EVALUATIONS = st.builds(EvaluationRow, COUNTS, st.sampled_from(Split), NUMBERS, COUNTS, SHARES, st.none() | COSTS, MEASURES)
EDITS = st.builds(Evidence, NAMES, IDS, NAMES, NAMES, NAMES)
BORN = st.builds(
    BornEvent, COUNTS, COUNTS, NAMES, IDS, st.lists(NAMES, max_size=3).map(tuple), NUMBERS, NUMBERS, st.lists(EDITS, max_size=2).map(tuple)
)
RATED = st.builds(
    RatedEvent,
    COUNTS,
    st.dictionaries(COUNTS, NUMBERS, max_size=12),
    st.dictionaries(COUNTS, st.tuples(NUMBERS, NUMBERS), max_size=12),
)
REJECTED = st.builds(
    RejectedEvent, COUNTS, NAMES, IDS, NAMES, NAMES, st.just("rejected"), st.lists(NAMES.filter(bool), max_size=2).map(tuple)
)


@st.composite
def rollouts(draw: st.DrawFn) -> RolloutRow:
    """Replies and segments only where there are several turns."""
    turns = draw(st.lists(NAMES, max_size=3).map(tuple))
    several = len(turns) > 1
    return RolloutRow(
        problem_id=draw(NAMES),
        question=draw(NAMES),
        answer=draw(NAMES),
        prompt_id=draw(COUNTS),
        slot=draw(COUNTS),
        sample=draw(COUNTS),
        turns=turns,
        reward=draw(NUMBERS),
        outcome=draw(st.sampled_from(Outcome)),
        stop_reason=draw(st.none() | st.sampled_from(StopReason)),
        generated_tokens=draw(COUNTS),
        error=draw(st.none() | NAMES),
        lengths=draw(TOKENS),
        surprisals=draw(TOKENS),
        heard=draw(st.lists(REPLIES, max_size=2).map(tuple)) if several else (),
        segments=draw(COUNTS) if several else 1,
        limit=draw(st.none() | st.sampled_from(Limit)),
        measures=draw(MEASURES),
    )


@given(METRICS)
def test_metrics_are_read_as_they_were_written(row: MetricsRow):
    assert MetricsRow.parse(encode(row.encode())) == row


@given(TIMING)
def test_timing_is_read_as_it_was_written(row: TimingRow):
    assert TimingRow.parse(encode(row.encode())) == row


@given(EVALUATIONS)
def test_evaluations_are_read_as_they_were_written(row: EvaluationRow):
    assert EvaluationRow.parse(encode(row.encode())) == row


@given(BORN | RATED | REJECTED)
def test_events_are_read_as_they_were_written(event: BornEvent | RatedEvent | RejectedEvent):
    assert parse_event(encode(event.encode())) == event


@given(rollouts())
def test_rollouts_are_read_as_they_were_written(row: RolloutRow):
    assert RolloutRow.parse(encode(row.encode())) == row


METRICS_ROW = MetricsRow(3, 0.5, {0: 0.5}, {Outcome.CORRECT: 1.0}, 1, 0, 40, {"loss": 0.1})
EVALUATION_ROW = EvaluationRow(
    3, Split.TEST, 0.5, 0, {Outcome.CORRECT: 0.5, Outcome.WRONG: 0.5}, LearningCost(1, 2, 3, 4, 5, 6), {"f1": 0.5}
)
BORN_EVENT = BornEvent(1, 1, "mutation", (0,), ("dax larger",), 25.0, 8.0, (Evidence("add", (), "dax larger", "train/1", ""),))
RATED_EVENT = RatedEvent(1, {0: 0.5}, {0: (25.0, 8.0)})
REJECTED_EVENT = RejectedEvent(1, "mutation", (0,), "no_contrast", "")
ROLLOUT_ROW = RolloutRow(
    "train/1", "3 dax 5 = ?", "5", 1, 0, 2, ("3", "5"), 1.0, Outcome.CORRECT, StopReason.STOP, 2, None, ((1,), (1,)), ((0,), (12,)),
    ((Observation("go on"),),), 2, Limit.TURN, {"f1": 1.0},
)  # fmt: skip
KINDS: dict[str, tuple[Any, Callable[[bytes], Any], set[str]]] = {
    "metrics": (METRICS_ROW, MetricsRow.parse, set()),
    "timing": (TimingRow(3, 1.5, 900.0), TimingRow.parse, set()),
    "evaluation": (EVALUATION_ROW, EvaluationRow.parse, {"spent", "measures"}),
    "born": (BORN_EVENT, parse_event, set()),
    "rated": (RATED_EVENT, parse_event, set()),
    "rejected": (REJECTED_EVENT, parse_event, set()),
    "rollout": (ROLLOUT_ROW, RolloutRow.parse, {"lengths", "surprisals", "heard", "segments", "limit", "measures"}),
}
"""A row, what reads it, and the fields that came later or are left out where there is nothing to say."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_but_later_ones_is_required(kind: str):
    row, parse, later = KINDS[kind]
    fields: dict[str, Any] = row.encode()
    assert later <= fields.keys()
    for name in fields:
        line = encode({key: value for key, value in fields.items() if key != name})
        if name in later:
            parse(line)
        else:
            with pytest.raises(InvalidRowError, match=rf"^no field '(\w+\.)?{name}'$"):
                parse(line)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_and_a_wrong_type_are_named(kind: str):
    row, parse, _ = KINDS[kind]
    with pytest.raises(InvalidRowError, match=r"^unknown field '(\w+\.)?later'$"):
        parse(encode({**row.encode(), "later": 1}))
    for name, value in row.encode().items():
        with pytest.raises(InvalidRowError, match=rf"^field '(\w+\.)?{name}[\w.]*' should be .*"):
            parse(encode({**row.encode(), name: {"neither": ["text", "nor number"]} if not isinstance(value, dict) else "text"}))


@pytest.mark.parametrize(("field", "value"), [("step", "3"), ("step", 3.5), ("step", True), ("reward", "0.5"), ("rewards", {"best": 0.5})])
def test_a_number_is_a_number(field: str, value: object):
    with pytest.raises(InvalidRowError, match=f"^field '{field}"):
        MetricsRow.parse(encode({**METRICS_ROW.encode(), field: value}))


def test_rows_older_than_a_field_have_its_default():
    old = {name: value for name, value in ROLLOUT_ROW.encode().items() if name not in KINDS["rollout"][2]}
    row = RolloutRow.parse(encode(old))
    assert (row.lengths, row.surprisals, row.heard, row.segments, row.limit, row.measures) == ((), (), (), 1, None, {})
    evaluation = EVALUATION_ROW.encode()
    del evaluation["measures"], evaluation["spent"]["prompt_tokens"], evaluation["spent"]["reflection_prompt_tokens"]
    assert EvaluationRow.parse(encode(evaluation)).spent == LearningCost(1, 2, 3, 4, 0, 0)
    del evaluation["spent"]
    assert EvaluationRow.parse(encode(evaluation)).spent is None


def test_what_a_model_or_an_environment_may_leave_in_a_rollout_is_read():
    row = ROLLOUT_ROW.encode() | {"turns": ["lone \ud800", "\x00\u2028"], "answer": 5, "reward": True}
    read = RolloutRow.parse(encode(row))
    assert (read.turns, read.answer, read.reward) == (("lone \ud800", "\x00\u2028"), "5", 1.0)


def test_a_number_that_json_lacks_is_none():
    row = MetricsRow(1, 0.5, {}, {}, 1, 0, 0, {"grad_norm": float("nan"), "loss": float("inf"), "kl": -1e200})
    assert MetricsRow.parse(encode(row.encode())).train == {"grad_norm": None, "loss": None, "kl": None}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"garbage\n", "not JSON (Expecting value)"),
        (b"[1]\n", "not a JSON object"),
        (b'{"step":1}\n', "no field 'reward'"),
        (encode({**METRICS_ROW.encode(), "shown": "best"}), "field 'shown' should be a valid integer, not \"best\""),
        (encode({**METRICS_ROW.encode(), "shown": "b" * 99}), "field 'shown' should be a valid integer, not \"" + "b" * 39 + "…"),
    ],
)
def test_a_damaged_row_is_one_line_with_file_number_field_and_remedy(tmp_path: Path, line: bytes, why: str):
    run = start(tmp_path)
    path = Log.METRICS.path(tmp_path)
    path.write_bytes(encode(METRICS_ROW.encode()) + line)
    with pytest.raises(RunDirError) as error:
        read_metrics(run)
    assert str(error.value) == f"{path}, line 2: {why}; restore the file from a copy"


def test_the_same_for_rollouts_and_for_lines_that_are_read_one_by_one(tmp_path: Path):
    run = start(tmp_path)
    path = run.rollout_path(1)
    good = encode(ROLLOUT_ROW.encode())
    path.write_bytes(good + encode({**ROLLOUT_ROW.encode(), "outcome": "splendid"}) + good[:-1])
    with pytest.raises(
        RunDirError, match=rf"^{path}, line 2: field 'outcome' should be .*, not \"splendid\"; restore the file from a copy$"
    ):
        run.read_rollouts(1, RolloutRow.parse)
    row, bad, torn = read_stored(path)
    assert row == ROLLOUT_ROW and str(bad).startswith("field 'outcome'") and str(torn) == "not written to its end"


# What an older version wrote


def test_every_line_of_an_older_run_is_written_again_byte_for_byte():
    kinds = {Log.METRICS: MetricsRow.parse, Log.TIMING: TimingRow.parse, Log.EVALUATIONS: EvaluationRow.parse, Log.POPULATION: parse_event}
    for log, parse in kinds.items():
        lines = log.path(OLD_RUN).read_bytes().splitlines(keepends=True)
        assert lines and [encode(parse(line).encode()) for line in lines] == lines
    paths = RunDir(OLD_RUN).rollout_paths()
    assert len(paths) == 7
    for path in paths:
        lines = path.read_bytes().splitlines(keepends=True)
        assert [encode(RolloutRow.parse(line).encode()) for line in lines] == lines


# Versions


def test_a_new_run_names_the_version_of_each_format(tmp_path: Path):
    start(tmp_path)
    written = json.loads((tmp_path / format_versions.FILE).read_text())
    assert written == {"metrics": 1, "timing": 1, "population": 1, "evaluations": 1, "rollouts": 1}


def test_a_run_without_versions_is_read_as_the_first(tmp_path: Path):
    run = start(tmp_path)
    run.append(Log.METRICS, METRICS_ROW.encode())
    run.append(Log.POPULATION, BORN_EVENT.encode())
    run.append(Log.EVALUATIONS, EVALUATION_ROW.encode())
    (tmp_path / format_versions.FILE).unlink()
    old = RunDir.open(tmp_path)
    assert (read_metrics(old), read_events(old), read_evaluations(old)) == ([METRICS_ROW], [BORN_EVENT], [EVALUATION_ROW])
    assert not (tmp_path / format_versions.FILE).exists(), "reading writes nothing"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"population": 2}, "population is of version 2, and this espl-bench reads up to 1"),
        ({"rollouts": 7}, "rollouts is of version 7, and this espl-bench reads up to 1"),
        ({"judgements": 1}, "judgements is of version 1, and this espl-bench knows no such log"),
    ],
)
def test_a_newer_run_is_refused_in_one_line(tmp_path: Path, changes: dict[str, int], why: str):
    start(tmp_path)
    path = tmp_path / format_versions.FILE
    path.write_text(json.dumps({**decode(path.read_bytes()), **changes}))
    with pytest.raises(RunDirError) as error:
        RunDir.open(tmp_path)
    assert str(error.value) == f"{path}: {why}; update espl-bench to the version that wrote the run"


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"metrics": "1"}', '{"metrics": null}', "\xff"])
def test_damaged_versions_are_named(tmp_path: Path, damage: str):
    start(tmp_path)
    path = tmp_path / format_versions.FILE
    path.write_bytes(damage.encode("latin-1"))
    with pytest.raises(RunDirError) as error:
        RunDir.open(tmp_path)
    assert str(error.value) == f"{path} does not map each log to its version; restore the file from a copy"
