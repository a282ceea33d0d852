"""Names of people and classes: one spelling in every file format; a difference of spelling alone is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.names import check_alike, clean_name, clean_names, path_name
from dcdp_jax.errors import DataError

plain = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=6)
cased = plain.filter(lambda name: name != name.swapcase() and name.casefold() == name.swapcase().casefold())


@given(st.integers(-(10**9), 10**9), st.sampled_from(["", ".", ".0", ".000"]), st.sampled_from(["", " ", "\t"]))
def test_a_whole_number_is_one_name_in_every_spelling(number, end, blank):
    spellings = [number, float(number), np.float32(number) if abs(number) < 2**24 else number, f"{blank}{number}{end}"]
    assert {clean_name(spelling) for spelling in spellings} == {str(number)}


@given(st.lists(st.one_of(plain, st.none(), st.floats(allow_infinity=False), st.integers(0, 99)), max_size=9))
def test_a_column_is_cleaned_cell_by_cell(cells):
    column = pd.Series(cells, dtype=object, index=np.arange(len(cells)) + 7)
    assert clean_names(column).tolist() == [clean_name(cell) for cell in cells]


@given(plain)
def test_cleaning_twice_is_cleaning_once(name):
    assert clean_name(clean_name(name)) == clean_name(name)


@given(
    plain.filter(lambda name: name != name.swapcase() and name.casefold() == name.swapcase().casefold()),
    st.sampled_from(["case", "blank", "zero", ".0", "underscore", "invisible"]),
)
@settings(max_examples=200)
def test_names_that_differ_in_spelling_only_are_shown(name, how):
    name = clean_name("p" + name)
    other = {
        "case": name.swapcase(),
        "blank": f"p {name[1:]}",
        "zero": "p07" + name[1:],
        ".0": name + ".0",
        "underscore": f"p_{name[1:]}",
        "invisible": name + "\u200b",
    }[how]
    if how == "zero":
        name = "p7" + name[1:]
    with pytest.raises(DataError) as raised:
        check_alike(["someone", name, other], "data.table.subject='person'")
    assert repr(name) in str(raised.value)
    assert repr(other) in str(raised.value)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=20))
def test_different_numbers_are_different_names(numbers):
    check_alike([clean_name(float(number)) for number in numbers], "people")
    check_alike([f"sub_{number}" for number in numbers], "people")
    check_alike(["1_1", "11", "-1"], "recordings")
    with pytest.raises(DataError, match="differ only in"):  # the letter in two code points, as macOS writes it
        check_alike(["Bj\u00f6rn", "Bjo\u0308rn"], "people")


@given(st.lists(st.tuples(plain, plain), unique=True, min_size=1, max_size=5), st.sampled_from([".csv", ".CSV.gz"]))
def test_files_of_different_folders_have_different_names(pairs, suffix):
    folder = Path("/data")
    names = [path_name(folder / a / f"{b}{suffix}", folder) for a, b in pairs]
    assert all(name.count("/") == 1 and "." not in name for name in names)
    assert path_name(Path("elsewhere/x.csv"), folder) == "x"
