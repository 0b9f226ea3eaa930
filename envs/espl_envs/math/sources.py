"""The published sets behind the environments: their locations, known facts and licences.

No problem is part of this package. Licences are reported as stated; a hub page's statement about a collection does not settle the
rights in the contest problems themselves, which are their organisers' (AIME and AMC: MAA; HMMT: its organisers).

The recorded identities were computed from copies of the sets in public repositories, not from the hub, and say so. If a set from
the hub has another identity, its text differs, however little, and `data check` reports it.
"""

from espl_bench.data.dataset_spec import Columns, DataSource, Licence
from espl_bench.data.instructions import DAPO

HUB_PAGE = "the hub's page of the set"
CONTESTS = "the contest problems themselves are MAA's"
HMMT_PROBLEMS = "the contest problems themselves are the organisers'"

AIME_2022_2024 = DataSource(
    name="aime-2022-2024",
    hub_id="AI-MO/aimo-validation-aime",
    revision="fca73e80df967c49ef6e20f88ce0a9fdb44bccc0",
    licence=Licence("apache-2.0", f"{HUB_PAGE}; {CONTESTS}"),
    answers="integer",
    expected=90,
    identity="dd7f1f62a576e11e08c99fec9a4b7455e191aa29553dfa70d578fa4c7efa1e3c",
    identity_of="the copy in Wyyyb/CriticCoT at b4c461e",
    about="AIME I and II of 2022, 2023 and 2024",
)

AMC_2022_2023 = DataSource(
    name="amc12-2022-2023",
    hub_id="AI-MO/aimo-validation-amc",
    revision="8ef249608d65c2de7763ca7525f438e540ba285e",
    licence=Licence("apache-2.0", f"the hub's page of the set's first commit; {CONTESTS}"),
    answers="integer",
    expected=83,
    identity="d6eee94ffa03f793753f362ecd7ac1b68323942b2126fbc345e5293b68ddaa4e",
    identity_of="the copy in agentica-project/rllm at 874daa4",
    about="AMC 12 A and B of 2022 and 2023, reworded by the set's authors so that every answer is an integer",
)

BEYONDAIME = DataSource(
    name="beyondaime",
    hub_id="ByteDance-Seed/BeyondAIME",
    hub_split="test",
    licence=Licence("not verified", "the hub's page was not at hand, read it before you use the set"),
    answers="integer",
    expected=100,
    identity="de5030d72fbe493224a0893e3dbdbe27e4ac54b6ae02848999c46af98a42fc08",
    identity_of="the copy in zai-org/glm-simple-evals at 2974f4e",
)

DAPO_MATH_17K = DataSource(
    name="dapo-math-17k",
    hub_id="BytedTsinghua-SIA/DAPO-Math-17k",
    licence=Licence("apache-2.0", HUB_PAGE),
    columns=(Columns("prompt", "reward_model.ground_truth"), Columns("problem", "answer")),
    wrapper=DAPO,
    allow_conflicts=True,
    caution=(
        "the 100 problems are drawn by a shuffle, so another copy (other rows, another order, texts that differ) gives another 100: "
        "the papers' list is not published, and only runs with the same identity compare"
    ),
)

AIME_2025 = DataSource(
    name="aime-2025",
    hub_id="yentinglin/aime_2025",
    licence=Licence("not verified", f"the hub's page was not at hand; {CONTESTS}"),
    answers="integer",
    expected=30,
    identity="30cd4081d6dc53e4958d0534035977f9a87f243adf171796bda60d076f36d155",
    identity_of="the copy in simular-ai/insight-replay at 39a241f",
    about="AIME I and II of 2025",
)


def _hmmt(name: str, hub_id: str, stated_by: str, identity: str | None = None, identity_of: str = "") -> DataSource:
    licence = Licence("cc-by-nc-sa-4.0", f"{stated_by}; {HMMT_PROBLEMS}", non_commercial=True)
    return DataSource(name=name, hub_id=hub_id, licence=licence, expected=30, identity=identity, identity_of=identity_of)


HMMT_FEB_2023 = _hmmt("hmmt-feb-2023", "MathArena/hmmt_feb_2023", HUB_PAGE)
HMMT_FEB_2024 = _hmmt(
    "hmmt-feb-2024",
    "MathArena/hmmt_feb_2024",
    HUB_PAGE,
    identity="f1cf3e3648a34e38ef13b3300aff8b5cf82aefd5a361cbb4aa18642c2bf6108c",
    identity_of="the copy in eth-sri/matharena at 81f103e",
)
HMMT_FEB_2025 = _hmmt(
    "hmmt-feb-2025",
    "MathArena/hmmt_feb_2025",
    HUB_PAGE,
    identity="6618090f391b7d92e11adb18f61dd8833463f55f849fe96187b5b655fd95b448",
    identity_of="the copy in simular-ai/insight-replay at 39a241f",
)
HMMT_NOV_2025 = _hmmt(
    "hmmt-nov-2025",
    "MathArena/hmmt_nov_2025",
    "the hub's pages of MathArena's other HMMT sets, this one's was not at hand",
    identity="bd8e4d8ea8e3f90ecdb85ab411d038eb3fa7065aafa2ecffd8ce5243d1889a5b",
    identity_of="the copy in simular-ai/insight-replay at 39a241f",
)

MATH_500 = DataSource(
    name="math-500",
    hub_id="HuggingFaceH4/MATH-500",
    hub_split="test",
    licence=Licence("MIT", "the repositories hendrycks/math and openai/prm800k; the hub's page names none"),
    expected=500,
    identity="127c95d115a218d75497eba38bd2a4e9de862a1cd2525a3fc4422c148dfb3d57",
    identity_of="the copy in hkust-nlp/simpleRL-reason at cf1c785",
)
