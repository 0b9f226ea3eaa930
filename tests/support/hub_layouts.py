"""Published data sets in the layouts that they have on the hub, with a few rows of our own."""

import io
import json
from collections.abc import Mapping, Sequence

from espl_bench.data.instructions import DAPO

Row = Mapping[str, object]
Repository = Mapping[str, bytes]


def parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


def json_lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def card(**configurations: Mapping[str, str]) -> bytes:
    """README of a repository: for each configuration, the pattern of its files by split."""
    lines = ["---", "configs:"]
    for name, splits in configurations.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split, pattern in splits.items() for line in (f"  - split: {split}", f"    path: {pattern}")]
    return "\n".join([*lines, "---", ""]).encode()


def _sum(number: int) -> tuple[str, str]:
    return f"What is {number} + {number}?", str(2 * number)


def _dapo(number: int) -> Row:
    problem, answer = _sum(number)
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": f"{DAPO.before}{problem}{DAPO.after}", "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": f"row {number}"},
    }


def _contest(number: int) -> Row:
    problem, answer = _sum(number)
    return {"problem_idx": number, "problem": problem, "answer": answer, "problem_type": ["Arithmetic"]}


def _aime(number: int) -> Row:
    problem, answer = _sum(number)
    return {"id": str(number), "problem": problem, "answer": answer, "solution": "Add.", "url": "https://example.org", "year": "2025"}


def _math(number: int) -> Row:
    problem, answer = _sum(number)
    return {
        "problem": problem,
        "solution": f"It is $\\boxed{{{answer}}}$.",
        "answer": answer,
        "subject": "Prealgebra",
        "level": 1,
        "unique_id": f"test/prealgebra/{number}.json",
    }


def nq(number: int) -> Row:
    return {"question": f"where does the river number {number} end", "answer": [f"the sea {number}", f"Sea {number}"]}


def hotpot(number: int) -> Row:
    """A question about two articles, between distractors; every other question shares one with its neighbour."""
    titles = [f"Lake {number}", f"Village {number}", f"Hill {number // 2}", "Common"]
    sentences = [
        [f"Lake {number} lies near Village {number}.", " It is deep."],
        [f"Village {number} was founded by Ada {number}.", " Nobody knows when."],
        [f"Hill {number // 2} is low."],
        ["Everybody has this paragraph."],
    ]
    return {
        "id": f"{number:024x}",
        "question": f"Who founded the village near Lake {number}?",
        "answer": f"Ada {number}",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": {"title": titles[:2], "sent_id": [0, 0]},
        "context": {"title": titles, "sentences": sentences},
    }


def hotpot_of_its_authors(number: int) -> Row:
    """The same question as its authors' files have it."""
    row = dict(hotpot(number))
    context, facts = row["context"], row["supporting_facts"]
    assert isinstance(context, dict) and isinstance(facts, dict)
    row["context"] = [[title, body] for title, body in zip(context["title"], context["sentences"], strict=True)]
    row["supporting_facts"] = [[title, place] for title, place in zip(facts["title"], facts["sent_id"], strict=True)]
    return {"_id": row.pop("id"), **row}


def _in_one_file(rows: Sequence[Row]) -> Repository:
    return {"data/train-00000-of-00001.parquet": parquet(rows), "README.md": card(default={"train": "data/train-*"})}


TRAIN, TEST = range(8), range(100, 106)


def _hotpot_qa() -> Repository:
    half = len(TRAIN) // 2
    return {
        "README.md": card(
            distractor={"train": "distractor/train-*", "validation": "distractor/validation-*"},
            fullwiki={"train": "fullwiki/train-*"},
        ),
        "distractor/train-00000-of-00002.parquet": parquet([hotpot(n) for n in TRAIN[:half]]),
        "distractor/train-00001-of-00002.parquet": parquet([hotpot(n) for n in TRAIN[half:]]),
        "distractor/validation-00000-of-00001.parquet": parquet([hotpot(n) for n in TEST]),
        "fullwiki/train-00000-of-00001.parquet": parquet([hotpot(n) for n in TRAIN]),
    }


def published() -> Mapping[str, Repository]:
    """Return the repositories of the published environments, by kind and name as the hub's server takes them."""
    return {
        "datasets/BytedTsinghua-SIA/DAPO-Math-17k": {
            "README.md": card(default={"train": "data/*"}),
            "data/dapo-math-17k.parquet": parquet([_dapo(n) for n in range(30)] * 2),
        },
        "datasets/yentinglin/aime_2025": {
            "README.md": card(default={"train": "data.jsonl"}),
            "data.jsonl": json_lines([_aime(n) for n in TEST]),
        },
        **{f"datasets/MathArena/hmmt_feb_{year}": _in_one_file([_contest(year + n) for n in range(12)]) for year in (2023, 2024, 2025)},
        "datasets/MathArena/hmmt_nov_2025": _in_one_file([_contest(n) for n in TEST]),
        "datasets/HuggingFaceH4/MATH-500": {"README.md": b"", "test.jsonl": json_lines([_math(n) for n in TEST])},
        "datasets/google-research-datasets/nq_open": {
            "README.md": card(nq_open={"train": "nq_open/train-*", "validation": "nq_open/validation-*"}),
            "nq_open/train-00000-of-00001.parquet": parquet([nq(n) for n in TRAIN]),
            "nq_open/validation-00000-of-00001.parquet": parquet([nq(n) for n in TEST]),
        },
        "datasets/hotpotqa/hotpot_qa": _hotpot_qa(),
    }
