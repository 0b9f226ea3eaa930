"""The published sets of questions: their locations, known facts and licences. None is part of this package.

The recorded identity was computed from the authors' own repository, not from the hub, and says so.
"""

from espl_bench.data.dataset_spec import Columns, DataSource, Licence

COLUMNS = (
    Columns("question", "answer"),
    Columns("question", "answers"),
    Columns("question", "golden_answers"),
)
"""Columns on the hub, in users' own files, and in Search-R1's collections."""

_NQ = Licence("cc-by-sa-3.0", "the data's README in google-research-datasets/natural-questions")
HOTPOTQA_LICENCE = Licence("cc-by-sa-4.0", "the hub's page of the set")

NQ_TRAIN = DataSource(
    name="nq-open-train",
    hub_id="google-research-datasets/nq_open",
    hub_split="train",
    licence=_NQ,
    columns=COLUMNS,
    answers="list",
    allow_conflicts=True,
    about="Natural Questions, open domain: questions asked of a search engine, with short answers",
)
NQ_DEV = DataSource(
    name="nq-open-dev",
    hub_id="google-research-datasets/nq_open",
    hub_split="validation",
    licence=_NQ,
    columns=COLUMNS,
    answers="list",
    allow_conflicts=True,
    expected=3_610,
    identity="942a26b269c10471b23a2c7651eab090716a57ba0c344361346dc11a9e2e6fd1",
    identity_of="NQ-open.dev.jsonl in google-research-datasets/natural-questions at fb26a30",
    about="its development set, on which everybody reports",
)
HOTPOTQA_TRAIN = DataSource(
    name="hotpotqa-train",
    hub_id="hotpotqa/hotpot_qa",
    config="distractor",
    hub_split="train",
    licence=HOTPOTQA_LICENCE,
    columns=COLUMNS,
    answers="list",
    allow_conflicts=True,
    about="questions that need two Wikipedia articles",
)
HOTPOTQA_DEV = DataSource(
    name="hotpotqa-dev",
    hub_id="hotpotqa/hotpot_qa",
    config="distractor",
    hub_split="validation",
    licence=HOTPOTQA_LICENCE,
    columns=COLUMNS,
    answers="list",
    allow_conflicts=True,
    about="its development set, on which everybody reports: the answers of its test set are not published",
)
