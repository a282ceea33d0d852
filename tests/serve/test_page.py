"""docs/using_a_model.md: the program runs and prints what the page says, but for the classes."""

import re
from pathlib import Path

from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.predict import windows_table
from tests.serve.making import make_card

PAGE = (Path(__file__).parents[2] / "docs" / "using_a_model.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def test_the_program_prints_what_the_page_says(finished, model, tmp_path, monkeypatch, capsys):
    """The page's model is `make demo`'s; here it is a smaller one, that answers the same windows with other classes."""
    at = next(i for i, (kind, _) in enumerate(BLOCKS) if kind == "python")
    (_, code), (_, expected) = BLOCKS[at : at + 2]
    assert len([line for line in code.splitlines() if line]) == 10
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    windows, classes = zip(*(line.split(": ") for line in capsys.readouterr().out.splitlines()), strict=True)
    expected_windows, expected_classes = zip(*(line.split(": ") for line in expected.splitlines()), strict=True)
    assert windows == expected_windows
    assert {*classes, *expected_classes} <= set(model.card.class_names)


def test_every_field_of_the_card_is_on_the_page():
    table = PAGE[PAGE.index("## model.json") :]
    named = [
        name for cell in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert sorted(named) == sorted(ModelCard.__struct_fields__)


def test_the_columns_are_those_of_the_page():
    header = windows_table(make_card(), [], []).strip().split(",")
    row = next(line for line in PAGE.splitlines() if line.startswith("| `windows.csv`"))
    named = re.findall(r"`(\w+)`", row.split("|")[3])
    assert named == [*header[:5], "p_CLASS"]
