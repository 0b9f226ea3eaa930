"""Lists of values in a grid: a cell for each configuration, named by what differs."""

from pathlib import Path

import pytest

from espl_bench.accounting.cost_tracker import read_prices
from espl_bench.cli.app import invoke
from espl_bench.errors import UsageError
from espl_bench.sweep.grid import Cell, labelled, make_cells, read_grid

AXES = 'methods = ["espl"]\nenvironments = ["rulebook"]\nseeds = 1\n'


def cells_of(folder: Path, text: str, label: str | None = None) -> dict[str, Cell]:
    path = folder / "grid.toml"
    path.write_text(text)
    return {cell.name: cell for cell in make_cells(labelled(read_grid(path), label))}


def test_a_list_of_an_option_is_a_cell_for_each_value(tmp_path: Path):
    cells = cells_of(tmp_path, AXES + "[options]\nlr = [1e-4, 1e-5]\nsteps = 3")
    assert {name: cell.config.optimisation.lr for name, cell in cells.items()} == {
        "rulebook-espl-lr0.0001-s0": 1e-4,
        "rulebook-espl-lr1e-05-s0": 1e-5,
    }


def test_lists_multiply_and_an_override_may_have_one(tmp_path: Path):
    text = AXES + '[options]\nlr = [1e-4, 1e-5]\n[[overrides]]\nwhen = { method = "espl" }\noptions = { selector = ["ucb", "uniform"] }'
    cells = cells_of(tmp_path, text)
    assert len(cells) == 4 and "rulebook-espl-lr0.0001-selectorucb-s0" in cells
    assert {cell.config.method.selector for cell in cells.values()} == {"ucb", "uniform"}


def test_a_value_that_changes_nothing_of_a_method_makes_no_second_cell(tmp_path: Path):
    text = 'methods = ["base", "evolution_only", "rl_only"]\nenvironments = ["rulebook"]\nseeds = 1\n[options]\nlr = [1e-4, 1e-5]'
    assert list(cells_of(tmp_path, text)) == [
        "rulebook-base-s0",
        "rulebook-evolution_only-s0",
        "rulebook-rl_only-lr0.0001-s0",
        "rulebook-rl_only-lr1e-05-s0",
    ]


def test_a_list_of_one_value_or_of_equal_ones_is_that_value(tmp_path: Path):
    assert list(cells_of(tmp_path, AXES + "[options]\nlr = [1e-4, 1e-4]\nsteps = [3]")) == ["rulebook-espl-s0"]


def test_how_a_run_is_measured_may_be_varied_too(tmp_path: Path):
    assert len(cells_of(tmp_path, AXES + "[options]\neval_samples = [2, 4]")) == 2


def test_an_option_that_is_a_list_is_varied_by_a_list_of_lists(tmp_path: Path):
    [cell] = cells_of(tmp_path, AXES + '[options]\nroot_principles = ["a b", "c"]').values()
    assert cell.config.evolution.root_principles == ("a b", "c")
    cells = cells_of(tmp_path, AXES + '[options]\nroot_principles = [["a b"], ["c", "d"]]').values()
    assert [each.config.evolution.root_principles for each in cells] == [("a b",), ("c", "d")]


@pytest.mark.parametrize(
    ("options", "words"),
    [("lr = []", "lr lists no value"), ('steps = [3, "many"]', "cell rulebook-espl-stepsmany-s0: options: steps"), ("seed = [1]", "axis")],
)
def test_a_mistake_in_a_list_is_one_line(options: str, words: str, tmp_path: Path):
    with pytest.raises(UsageError, match=words):
        cells_of(tmp_path, AXES + "[options]\n" + options)


def test_a_label_names_every_cell_and_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cells = cells_of(tmp_path, AXES + "[options]\nlr = [1e-4, 1e-5]", label="warm up")
    assert list(cells) == ["rulebook-espl-warm-up-lr0.0001-s0", "rulebook-espl-warm-up-lr1e-05-s0"]
    assert {cell.config.row for cell in cells.values()} == {"espl · warm up"}
    assert invoke(["sweep", "run", str(tmp_path / "grid.toml"), "--dry-run", "--label", "warm up"]) == 0
    assert "rulebook-espl-warm-up-lr0.0001-s0" in capsys.readouterr().out


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    assert list(cells_of(tmp_path, f"\ufeff{AXES}")) == ["rulebook-espl-s0"]
    (tmp_path / "prices.toml").write_text('\ufeff[models.x]\ninput = 1\noutput = 2\nsource = "x"\ndate = "2026-11-25"\n')
    assert read_prices(tmp_path / "prices.toml")["x"].output == 2
