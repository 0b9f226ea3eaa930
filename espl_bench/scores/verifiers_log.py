"""Read scores from what verifiers saves: ``traces.jsonl`` (0.3 and later, an episode a line), and ``results.jsonl`` of earlier versions.

An episode's reward is the weighted sum of its trace's rewards. One that failed, or that has no reward because nothing scored it, says
nothing: it is no zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.data.files import read_records
from espl_bench.errors import DataError, UsageError, unknown
from espl_bench.scores.score import Score, Selection, Source, number
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object
from espl_bench.utils.named_files import read_named

REWARD: Final = "reward"
METADATA: Final = "metadata.json"


def is_episode(first: Mapping[str, Any]) -> bool:
    """Return whether a file's first record is an episode of verifiers."""
    return {"traces", "task", "env"} <= first.keys()


def is_result(first: Mapping[str, Any]) -> bool:
    """Return whether a file's first record is a rollout as versions before 0.3 saved it."""
    return {"example_id", "completion", REWARD} <= first.keys()


def read_episodes(source: Source, selection: Selection) -> Iterator[Score]:
    """Yield the reward of each episode, or the reward or metric that is named."""
    for place, episode in enumerate(read_records(source.path), start=1):
        where = f"{source.path}, line {place}"
        trace = _trained(episode, where)
        task, env = _object(episode, "task"), _object(episode, "env")
        data = _object(task, "data")
        item = task.get("key") or data.get("id") or data.get("idx")
        if item is None:
            raise DataError(f"{where} names no task; every score needs its item")
        config = _object(_object(trace, "agent"), "config")
        yield Score(
            test=str(env.get("name") or env.get("id") or task.get("type") or ""),
            method=source.method or str(config.get("model") or "") or source.path.parent.name,
            run=source.run or "",
            item=str(item),
            value=_reward(trace, selection.metrics, where) if episode.get("ok") and trace else None,
        )


def _trained(episode: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the trace of the policy; empty if the episode failed before there was one."""
    stated = cast(list[object], episode.get("traces") or [])
    traces = [cast(Mapping[str, Any], trace) for trace in stated if isinstance(trace, dict)]
    policies = [trace for trace in traces if _object(trace, "agent").get("trainable", True)]
    if len(policies) > 1:
        raise UsageError(f"{where} has the traces of {len(policies)} policies, and no score of one; convert it to a table")
    return policies[0] if policies else {}


def _reward(trace: Mapping[str, Any], wanted: Sequence[str], where: str) -> float | None:
    rewards, metrics = _object(trace, "rewards"), _object(trace, "metrics")
    named = [name for name in wanted if name in (REWARD, *rewards, *metrics)]
    metric = named[0] if named else "" if wanted else REWARD
    if metric == REWARD:
        values = [_weighted(reward) for reward in rewards.values()]
        return None if not values or None in values else sum(value for value in values if value is not None)
    if metric in rewards:
        return number(cast(Mapping[str, Any], rewards[metric]).get("score"))
    if metric in metrics:
        return number(metrics[metric])
    if not rewards and not metrics:
        return None
    raise unknown(f"score in {where}", wanted[0], (REWARD, *rewards, *metrics))


def _weighted(reward: object) -> float | None:
    stated: Mapping[str, Any] = cast(Mapping[str, Any], reward) if isinstance(reward, Mapping) else {}
    score, weight = number(stated.get("score")), number(stated.get("weight", 1.0))
    return None if score is None or weight is None else score * weight


def read_results(source: Source, selection: Selection) -> Iterator[Score]:
    """Yield the rewards of rollouts as versions before 0.3 saved them; the metadata beside the file name environment and model."""
    described = _metadata(source.path)
    for place, record in enumerate(read_records(source.path), start=1):
        name = next((name for name in selection.metrics or (REWARD,) if name in record), None)
        if name is None:
            known = [key for key in record if number(record[key]) is not None]
            raise unknown(f"score of {source.path.name}, line {place}", selection.metrics[0], known)
        yield Score(
            test=str(described.get("env_id") or described.get("env") or record.get("task") or source.path.parent.name),
            method=source.method or str(described.get("model") or source.path.parent.name),
            run=source.run or "",
            item=str(record["example_id"]),
            value=None if record.get("error") else number(record[name]),
        )


def _metadata(results: Path) -> Mapping[str, Any]:
    path = results.with_name(METADATA)
    if not path.is_file():
        return {}
    try:
        return parse_object(read_named(path))
    except (InvalidJsonError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it, or name the row: NAME={results}") from error


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
