"""A trained model says what training's own evaluation says, also without some of its sensors."""

import json
import shutil

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.errors import CheckpointError, DataError
from dcdp_jax.runs.files import write_recorded
from dcdp_jax.serve.model import compiled, forward, load_model, predict, probabilities
from tests.serve.making import Kind, make_model, noise


@pytest.fixture(scope="module")
def windows():
    return noise(70 * 16, 6).reshape(70, 16, 6)


@pytest.fixture(scope="module")
def random_model():
    return make_model()


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def independent(model, windows):
    """Probabilities of fusion and branches, with NumPy around the network."""
    shift, scale = np.float32(model.card.shift), np.float32(model.card.scale)
    outputs = model.network.apply(model.variables, jnp.asarray((windows - shift) * scale))
    return softmax(np.float64(outputs.fusion)), {n: softmax(np.float64(z)) for n, z in outputs.branches.items()}


def test_it_says_what_evaluation_said(model, finished, data):
    dataset = build_dataset(data)
    split = dataset.splits["test"]
    found = probabilities(model, dataset.signals[split.starts[:, None] + np.arange(dataset.window)])
    result = json.loads((finished / "result.json").read_text())
    confusion = np.zeros((8, 8), int)
    np.add.at(confusion, (split.labels, found.fusion.argmax(axis=1)), 1)
    assert confusion.tolist() == result["confusion"]
    for name, accuracy in result["branches"].items():
        assert np.mean(found.branches[name].argmax(axis=1) == split.labels) == pytest.approx(accuracy)


def test_it_is_normalisation_network_and_softmax(random_model, windows):
    fusion, branches = independent(random_model, windows)
    found = probabilities(random_model, windows)
    np.testing.assert_allclose(found.fusion, fusion, atol=1e-6)
    assert found.branches.keys() == branches.keys() == {"res", "dense"}
    for name in branches:
        np.testing.assert_allclose(found.branches[name], branches[name], atol=1e-6)
    assert len(set(fusion.argmax(axis=1))) > 1


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65])
def test_any_number_of_windows(random_model, windows, count):
    found = probabilities(random_model, windows[:count])
    assert found.fusion.shape == found.branches["res"].shape == (count, 4)
    np.testing.assert_allclose(found.fusion, probabilities(random_model, windows).fusion[:count], atol=1e-6)


def test_it_is_compiled_once(random_model, windows):
    probabilities(random_model, windows)
    before = compiled._cache_size()
    for count in (1, 5, 65):
        probabilities(random_model, windows[:count])
    assert compiled._cache_size() == before


def test_the_pure_function_is_the_same(random_model, windows):
    found = jax.jit(forward(random_model))(windows[:5])
    np.testing.assert_allclose(found.fusion, probabilities(random_model, windows[:5]).fusion, atol=1e-6)


def test_branches_answer_without_the_others(random_model, windows):
    damaged = windows.copy()
    damaged[1, 3, 4] = np.nan  # a gyroscope's value
    damaged[2, :, :3] = np.nan  # the accelerometer
    damaged[3, 0] = np.nan  # a sample of both
    fusion, branches = independent(random_model, windows)
    found = predict(random_model, damaged)
    assert found.complete[:5].tolist() == [[True, True], [True, False], [False, True], [False, False], [True, True]]
    np.testing.assert_allclose(found.probabilities[1], branches["res"][1], atol=1e-6)
    np.testing.assert_allclose(found.probabilities[2], branches["dense"][2], atol=1e-6)
    assert np.isnan(found.probabilities[3]).all()
    np.testing.assert_allclose(found.probabilities[4:], fusion[4:], atol=1e-6)


def test_the_mean_of_two_branches_of_three(windows):
    from dcdp_jax.models.multipath import BranchSpec, MultiPath
    from dcdp_jax.serve.model import TrainedModel
    from tests.serve.making import make_card, random_variables

    branches = tuple(BranchSpec(name, "resnet", (2 * i, 2 * i + 1)) for i, name in enumerate("abc"))
    network = MultiPath(branches, 4, 4, (1,), (1,), embedding=8, projection_hidden=4, projection=4, fusion_hidden=8)
    variables = random_variables(network, 16, 6)
    model = TrainedModel(msgspec.structs.replace(make_card(), branches=branches), network, variables)
    damaged = windows.copy()
    damaged[:, :, 2] = np.nan
    _, each = independent(model, windows)
    found = predict(model, damaged)
    np.testing.assert_allclose(found.probabilities, (each["a"] + each["c"]) / 2, atol=1e-6)


def test_a_baseline_needs_all_channels(windows):
    model = make_model(Kind(baseline="cnn"))
    damaged = windows.copy()
    damaged[1, 3, 4] = np.nan
    found = predict(model, damaged)
    assert found.complete[:3].tolist() == [[True], [False], [True]]
    assert np.isnan(found.probabilities[1]).all()
    np.testing.assert_allclose(found.probabilities[2], independent(model, windows)[0][2], atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 6), (2, 15, 6), (2, 16, 7)])
def test_windows_of_another_shape_are_refused(random_model, shape):
    with pytest.raises(DataError, match=r"expected \(n, 16, 6\)"):
        predict(random_model, np.zeros(shape, np.float32))


def change_config(run, old, new):
    """Writes another config as a run writes its own."""
    write_recorded(run, "config.json", (run / "config.json").read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "result.json").unlink(), "no finished run"),
        (lambda run: (run / "model.json").unlink(), "model.json is missing"),
        (lambda run: (run / "model.json").write_text("{"), "model.json is damaged"),
        (lambda run: (run / "config.json").write_text("{}"), "config.json is damaged: it has changed"),
        (lambda run: write_recorded(run, "config.json", "{}"), "config.json: not the config of a run"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "the checkpoint . is missing"),
        (
            lambda run: change_config(run, '"dcdp_har"', '"random_forest"'),
            "random_forest leaves no model",
        ),
        (
            lambda run: change_config(run, '"embedding": 8', '"embedding": 9'),
            "not of a model of this config",
        ),
    ],
)
def test_a_damaged_run_is_refused(copied, damage, message):
    damage(copied)
    with pytest.raises(CheckpointError, match=message):
        load_model(copied)
