"""Tests the training of classical models: class of no training window, bad input, and a result of each."""

import numpy as np
import pytest

from configs.studies.default import smallest
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.classical import CLASSICAL
from dcdp_jax.models.classical.classifiers import Fitted
from dcdp_jax.report.html import write_report
from dcdp_jax.train import classical
from dcdp_jax.train.classical import evaluate, train_classical
from dcdp_jax.train.messages import result_lines

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("one_thread")


def config_of(name, window=16):
    config = smallest()
    fields = {"model.name": name, "cgm.enabled": False, "data.window": window, "data.step": window}
    fields |= {"data.synthetic.subjects": 5, "data.synthetic.minutes": 1.0}
    config.update_from_flattened_dict(fields)
    return config


# Features compiled by JAX, and none; `make test-slow` trains the rest, of which tests/models/classical has the parts.
QUICK = ("hydra", "linear")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CLASSICAL]
)
def test_a_result_of_each(name, tmp_path):
    result = train_classical(config_of(name), tmp_path / "run")
    assert sum(map(sum, result["confusion"])) == result["windows"]["test"]
    assert result["parameters"] > 0
    assert result["wall_seconds"] > 0
    assert np.isfinite([result["test"]["loss"], result["test"]["ece"]]).all()
    assert result["test"]["accuracy"] > 0.3


@pytest.mark.parametrize("validation", ["protocol", "none"])
def test_a_model_that_is_fitted_once_selects_no_epoch(validation, tmp_path):
    """Whatever `train.selection` says, which is not read."""
    config = config_of("linear")
    config.train.selection, config.data.validation = "ema", validation
    result = train_classical(config, tmp_path / "run")
    assert result["selection"] is None
    score = result.get("validation", {}).get("f1_macro")
    chosen = "no validation set" if score is None else f"validation macro F1 {score:.4f}"
    assert result_lines(result, tmp_path).startswith(f"synthetic [synthetic], protocol subject, {chosen}\ntest: ")
    assert "Selection: none, because the model was fitted once." in write_report(tmp_path / "run").read_text()


def test_a_class_of_no_training_window():
    fitted = Fitted(lambda features: np.array([[1.0, 0.0], [0.25, 0.75]]), 1, smallest=0.01)
    found = evaluate(fitted, np.zeros((2, 1)), np.array([0, 1]), np.array([0, 2]), 3)
    expected = np.array([[1, 0.01, 0.01], [0.25, 0.01, 0.75]])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.tally.scores()["loss"] == pytest.approx(-np.log(expected[[0, 1], [0, 1]]).mean(), abs=1e-6)
    assert found.probabilities.dtype == np.float32


def test_without_scikit_learn(monkeypatch, tmp_path):
    monkeypatch.setattr(classical.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^model.name=quant needs scikit-learn: pip install 'dcdp_jax\[studies\]'$"):
        train_classical(config_of("quant"), tmp_path)


def test_windows_that_are_too_short(tmp_path):
    with pytest.raises(ConfigError, match=r"^data.window=8 is too short for minirocket, which needs 9$"):
        train_classical(config_of("minirocket", window=8), tmp_path)
