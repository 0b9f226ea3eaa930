"""The laboratory: what its examples prove, whether its vocabulary can say it, and whether its pre-training can be resumed."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from checked import integer
from edits_json import render_edits
from espl_envs.lab import pretrain as lab
from espl_envs.lab.courses import COURSES
from espl_envs.lab.courses.rulebook import NAMES, RulebookCourse, Solver, draw_chain, draw_world
from espl_envs.lab.language import (
    Champion,
    Finding,
    Line,
    LineReading,
    Written,
    as_principles,
    as_stated,
    draw_beliefs,
    judge_attempts,
    judge_parents,
    principle,
    settle,
    write_edit,
)
from espl_envs.lab.skills import Course, Lesson, Skill
from espl_envs.lab.tokenizer import MAX_PRINCIPLES, build_tokenizer, words
from espl_envs.rulebook.chains import Chain
from espl_envs.rulebook.meanings import OPERATORS
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S
from safetensors.torch import load_file
from scripted_engine import MEANING, OPERATOR, make_chat, respond
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench.evolution.operators.edits import Add, Merge, Modify, Remove, Rewrite, apply_edits, parse_edits
from espl_bench.prompts.principle_text import OpName
from espl_bench.seeding import seed_for

EXAMPLES = 150
RULEBOOK = RulebookCourse()
every_course = pytest.mark.parametrize("course", COURSES.values(), ids=lambda course: course.name)


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


# What labelled attempts prove

ONE = Chain(((3, 8), (5, 2)), ("dax",))
TWO = Chain(((3, 8), (5, 2), (1, 0)), ("dax", "fep"))


def reading(right: bool, *steps: str, chain: Chain = ONE) -> LineReading:
    """What a critique is shown."""
    return LineReading(chain.operators, steps, right)


def test_a_meaning_that_a_right_attempt_used_is_added():
    finding = judge_attempts(rng(), [], [reading(True, "larger"), reading(False, "minus")])
    assert (finding.edits, finding.decided) == ((Add("dax larger"),), True)


def test_two_proofs_outvote_one_and_one_against_one_is_undecided():
    larger, double = reading(True, "larger"), reading(True, "double")
    assert judge_attempts(rng(), [], [larger, larger, double]).decided
    both = [judge_attempts(rng(seed), [], [larger, double]) for seed in range(20)]
    assert {finding.edits for finding in both} == {(Add("dax larger"),), (Add("dax double"),)}
    assert not any(finding.decided for finding in both)


def test_what_is_stated_and_proven_stays():
    proven = [reading(True, "larger"), reading(True, "double"), reading(False, "larger")]
    assert judge_attempts(rng(), [("dax", "larger")], proven).edits == ()


def test_a_stated_meaning_is_modified_if_proofs_used_only_others():
    beliefs = [("fep", "sum"), ("dax", "minus")]
    finding = judge_attempts(rng(), beliefs, [reading(True, "larger"), reading(False, "minus")])
    assert (finding.edits, finding.decided) == ((Modify(1, "dax larger"),), True)
    proof, other = reading(True, "larger", "sum", chain=TWO), reading(False, "minus", "sum", chain=TWO)
    assert judge_attempts(rng(), beliefs, [proof, other]).edits == (Modify(1, "dax larger"),)


def test_without_a_proof_nothing_is_edited():
    assert judge_attempts(rng(), [("dax", "minus")], [reading(False, "minus"), reading(False, "larger")]).edits == ()


def test_at_most_two_edits_come_of_one_problem():
    chain = Chain(((3, 8), (5, 2), (1, 0), (4, 4)), ("dax", "fep", "zup"))
    finding = judge_attempts(rng(), [], [reading(True, "larger", "sum", "next", chain=chain)])
    assert finding.edits == (Add("dax larger"), Add("fep sum"))


def test_a_principle_states_one_meaning():
    assert principle("dax", "larger") == "dax larger"


# Aggregation and crossover


MINUS, LARGER = ("dax", "minus"), ("dax", "larger")


def test_what_is_added_first_stands_and_a_later_view_of_the_operator_is_merged_into_it():
    beliefs = [("zup", "next"), ("fep", "sum")]
    finding = settle(beliefs, [LARGER, MINUS, ("tig", "next")], [])
    assert (finding.edits, finding.decided) == ((Merge((2, 3), "dax larger"),), True)
    assert settle([], [LARGER, MINUS], []).text(("dax larger", "dax minus")) == (
        'dax larger first larger ; dax minus first larger {"op":"merge","ids":[" dax larger "," dax minus "],"principle":" dax larger "} ;'
    )


def test_additions_that_nobody_contradicts_need_no_edit():
    assert settle([], [LARGER, ("fep", "sum")], []).text(("dax larger", "fep sum")) == "dax larger first larger ; fep sum first sum ; [ ]"


def test_of_changes_of_a_principle_the_first_is_made():
    beliefs = [("fep", "sum"), MINUS]
    assert settle(beliefs, [], [LARGER, ("dax", "next")]).edits == (Modify(1, "dax larger"),)
    assert settle(beliefs, [], [LARGER, ("dax", "next")]).text(as_principles(beliefs)) == (
        'dax larger first larger over minus {"op":"modify","id":" dax minus ","principle":" dax larger "} ; dax next first larger ;'
    )


A = (("dax", "larger"), ("fep", "sum"))
OTHER = (("dax", "minus"), ("fep", "sum"))


def won(operators: str) -> tuple[Chain, ...]:
    return tuple(Chain(((1, 2), (3, 4)), (operator,)) for operator in operators.split())


@pytest.mark.parametrize(
    ("rival", "mine", "theirs", "edits"),
    [
        (OTHER, "", "dax", (Modify(0, "dax minus", "set B"),)),
        ((("dax", "larger"),), "", "fep", (Remove(1, "set B"),)),
        ((*A, ("zup", "next")), "", "zup", (Add("zup next", "set B"),)),
        (OTHER, "dax", "dax dax", ()),
        (A, "", "dax fep", ()),
        (OTHER, "", "zup", ()),
        (
            (("zup", "next"), ("dax", "minus")),
            "",
            "zup fep dax",
            (Add("zup next", "set B"), Remove(1, "set B"), Modify(0, "dax minus", "set B")),
        ),
    ],
)
def test_set_a_takes_a_rivals_view_of_operators_that_only_the_rival_won_with(rival: tuple, mine: str, theirs: str, edits: tuple):
    finding = judge_parents(Champion("A", A, won(mine)), [Champion("B", rival, won(theirs))])
    assert (finding.edits, finding.decided) == (edits, True)


def test_of_two_rivals_the_first_win_decides():
    rivals = [Champion("B", (("dax", "minus"),), won("dax")), Champion("C", (("dax", "next"), ("fep", "next")), won("dax fep"))]
    assert judge_parents(Champion("A", A[:1], ()), rivals).edits == (Modify(0, "dax minus", "set B"), Add("fep next", "set C"))


# Solvers


def test_a_faultless_solver_follows_what_is_stated():
    stated = {"dax": ("larger",), "fep": ("sum",)}
    for seed in range(20):
        solution = Solver(stated, {}, slip=0.0, stray=0.0).attempt(rng(seed), TWO)
        assert solution.text == "dax larger 3 5 = 5 8 2 = 8 ; fep sum 5 1 = 6 8 0 = 8 ; answer 6 8"


def test_habits_fill_in_where_nothing_is_stated_and_straying_leaves_both():
    plain = Solver({}, {"dax": "minus"}, slip=0.0, stray=0.0)
    assert {plain.attempt(rng(seed), ONE).used for seed in range(20)} == {("minus",)}
    wild = Solver({"dax": ("minus",)}, {"dax": "minus"}, slip=0.0, stray=1.0)
    assert len({wild.attempt(rng(seed), ONE).used for seed in range(100)}) == len(NAMES)


def test_slips_are_carried_on_and_as_frequent_as_said():
    solver = Solver({"dax": ("larger",), "fep": ("sum",)}, {}, slip=0.5, stray=0.0)
    attempts = [solver.attempt(rng(seed), TWO) for seed in range(400)]
    faultless = TWO.solve({"dax": "larger", "fep": "sum"})
    slipped = sum(found != faultless for found in attempts) / 400
    assert 0.85 < slipped < 0.96, "1 - 0.55 to the fourth: four digits, and a slip may hit the right one"


def test_contradicting_principles_are_both_believed():
    both = Solver({"dax": ("minus", "larger")}, {}, slip=0.0, stray=0.0)
    assert {both.attempt(rng(seed), ONE).used[0] for seed in range(30)} == {"minus", "larger"}


def test_worlds_and_beliefs_are_drawn_as_said():
    for seed in range(50):
        world = draw_world(rng(seed))
        assert set(world.values()) <= set(NAMES)
        assert draw_beliefs(rng(seed), world, RULEBOOK.choices, known=0.0, wrong=0.5) == []
        beliefs = draw_beliefs(rng(seed), world, RULEBOOK.choices, known=1.0, wrong=0.0)
        assert set(as_stated(beliefs)) == set(OPERATORS)
        assert all(world[operator] in meanings for operator, meanings in as_stated(beliefs).items())
        assert as_principles(beliefs) == tuple(principle(*pair) for pair in beliefs)


# Writing


@st.composite
def edit_lists(draw: st.DrawFn):
    text = st.builds(principle, st.sampled_from(OPERATORS), st.sampled_from(NAMES))
    evidence = st.sampled_from(["", "set B", "set C"])
    index = st.integers(0, 7)
    kinds = st.one_of(
        st.builds(Add, text, evidence),
        st.builds(Modify, index, text, evidence),
        st.builds(Remove, index, evidence),
        st.builds(Merge, st.lists(index, min_size=2, max_size=4, unique=True).map(tuple), text, evidence),
    )
    return tuple(draw(st.lists(kinds, max_size=5)))


ALL: set[OpName] = {"add", "modify", "merge", "remove"}
SHOWN = as_principles(list(zip(OPERATORS[:8], NAMES, strict=False)))


def write(edits: Sequence[Written]) -> str:
    return Finding(tuple(Line("dax larger", edit) for edit in edits)).text(SHOWN)


@settings(max_examples=150, deadline=None)
@given(edit_lists())
def test_written_edits_are_read_back_as_they_were_whatever_notes_stand_between(edits: tuple):
    parsed = parse_edits(write(edits), ALL, SHOWN, None, 32)
    assert (parsed.edits, parsed.problems) == (edits, ())
    assert parse_edits(render_edits(edits), ALL, SHOWN, None, 32).edits == edits


@settings(max_examples=100, deadline=None)
@given(edit_lists())
def test_the_vocabulary_can_spell_every_edit(edits: tuple):
    chat = make_chat()
    text = write(edits)
    ids = chat._tokenizer(text)["input_ids"]
    assert chat._tokenizer.unk_token_id not in ids
    assert chat.decode(ids) == text


# Examples


@pytest.mark.parametrize("lesson", [None, Lesson(topics=2, steps=1)])
@pytest.mark.parametrize("skill", Skill)
@every_course
def test_every_word_of_every_example_is_in_the_vocabulary(course: Course, skill: Skill, lesson: Lesson | None):
    tokenizer = build_tokenizer(course)
    generator = rng(1)
    for _ in range(EXAMPLES):
        example = course.example(skill, generator, lesson or course.full)
        for text in (*(message.content for message in example.messages), example.target):
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert str(tokenizer.decode(ids)).split() == text.split()


@pytest.mark.parametrize("skill", [Skill.SUMMARISE, Skill.CRITIQUE, Skill.AGGREGATE, Skill.CROSSOVER])
def test_where_the_evidence_decides_the_target_follows_from_what_is_shown(skill: Skill):
    chat, generator = make_chat(), rng(2)
    decided = 0
    for seed in range(EXAMPLES):
        example = RULEBOOK.example(skill, generator, RULEBOOK.full)
        if example.decided:
            decided += 1
            assert respond(chat.decode(chat.encode(example.messages)), rng(seed), 0.0) == example.target
    assert decided > EXAMPLES / 2


def stated(course: Course, skill: Skill, prompt: str) -> list[str]:
    """The principles that an edit may name."""
    mark = "A" if skill is Skill.CROSSOVER else r"\[G\d+\]"
    topics = "|".join(course.choices)
    return re.findall(rf"{mark} ((?:{topics}) \S+)", prompt.partition("changes :")[0])


ALLOWED: dict[Skill, set[OpName]] = {
    Skill.CRITIQUE: {"add", "modify"},
    Skill.AGGREGATE: {"modify", "merge"},
    Skill.CROSSOVER: {"add", "modify", "remove"},
}


@pytest.mark.parametrize("skill", ALLOWED)
@every_course
def test_targets_are_edits_that_the_operators_accept(course: Course, skill: Skill):
    allowed = ALLOWED[skill]
    generator, limit = rng(3), 2 if skill is Skill.CRITIQUE else None
    kinds = set()
    for _ in range(EXAMPLES):
        example = course.example(skill, generator, course.full)
        shown = stated(course, skill, example.messages[0].content)
        parsed = parse_edits(example.target, allowed, shown, limit, 32)
        assert not parsed.problems
        edits = [edit for edit in parsed.edits if not isinstance(edit, Rewrite)]
        assert len(edits) == len(parsed.edits), "none rewrites the whole"
        written = "".join(write_edit(edit, shown) for edit in edits)
        assert written == "".join(re.findall(r"\{.*?\}", example.target))
        apply_edits(shown, parsed.edits)
        kinds.update(edit.op for edit in parsed.edits)
    assert kinds == allowed, "every operation of the stage is taught"


@every_course
def test_a_critique_has_contrast_and_its_decided_finding_does_not_hang_on_chance(course: Course):
    generator = rng(4)
    for _ in range(EXAMPLES):
        case = course.draw_critique(generator, course.full)
        assert 0 < case.right < len(case.readings) == len(case.summaries)
        again = judge_attempts(rng(99), case.beliefs, case.readings)
        assert again.decided == case.finding.decided
        if case.finding.decided:
            assert again.edits == case.finding.edits


def test_what_a_critique_adds_is_mostly_true_of_its_world():
    generator, true, total = rng(5), 0, 0
    for _ in range(300):
        world = draw_world(generator)
        chain = draw_chain(generator, OPERATORS, 1)
        truth = chain.solve(world).answer
        attempts = [Solver({}, {}, 0.1, 0.0).attempt(generator, chain) for _ in range(15)]
        readings = [LineReading(chain.operators, a.used, a.answer == truth) for a in attempts]
        for edit in judge_attempts(generator, [], readings).edits:
            total += 1
            true += edit == Add(principle(chain.operators[0], world[chain.operators[0]]))
    assert total > 100 and true / total > 0.8, "chance would be 0.1"


def test_no_example_can_give_a_world_away():
    """What an operator means in an example follows from its prompt or from chance, never from a fixed world."""
    generator = rng(6)
    meanings: dict[str, Counter[str]] = {operator: Counter() for operator in OPERATORS}
    for _ in range(3000):
        for operator, meaning in re.findall(rf"{OPERATOR} {MEANING}", RULEBOOK.solve(generator, RULEBOOK.full).target):
            meanings[operator][meaning] += 1
    assert all(max(counts.values()) < 0.25 * counts.total() for counts in meanings.values())


def test_lessons_grow_from_small_worlds_and_single_steps():
    recipe = lab.Recipe(small_steps=10, growth_steps=20)
    lessons = [recipe.lesson(step) for step in (0, 10, 20, 30, 1000)]
    assert lessons[0] == lessons[1] == RULEBOOK.smallest and lessons[3] == lessons[4] == RULEBOOK.full
    assert RULEBOOK.smallest.topics < lessons[2].topics < RULEBOOK.full.topics
    small = [RULEBOOK.solve(rng(seed), RULEBOOK.smallest) for seed in range(50)]
    assert {example.target.count(" ; ") for example in small} == {1}, "one step and the answer"


@every_course
def test_examples_are_a_function_of_the_generator(course: Course):
    for skill in Skill:
        assert course.example(skill, rng(7), course.full) == course.example(skill, rng(7), course.full)
    assert course.solve(rng(1), course.full) != course.solve(rng(2), course.full)
    assert sum(course.mixture.values()) == pytest.approx(1)


def test_the_examples_of_the_shipped_rulebook_model_do_not_change():
    """Its weights came of them; a change of the language is a reason to train it anew."""
    told = hashlib.sha256()
    for step in (0, 100, 400, 900, 1500):
        generator, lesson = random.Random(seed_for(0, "pretrain", step)), lab.Recipe().lesson(step)
        for _ in range(32):
            example = RULEBOOK.draw(generator, lesson)
            told.update(repr((example.skill.value, [message.content for message in example.messages], example.target)).encode())
    assert told.hexdigest()[:16] == "d16a6f4cf1453c4a"


# Tokenizer


@every_course
def test_a_tokenizer_knows_its_words_once(course: Course):
    assert len(list(words(course))) == len(set(words(course))) == len(build_tokenizer(course))


def test_the_tokenizer_speaks_by_a_template():
    tokenizer = build_tokenizer(RULEBOOK)
    chat = make_chat()
    assert chat.eos_ids == {integer(tokenizer.eos_token_id)}
    for index in range(MAX_PRINCIPLES):
        assert len(tokenizer(f"[G{index}] dax larger")["input_ids"]) == 3
    assert tokenizer(f"[G{MAX_PRINCIPLES}]")["input_ids"] == [tokenizer.unk_token_id]


def test_the_tokenizer_survives_its_file(tmp_path: Path):
    built = build_tokenizer(RULEBOOK)
    built.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "principles : [G0] dax larger 3 8 dax 5 2 = ? <|end|>"
    assert loaded(text)["input_ids"] == built(text)["input_ids"]
    assert loaded.chat_template == built.chat_template


# Pre-training

SMALL = lab.Recipe(steps=6, small_steps=1, growth_steps=2, batch_size=8, width=32, layers=2, heads=2)


def pretrained(out: Path, recipe: lab.Recipe = SMALL, **options):
    return lab.pretrain(recipe, out, device="cpu", workers=0, **options)


def test_a_stopped_pre_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, save = tmp_path / "stopped", lab.PretrainingProgress.save

    def save_and_copy(progress: lab.PretrainingProgress, folder: Path) -> None:
        save(progress, folder)
        if progress.step == 3:
            shutil.copytree(folder, kept)

    monkeypatch.setattr(lab.PretrainingProgress, "save", save_and_copy)
    pretrained(tmp_path / "unbroken", save_every=3)
    assert torch.load(kept / "state.pt", weights_only=True)["step"] == 3
    monkeypatch.setattr(lab.PretrainingProgress, "save", save)
    pretrained(kept, save_every=3)
    unbroken, resumed = (load_file(folder / "model.safetensors") for folder in (tmp_path / "unbroken", kept))
    assert unbroken.keys() == resumed.keys()
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_the_number_of_workers_changes_no_weight(tmp_path: Path):
    pretrained(tmp_path / "alone")
    lab.pretrain(SMALL, tmp_path / "helped", device="cpu", workers=1)
    assert (tmp_path / "alone/model.safetensors").read_bytes() == (tmp_path / "helped/model.safetensors").read_bytes()


def test_another_recipe_does_not_continue_what_was_begun(tmp_path: Path):
    pretrained(tmp_path)
    with pytest.raises(SystemExit, match="was trained by another recipe; choose another --out or remove it"):
        pretrained(tmp_path, lab.Recipe(**{**SMALL.__dict__, "lr": 1e-4}))


def test_pre_training_learns(tmp_path: Path):
    tokenizer = build_tokenizer(RULEBOOK)
    recipe = lab.Recipe(batch_size=16, width=32, layers=2, heads=2, lr=5e-3, warmup=5)
    model = lab.build_model(recipe, tokenizer)
    optimizers = lab.build_optimizers(model, recipe)
    batch = lab.Curriculum(recipe, tokenizer)[0]
    losses = [lab.train_step(model, optimizers, batch, "cpu") for _ in range(20)]
    assert losses[-1] < 0.6 * losses[0]


def test_only_what_is_to_be_written_is_learned():
    tokenizer = build_tokenizer(RULEBOOK)
    curriculum = lab.Curriculum(SMALL, tokenizer)
    example = RULEBOOK.solve(rng(1), RULEBOOK.full)
    [micro] = curriculum.batch([example])
    learned = micro.labels_BT[0][micro.labels_BT[0] != lab.IGNORED]
    assert tokenizer.decode(learned) == f"{example.target} <|end|>"
    place = int((micro.labels_BT[0] != lab.IGNORED).nonzero()[0])
    assert tokenizer.decode(micro.tokens_BT[0][place]) == "<|assistant|>", "labels are shifted by one"


def test_of_a_conversation_all_that_the_assistant_says_is_learned_and_no_reply():
    course = COURSES["almanac"]
    tokenizer = build_tokenizer(course)
    curriculum = lab.Curriculum(lab.Recipe(course="almanac"), tokenizer)
    example = next(found for seed in range(50) if len((found := course.solve(rng(seed), course.full)).messages) == 6)
    [micro] = curriculum.batch([example])
    learned = micro.labels_BT[0][micro.labels_BT[0] != lab.IGNORED]
    said = [message.content for message in example.messages if message.role == "assistant"]
    assert tokenizer.decode(learned) == " ".join(f"{text} <|end|>" for text in (*said, example.target))


def test_how_a_batch_is_cut_changes_only_rounding():
    tokenizer = build_tokenizer(RULEBOOK)
    gradients = []
    for size in (10**6, 200):
        recipe = lab.Recipe(batch_size=12, micro_tokens=size, width=32, layers=2, heads=2)
        model = lab.build_model(recipe, tokenizer)
        batch = lab.Curriculum(recipe, tokenizer)[2000]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = model.lm_head.weight.detach().clone()
        lab.train_step(model, [optimizer], batch, "cpu")
        gradients.append((len(batch), model.lm_head.weight.detach() - before))
    (few, whole), (many, pieces) = gradients
    assert few == 1 < many
    torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-6)


def test_a_model_is_drawn_from_its_own_seed_and_leaves_the_global_one_alone():
    tokenizer = build_tokenizer(RULEBOOK)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = lab.build_model(SMALL, tokenizer)
    assert torch.equal(torch.rand(1), expected)
    again = lab.build_model(SMALL, tokenizer)
    other = lab.build_model(lab.Recipe(**{**SMALL.__dict__, "seed": 1}), tokenizer)
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_the_command_trains_a_model_that_transformers_loads(tmp_path: Path):
    options = ["--steps=6", "--small-steps=1", "--growth-steps=2", "--batch-size=8", "--device=cpu", f"--out={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "espl_envs.lab.pretrain", *options], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    conversation = [{"role": "system", "content": "principles : none ."}, {"role": "user", "content": "3 8 dax 5 2 = ?"}]
    ids = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    assert tokenizer.decode(ids[0]) == "<|system|> principles : none . <|user|> 3 8 dax 5 2 = ? <|assistant|>"
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [6]
