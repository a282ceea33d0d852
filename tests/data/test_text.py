"""The shared reading of tables: what is accepted, and how what is not accepted is named."""

import os

import numpy as np
import pytest

from dcdp_jax.data import text
from dcdp_jax.data.text import (
    codes_to_labels,
    fill_missing,
    is_finite_number,
    read_codes,
    read_columns,
    stretch_starts,
)
from dcdp_jax.errors import DataError


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "table.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "1 2 3\n4 5 6\n",
        "1 2 3\n4 5 6",
        "1 2 3\r\n4 5 6\r\n",
        "  1  2   3\n4\t5 6  \n",
        "1 2 3 \n4 5 6\n\n\n",
        "+1 2.0 .3e1\n4. 5 6\n",
        b"\xef\xbb\xbf1 2 3\n4 5 6\n",
    ],
)
@pytest.mark.parametrize("aligned", [False, True])
def test_forms_of_the_same_table(file, content, aligned):
    signals, exact = read_columns(file(content), 3, (0, 2), (1,), aligned=aligned)
    np.testing.assert_array_equal(signals, np.array([[1, 3], [4, 6]], np.float32))
    np.testing.assert_array_equal(exact, [[2.0], [5.0]])
    assert (signals.dtype, exact.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("\n\n", "empty"),
        ("1 2 3\n4 5\n", "line 2: 2 columns, expected 3"),
        ("1 2 3\n4 5 6 7\n", "line 2: 4 columns, expected 3"),
        ("1 2 3\n4 x5 6\n", "line 2, column 2: 'x5' is not a finite number"),
        ("1 2 3\n4 NaN 6\n", "line 2, column 2: 'NaN' is not a finite number"),
        ("1 2 3\n4 5 -inf\n", "line 2, column 3: '-inf' is not a finite number"),
        ("1 2 3\n4 1e39 6\n", "line 2, column 2: '1e39' is not a finite number"),
        ("1 2 3\n4 1_0 6\n", "line 2, column 2: '1_0' is not a finite number"),
        ("1 2 3\n\n4 5 6\n", "line 2: empty, expected 3 columns"),
        ("1 2 3\n4 5 \u0663\n", "line 2, column 3: "),
        ("1 2 3\n".encode("utf-16"), "line 1"),
        (b"1 2 3\n4 5\x00 6\n", r"line 2, column 2: '5\x00' is not a finite number"),
    ],
)
@pytest.mark.parametrize("aligned", [False, True])
def test_errors_name_file_line_and_content(file, content, message, aligned):
    with pytest.raises(DataError) as error:
        read_columns(file(content), 3, range(3), aligned=aligned)
    assert "table.txt" in str(error.value)
    assert message in str(error.value)


def test_columns_that_are_not_asked_for_are_not_looked_at(file):
    signals, _ = read_columns(file("1 x 3\n4 NaN 6\n"), 3, (0, 2))
    np.testing.assert_array_equal(signals, [[1, 3], [4, 6]])


def test_missing_values_on_request_only(file):
    signals, _ = read_columns(file("1 NaN 3\n4 nan 6\n"), 3, range(3), missing=True)
    assert np.isnan(signals[:, 1]).all()
    with pytest.raises(DataError, match="column 2: 'inf'"):
        read_columns(file("1 inf 3\n"), 3, range(3), missing=True)


def test_absent_files_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"no\.txt: no such file"):
        read_columns(tmp_path / "no.txt", 3, range(3))
    with pytest.raises(DataError, match="directory"):
        read_columns(tmp_path, 3, range(3))


