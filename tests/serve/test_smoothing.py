import numpy as np
import pytest

from dcdp_jax.errors import ConfigError
from dcdp_jax.serve.smoothing import Smoother, parse_smoothing

A, B, C = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.8, 0.1]), np.array([0.2, 0.2, 0.6])
NONE = np.full(3, np.nan)


def labels(smoother, vectors):
    return [smoother(vector)[0] for vector in vectors]


def test_none_leaves_answers_alone():
    assert labels(Smoother(), [A, B, C]) == [0, 1, 2]


def test_mean_is_that_of_the_last_ones():
    smoother = Smoother("mean", 2)
    found = [smoother(vector)[1] for vector in (A, B, C)]
    np.testing.assert_allclose(found, [A, (A + B) / 2, (B + C) / 2])


def test_majority_is_what_most_say_and_of_equals_the_last():
    smoother = Smoother("majority", 3)
    assert labels(smoother, [A, A, B, C, B]) == [0, 0, 0, 2, 1]
    np.testing.assert_allclose(smoother(C)[1], [0, 1 / 3, 2 / 3])


@pytest.mark.parametrize("method", ["mean", "majority"])
def test_no_answer_stays_none_and_does_not_count(method):
    smoother = Smoother(method, 2)
    smoother(A)
    label, vector = smoother(NONE)
    assert label == -1
    assert np.isnan(vector).all()
    np.testing.assert_allclose(smoother(A)[1], A if method == "mean" else [1, 0, 0])


def test_reset_forgets():
    smoother = Smoother("mean", 3)
    smoother(A)
    smoother.reset()
    np.testing.assert_allclose(smoother(B)[1], B)


@pytest.mark.parametrize(
    ("text", "expected"), [("", ("", 1)), ("mean:5", ("mean", 5)), ("majority:1", ("majority", 1))]
)
def test_flag(text, expected):
    assert parse_smoothing(text) == expected


@pytest.mark.parametrize("text", ["mean", "mean:", "mean:0", "mean:-1", "median:3", ":3", "mean:2.5"])
def test_another_flag_is_refused(text):
    with pytest.raises(ConfigError, match="expected mean:N or majority:N"):
        parse_smoothing(text)


@pytest.mark.parametrize("arguments", [("median", 3), ("mean", 0)])
def test_another_method_is_refused(arguments):
    with pytest.raises(ConfigError, match="smoothing"):
        Smoother(*arguments)
