"""docs/composing.md: every program runs, prints the output on the page, and is under forty lines."""

import re
from pathlib import Path

import pytest

from dcdp_jax.optim import METHODS, methods

PAGE = (Path(__file__).parents[2] / "docs" / "composing.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
TITLES = re.findall(r"^##? (.+)$", PAGE, re.MULTILINE)
PROGRAMS = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


def test_every_program_has_its_output_and_every_section_its_program():
    assert all(program[0] == "python" and output[0] == "text" for program, output in PROGRAMS)
    assert len(PROGRAMS) == len(TITLES)


def test_the_first_program_is_ten_lines():
    assert len([line for line in PROGRAMS[0][0][1].splitlines() if line]) == 10


def test_a_method_of_ones_own_is_under_thirty_lines():
    for title in ("A method of your own", "A method of your own in the imbalance study"):
        (_, code), _ = PROGRAMS[TITLES.index(title)]
        assert len([line for line in code.splitlines() if line]) < 30


@pytest.fixture
def own_methods(monkeypatch):
    """Methods that a program adds are gone after it."""
    monkeypatch.setattr(methods, "NAMES", list(methods.NAMES))
    before = set(METHODS)
    yield
    for name in set(METHODS) - before:
        del METHODS[name]


@pytest.mark.parametrize("program", PROGRAMS, ids=TITLES)
def test_it_prints_what_the_page_says(program, tmp_path, monkeypatch, capsys, own_methods):
    monkeypatch.chdir(tmp_path)
    (_, code), (_, expected) = program
    assert len(code.splitlines()) < 40
    exec(code, {})
    # Training prints what it does; the last lines are those of the program.
    assert ("\n" + capsys.readouterr().out).endswith("\n" + expected)