def test_commas(file):
    signals, _ = read_columns(file("1,2,3\n4, 5 ,6\n"), 3, range(3), delimiter=",")
    np.testing.assert_array_equal(signals, [[1, 2, 3], [4, 5, 6]])
    with pytest.raises(DataError, match="line 2: 4 columns"):
        read_columns(file("1,2,3\n4,5,6,\n"), 3, range(3), delimiter=",")


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_blocks_do_not_show(file, monkeypatch, block):
    table = np.arange(600, dtype=np.float32).reshape(200, 3)
    path = file("".join(" ".join(map(str, row)) + "\n" for row in table.tolist()))
    monkeypatch.setattr(text, "BLOCK", block)
    ranges = list(text.line_ranges(path))
    assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert ranges[-1][1] == os.path.getsize(path)
    np.testing.assert_array_equal(read_columns(path, 3, range(3))[0], table)


def test_the_line_of_an_error_in_a_later_block(file, monkeypatch):
    monkeypatch.setattr(text, "BLOCK", 50)
    path = file("1 2 3\n" * 99 + "1 2\n" + "1 2 3\n" * 50)
    with pytest.raises(DataError, match="line 100: 2 columns"):
        read_columns(path, 3, range(3))


def test_codes(file):
    np.testing.assert_array_equal(read_codes(file("1 30\n2 4\n"), (2, 30), ("a", "b")), [[1, 30], [2, 4]])
    for content, message in (
        ("1 30\n2 31\n", "line 2: b 31, expected a whole number from 1 to 30"),
        ("0 30\n", "line 1: a 0,"),
        ("1.5 3\n", "line 1: a 1.5"),
    ):
        with pytest.raises(DataError, match=message):
            read_codes(file(content), (2, 30), ("a", "b"))


def test_labels(tmp_path):
    labels = codes_to_labels(tmp_path, np.array([0.0, 24, 1]), {0: -1, 1: 0, 24: 1})
    np.testing.assert_array_equal(labels, np.array([-1, 1, 0], np.int32))
    for bad in (2.0, 25.0, -1.0, 1.5, np.nan):
        with pytest.raises(DataError, match=r"line 2: label .*expected one of 0, 1, 24"):
            codes_to_labels(tmp_path, np.array([0.0, bad]), {0: -1, 1: 0, 24: 1})


def test_filling():
    nan = np.nan
    signals = np.array(
        [[nan, nan, 1], [1, nan, 1], [nan, nan, 1], [nan, nan, 1], [4, nan, 1], [nan, nan, 1]], np.float32
    )
    zero, nearest = signals.copy(), signals.copy()
    assert fill_missing(zero, "zero").tolist() == fill_missing(nearest, "nearest").tolist() == [4, 6, 0]
    np.testing.assert_array_equal(zero[:, 0], [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(nearest[:, 0], [1, 1, 2, 3, 4, 4])
    for filled in (zero, nearest):
        np.testing.assert_array_equal(filled[:, 1:], [[0, 1]] * 6)


def test_filling_is_what_pandas_does_and_then_zero():
    import pandas as pd

    rng = np.random.default_rng(0)
    signals = rng.normal(size=(200, 4)).astype(np.float32)
    signals[rng.random(signals.shape) < 0.4] = np.nan
    expected = pd.DataFrame(signals.astype(np.float64)).interpolate().fillna(0).to_numpy()
    fill_missing(signals, "zero")
    np.testing.assert_allclose(signals, expected, rtol=1e-6)


def test_stretches(tmp_path):
    starts = stretch_starts(tmp_path, np.array([0.0, 33, 67, 100, 170, 200, 190, 190, 223]), 50.0)
    np.testing.assert_array_equal(starts, [0, 4, 6, 7])
    with pytest.raises(DataError, match="line 2: NaN, expected a time"):
        stretch_starts(tmp_path, np.array([0.0, np.nan]), 50.0)
    with pytest.raises(DataError, match="3 of 5 lines have the time of the line before"):
        stretch_starts(tmp_path, np.array([0.0, 0, 0, 0, 1000]), 50.0)


@pytest.mark.parametrize(
    ("field", "finite"),
    [
        (b"1", True),
        (b"-1.5e-3", True),
        (b"1e38", True),
        (b"1e39", False),
        (b"1e", False),
        (b"", False),
        (b"1 2", False),
    ],
)
def test_numbers(field, finite):
    assert is_finite_number(field) is finite
