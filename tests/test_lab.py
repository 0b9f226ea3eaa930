"""The laboratory: what its examples prove, whether its vocabulary can say it, and whether its pre-training can be resumed."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from espl_envs.lab import pretrain as lab
from espl_envs.lab.language import (
    NAMES,
    Champion,
    Solver,
    Vote,
    as_principles,
    as_stated,
    draw_beliefs,
    draw_chain,
    draw_world,
    judge_attempts,
    judge_parents,
    settle,
    write_edits,
)
from espl_envs.lab.skills import MIXTURE, SKILLS, Skill, draw_critique, lookup, solve
from espl_envs.lab.tokenizer import MAX_PRINCIPLES, build_tokenizer, words
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.meanings import SYMBOLS, principle
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scripted_engine import make_chat, respond
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench.operators.edits import Add, Merge, Modify, Remove, apply_edits, parse_edits, render_edits

EXAMPLES = 150


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


# What labelled attempts prove

ONE, TWO = Chain((3, 5), ("@",)), Chain((3, 5, 2), ("@", "#"))


def attempt(chain: Chain, *steps: tuple[str, int]) -> Solution:
    return Solution(chain, tuple(name for name, _ in steps), tuple(result for _, result in steps))


def test_a_meaning_that_a_right_attempt_used_is_added():
    finding = judge_attempts(rng(), [], 5, [attempt(ONE, ("larger", 5)), attempt(ONE, ("gap", 2))])
    assert (finding.edits, finding.decided) == ((Add("@ larger digit ."),), True)


def test_a_right_answer_reached_by_a_slip_proves_nothing():
    assert judge_attempts(rng(), [], 5, [attempt(ONE, ("gap", 5)), attempt(ONE, ("gap", 2))]).edits == ()


def test_two_proofs_outvote_one_and_one_against_one_is_undecided():
    larger, middle = attempt(ONE, ("larger", 5)), attempt(Chain((3, 5), ("@",)), ("product", 5))
    assert judge_attempts(rng(), [], 5, [larger, larger, middle]).decided
    both = [judge_attempts(rng(seed), [], 5, [larger, middle]) for seed in range(20)]
    assert {finding.edits for finding in both} == {(Add("@ larger digit ."),), (Add("@ product digit ."),)}
    assert not any(finding.decided for finding in both)


def test_what_is_stated_and_proven_stays():
    pairs = [("@", "larger")]
    assert judge_attempts(rng(), pairs, 5, [attempt(ONE, ("larger", 5)), attempt(ONE, ("larger", 1))]).edits == ()


def test_a_stated_meaning_that_a_proof_contradicts_is_modified():
    pairs = [("#", "sum"), ("@", "gap")]
    finding = judge_attempts(rng(), pairs, 5, [attempt(ONE, ("larger", 5)), attempt(ONE, ("gap", 2))])
    assert (finding.edits, finding.decided) == ((Modify(1, "@ larger digit ."),), True)


def test_in_a_longer_chain_a_stated_meaning_is_modified_only_if_it_misses_the_truth():
    proof = attempt(TWO, ("larger", 5), ("sum", 7))
    missing = [("@", "gap"), ("#", "sum")]
    assert judge_attempts(rng(), missing, 7, [proof, attempt(TWO, ("gap", 2), ("sum", 4))]).edits == (Modify(0, "@ larger digit ."),)
    harmless = [("@", "larger"), ("#", "gap")]
    other = attempt(Chain((3, 5, 0), ("@", "#")), ("larger", 5), ("sum", 5))
    wrong = attempt(other.chain, ("larger", 5), ("gap", 4))
    assert judge_attempts(rng(), harmless, 5, [other, wrong]).edits == (), "gap and sum agree on 5 and 0"


def test_a_refuted_meaning_without_a_proof_is_replaced_by_a_fair_guess():
    edits = {judge_attempts(rng(seed), [("@", "gap")], 5, [attempt(ONE, ("gap", 2))]).edits for seed in range(30)}
    assert edits == {(Modify(0, f"@ {name} digit ."),) for name in NAMES if ONE.solve({"@": name}).answer == 5}
    assert not judge_attempts(rng(), [("@", "gap")], 5, [attempt(ONE, ("gap", 2))]).decided


def test_at_most_two_edits_come_of_one_problem():
    chain = Chain((3, 5, 2, 1), ("@", "#", "$"))
    proof = attempt(chain, ("larger", 5), ("sum", 7), ("gap", 6))
    assert judge_attempts(rng(), [], 6, [proof]).edits == (Add("@ larger digit ."), Add("# sum digit ."))


# Aggregation and crossover


def test_the_meaning_with_most_votes_becomes_the_only_principle():
    finding = settle(rng(), "@", [Vote(2, "gap", 1), Vote(4, "larger", 3)], [])
    assert (finding.edits, finding.decided) == ((Merge((2, 4), "@ larger digit ."),), True)


def test_what_stands_goes_unless_it_is_outvoted():
    assert settle(rng(), "@", [Vote(0, "gap", 0)], []).edits == ()
    assert settle(rng(), "@", [Vote(0, "gap", 0)], [Vote(0, "larger", 1)]).edits == (Modify(0, "@ larger digit ."),)
    assert settle(rng(), "@", [Vote(3, "gap", 2)], []).edits == ()


def test_a_tie_of_votes_is_undecided():
    assert not settle(rng(), "@", [Vote(0, "gap", 2), Vote(1, "larger", 2)], []).decided


A = (("@", "larger"), ("#", "sum"))


def won(*symbols: str) -> tuple[Chain, ...]:
    return tuple(Chain((1, 2), (symbol,)) for symbol in symbols)


@pytest.mark.parametrize(
    ("rival", "mine", "theirs", "edits"),
    [
        ((("@", "gap"), ("#", "sum")), "", "@", (Modify(0, "@ gap digit .", "set B"),)),
        ((("@", "larger"),), "", "#", (Remove(1, "set B"),)),
        ((*A, ("$", "next")), "", "$", (Add("$ next digit .", "set B"),)),
        ((("@", "gap"), ("#", "sum")), "@", "@", ()),
        ((("@", "gap"), ("#", "sum")), "@", "@@", (Modify(0, "@ gap digit .", "set B"),)),
        (A, "", "@#", ()),
        ((("@", "gap"), ("#", "sum")), "", "$", ()),
    ],
)
def test_set_a_takes_what_won_more_problems_elsewhere(rival: tuple, mine: str, theirs: str, edits: tuple):
    finding = judge_parents(Champion("A", A, won(*mine)), [Champion("B", rival, won(*theirs))])
    assert (finding.edits, finding.decided) == (edits, True)


def test_of_two_rivals_the_one_with_more_wins_is_followed():
    rivals = [Champion("B", (("@", "gap"),), won("@")), Champion("C", (("@", "next"),), won("@", "@"))]
    assert judge_parents(Champion("A", A[:1], ()), rivals).edits == (Modify(0, "@ next digit .", "set C"),)


# Solvers


def test_a_faultless_solver_follows_what_is_stated():
    stated = {"@": ("larger",), "#": ("sum",)}
    for seed in range(20):
        assert Solver(stated, {}, slip=0.0, stray=0.0).attempt(rng(seed), TWO).text == "@ larger 3 5 = 5 ; # sum 5 2 = 7 ; answer 7"


def test_habits_fill_in_where_nothing_is_stated_and_straying_leaves_both():
    plain = Solver({}, {"@": "gap"}, slip=0.0, stray=0.0)
    assert {plain.attempt(rng(seed), ONE).used for seed in range(20)} == {("gap",)}
    wild = Solver({"@": ("gap",)}, {"@": "gap"}, slip=0.0, stray=1.0)
    assert len({wild.attempt(rng(seed), ONE).used for seed in range(100)}) == len(NAMES)


def test_slips_are_carried_on_and_as_frequent_as_said():
    solver = Solver({"@": ("larger",), "#": ("sum",)}, {}, slip=0.5, stray=0.0)
    attempts = [solver.attempt(rng(seed), TWO) for seed in range(400)]
    slipped = sum(not found.clean for found in attempts) / 400
    assert 0.6 < slipped < 0.76, "1 - 0.55 squared: a slip may hit the right digit"


def test_contradicting_principles_are_both_believed():
    both = Solver({"@": ("gap", "larger")}, {}, slip=0.0, stray=0.0)
    assert {both.attempt(rng(seed), ONE).used[0] for seed in range(30)} == {"gap", "larger"}


def test_worlds_and_beliefs_are_drawn_as_said():
    for seed in range(50):
        world = draw_world(rng(seed))
        assert len(set(world.values())) == len(SYMBOLS)
        assert draw_beliefs(rng(seed), world, known=0.0, wrong=0.5) == []
        pairs = draw_beliefs(rng(seed), world, known=1.0, wrong=0.0)
        assert set(as_stated(pairs)) == set(SYMBOLS)
        assert all(world[symbol] in meanings for symbol, meanings in as_stated(pairs).items())
        assert as_principles(pairs) == tuple(principle(*pair) for pair in pairs)


# Writing


@st.composite
def edit_lists(draw: st.DrawFn):
    text = st.builds(principle, st.sampled_from(SYMBOLS), st.sampled_from(NAMES))
    evidence = st.sampled_from(["", "set B", "set C"])
    index = st.integers(0, 7)
    kinds = st.one_of(
        st.builds(Add, text, evidence),
        st.builds(Modify, index, text, evidence),
        st.builds(Remove, index, evidence),
        st.builds(Merge, st.lists(index, min_size=2, max_size=4, unique=True).map(tuple), text, evidence),
    )
    return tuple(draw(st.lists(kinds, max_size=5)))


ALL = {"add", "modify", "merge", "remove"}


@settings(max_examples=150, deadline=None)
@given(edit_lists())
def test_written_edits_are_read_back_as_they_were(edits: tuple):
    shown = [f"principle {index}" for index in range(8)]
    parsed = parse_edits(write_edits(edits), ALL, shown, None, 32)
    assert (parsed.edits, parsed.problems) == (edits, ())
    assert parse_edits(render_edits(edits), ALL, shown, None, 32).edits == edits


@settings(max_examples=100, deadline=None)
@given(edit_lists())
def test_the_vocabulary_can_spell_every_edit(edits: tuple):
    chat = make_chat()
    text = write_edits(edits)
    ids = chat._tokenizer(text)["input_ids"]
    assert chat._tokenizer.unk_token_id not in ids
    assert chat.decode(ids) == text


# Examples


@pytest.mark.parametrize("skill", [*Skill, "lookup"])
def test_every_word_of_every_example_is_in_the_vocabulary(skill: str):
    tokenizer = build_tokenizer()
    generator = rng(1)
    for _ in range(EXAMPLES):
        example = (SKILLS | {"lookup": lookup})[skill](generator)
        for text in (*(message.content for message in example.messages), example.target):
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids).split() == text.split()


@pytest.mark.parametrize("skill", [Skill.SUMMARISE, Skill.CRITIQUE, Skill.AGGREGATE, Skill.CROSSOVER])
def test_where_the_evidence_decides_the_target_follows_from_what_is_shown(skill: Skill):
    chat, generator = make_chat(), rng(2)
    decided = 0
    for seed in range(EXAMPLES):
        example = SKILLS[skill](generator)
        if example.decided:
            decided += 1
            assert respond(chat.decode(chat.encode(example.messages)), rng(seed), 0.0) == example.target
    assert decided > EXAMPLES / 2


@pytest.mark.parametrize("skill", [Skill.CRITIQUE, Skill.AGGREGATE, Skill.CROSSOVER])
def test_targets_are_edits_that_the_operators_accept(skill: Skill):
    allowed = {Skill.CRITIQUE: {"add", "modify"}, Skill.AGGREGATE: {"modify", "merge"}, Skill.CROSSOVER: {"add", "modify", "remove"}}[skill]
    generator, limit = rng(3), 2 if skill is Skill.CRITIQUE else None
    kinds = set()
    for _ in range(EXAMPLES):
        example = SKILLS[skill](generator)
        shown = example.messages[0].content
        stated = re.findall(r"\[G(\d+)\]", shown.partition("set B")[0] if skill is Skill.CROSSOVER else shown)
        count = max((int(index) + 1 for index in stated), default=0)
        parsed = parse_edits(example.target, allowed, ["x"] * count, limit, 32)
        assert not parsed.problems
        assert write_edits(parsed.edits) == example.target
        apply_edits(["x"] * count, parsed.edits)
        kinds.update(edit.op for edit in parsed.edits)
    assert kinds == allowed, "every operation of the stage is taught"


def test_a_critique_has_contrast_and_its_decided_finding_does_not_hang_on_chance():
    generator = rng(4)
    for _ in range(EXAMPLES):
        case = draw_critique(generator)
        right = [found.answer == case.truth for found in case.attempts]
        assert any(right) and not all(right)
        again = judge_attempts(rng(99), case.pairs, case.truth, case.attempts)
        assert again.decided == case.finding.decided
        if case.finding.decided:
            assert again.edits == case.finding.edits


def test_what_a_decided_critique_adds_is_mostly_true_of_its_world():
    generator, true, total = rng(5), 0, 0
    for _ in range(300):
        world = draw_world(generator)
        chain = draw_chain(generator, 1)
        truth = chain.solve(world).answer
        attempts = [Solver({}, {}, 0.1, 0.0).attempt(generator, chain) for _ in range(5)]
        for edit in judge_attempts(generator, [], truth, attempts).edits:
            total += 1
            true += edit == Add(principle(chain.symbols[0], world[chain.symbols[0]]))
    assert total > 100 and true / total > 0.4, "chance would be 0.1"


def test_no_example_can_give_a_world_away():
    """Targets of look-up follow from the principles shown, never from a fixed world."""
    generator = rng(6)
    meanings: dict[str, set[str]] = {}
    for _ in range(400):
        example = lookup(generator)
        symbol, meaning, *_ = example.target.split()
        assert principle(symbol, meaning) in example.messages[0].content
        meanings.setdefault(symbol, set()).add(meaning)
    assert all(found == set(NAMES) for found in meanings.values())


def test_examples_are_a_function_of_the_generator():
    for skill in Skill:
        assert [SKILLS[skill](rng(7)) for _ in range(2)] == [SKILLS[skill](rng(7))] * 2
    assert solve(rng(1)) != solve(rng(2))
    assert sum(MIXTURE.values()) == pytest.approx(1)


# Tokenizer


def test_the_tokenizer_knows_its_words_once_and_speaks_by_a_template():
    tokenizer = build_tokenizer()
    assert len(list(words())) == len(set(words())) == len(tokenizer)
    chat = make_chat()
    assert chat.eos_ids == {tokenizer.eos_token_id}
    for index in range(MAX_PRINCIPLES):
        assert len(tokenizer(f"[G{index}] G{index}")["input_ids"]) == 2
    assert tokenizer(f"[G{MAX_PRINCIPLES}]")["input_ids"] == [tokenizer.unk_token_id]


def test_the_tokenizer_survives_its_file(tmp_path: Path):
    built = build_tokenizer()
    built.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "principles : [G0] @ larger digit . 3 @ 5 = ? <|end|>"
    assert loaded(text)["input_ids"] == built(text)["input_ids"]
    assert loaded.chat_template == built.chat_template


# Pre-training

SMALL = lab.Recipe(steps=6, lookup_steps=3, batch_size=8, width=32, layers=2, heads=2)


def pretrained(out: Path, recipe: lab.Recipe = SMALL, **options):
    return lab.pretrain(recipe, out, device="cpu", workers=0, **options)


def test_a_stopped_pre_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, save = tmp_path / "stopped", lab.save

    def save_and_copy(folder: Path, model, optimizer, recipe, step: int, seconds: float) -> None:
        save(folder, model, optimizer, recipe, step, seconds)
        if step == 3:
            shutil.copytree(folder, kept)

    monkeypatch.setattr(lab, "save", save_and_copy)
    pretrained(tmp_path / "unbroken", save_every=3)
    assert torch.load(kept / "state.pt", weights_only=True)["step"] == 3
    monkeypatch.setattr(lab, "save", save)
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
    tokenizer = build_tokenizer()
    recipe = lab.Recipe(batch_size=16, width=32, layers=2, heads=2, lr=5e-3, warmup=5)
    model = lab.build_model(recipe, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr)
    batch = lab.Curriculum(recipe, tokenizer)[0]
    losses = [lab.train_step(model, optimizer, batch, "cpu") for _ in range(20)]
    assert losses[-1] < 0.6 * losses[0]


def test_only_what_is_to_be_written_is_learned():
    tokenizer = build_tokenizer()
    curriculum = lab.Curriculum(SMALL, tokenizer)
    example = solve(rng(1))
    [micro] = curriculum.batch([example])
    learned = micro.labels_BT[0][micro.labels_BT[0] != lab.IGNORED]
    assert tokenizer.decode(learned) == f"{example.target} <|end|>"
    place = int((micro.labels_BT[0] != lab.IGNORED).nonzero()[0])
    assert tokenizer.decode(micro.tokens_BT[0][place]) == "<|assistant|>", "labels are shifted by one"


def test_how_a_batch_is_cut_changes_only_rounding():
    tokenizer = build_tokenizer()
    gradients = []
    for size in (10**6, 200):
        recipe = lab.Recipe(batch_size=12, micro_tokens=size, width=32, layers=2, heads=2)
        model = lab.build_model(recipe, tokenizer)
        batch = lab.Curriculum(recipe, tokenizer)[2000]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = model.lm_head.weight.detach().clone()
        lab.train_step(model, optimizer, batch, "cpu")
        gradients.append((len(batch), model.lm_head.weight.detach() - before))
    (few, whole), (many, pieces) = gradients
    assert few == 1 < many
    torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-6)


def test_a_model_is_drawn_from_its_own_seed_and_leaves_the_global_one_alone():
    tokenizer = build_tokenizer()
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
    options = ["--steps=6", "--lookup-steps=3", "--batch-size=8", "--device=cpu", f"--out={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "espl_envs.lab.pretrain", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    conversation = [{"role": "system", "content": "principles : none ."}, {"role": "user", "content": "3 @ 5 = ?"}]
    ids = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    assert tokenizer.decode(ids[0]) == "<|system|> principles : none . <|user|> 3 @ 5 = ? <|assistant|>"
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [0]
