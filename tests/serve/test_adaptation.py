"""Adaptation to a wearer: statistics of batch normalisation without labels, classifiers with a few."""

import csv
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default, demo
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.data.normalize import Normalizer, normalize
from dcdp_jax.errors import ConfigError, DataError, UserError
from dcdp_jax.evaluate.finished_run import evaluate_run
from dcdp_jax.runs.reading import read_run
from dcdp_jax.serve.adaptation import AdaptingModel, update_statistics
from dcdp_jax.serve.inputs import prepare
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.model import load_model, load_serving_model, predict
from dcdp_jax.serve.personal import adapt_run
from dcdp_jax.serve.predict import predict_recording
from dcdp_jax.serve.stream import Recognizer
from dcdp_jax.train.classifiers import train_classifiers
from tests.serve.making import Kind, make_model, make_recording


@pytest.fixture(scope="module")
def made():
    return make_model()._replace(adapt=0.1)


def windows_of(model, n=5, seed=0):
    recording = make_recording(model.card, n * 16, seed)
    return recording.signals.reshape(n, 16, -1)


def test_the_running_average_is_that_of_mean_and_mean_square():
    rng = np.random.default_rng(0)
    mean, square = np.array([1.0, -2.0]), np.array([4.0, 5.0])
    running = {"layer": {"mean": mean, "var": square - mean**2}}
    for x in rng.normal(3, 2, (20, 50, 2)):
        running = update_statistics(running, {"layer": {"mean": x.mean(0), "var": x.var(0)}}, 0.1)
        mean, square = 0.9 * mean + 0.1 * x.mean(0), 0.9 * square + 0.1 * (x**2).mean(0)
    np.testing.assert_allclose(running["layer"]["mean"], mean)
    np.testing.assert_allclose(running["layer"]["var"], square - mean**2)


def test_the_windows_have_no_more_than_their_share_in_the_statistics(made):
    """With a share of a half, they are the mean of mean and mean square of training and of an unbounded average."""
    windows = windows_of(made)[:1]
    half, whole = AdaptingModel(made._replace(adapt_share=0.5)), AdaptingModel(made)
    for adapting in (half, whole):
        adapting.predict(windows)
    trained, part, all_of_it = (
        jax.tree.map(np.float64, model.variables["batch_stats"]["res"]["backbone"]["norm"]["BatchNorm_0"])
        for model in (made, half.model, whole.model)
    )
    np.testing.assert_allclose(part["mean"], (trained["mean"] + all_of_it["mean"]) / 2, rtol=1e-5, atol=1e-6)
    squares = [values["var"] + values["mean"] ** 2 for values in (trained, part, all_of_it)]
    np.testing.assert_allclose(squares[1], (squares[0] + squares[2]) / 2, rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_numpy_on_the_input_of_every_layer(made):
    """The input of a layer is what Flax captures as the output of the module before it."""
    before_layer = {
        ("stage1_block1", "BatchNorm_0"): ("stem",),
        ("stage1_block1", "BatchNorm_1"): ("stage1_block1", "Conv1D_0"),
        ("norm",): ("stage1_block1",),
    }

    def at(tree, path):
        for key in path:
            tree = tree[key]
        return tree

    adapting, card = AdaptingModel(made), made.card
    before = made.variables["batch_stats"]
    expected = {
        layer: jax.tree.map(np.float64, at(before["res"]["backbone"], layer)["BatchNorm_0"]) for layer in before_layer
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(expected)) == sum(
        leaf.size for leaf in jax.tree.leaves(before["res"])
    )
    for window in windows_of(made):
        x = normalize(jnp.asarray(window[None]), np.float32(card.shift), np.float32(card.scale))
        _, found = made.network.apply(
            adapting.model.variables, x, capture_intermediates=True, mutable=["intermediates"]
        )
        for layer, module in before_layer.items():
            (given,) = at(found["intermediates"]["res"]["backbone"], module)["__call__"]
            h, old = np.asarray(given, np.float64).reshape(-1, given.shape[-1]), expected[layer]
            square = 0.9 * (old["var"] + old["mean"] ** 2) + 0.1 * (h**2).mean(axis=0)
            mean = 0.9 * old["mean"] + 0.1 * h.mean(axis=0)
            expected[layer] = {"mean": mean, "var": square - mean**2}
        adapting.predict(window[None])
    after = adapting.model.variables["batch_stats"]
    for layer, values in expected.items():
        for name in ("mean", "var"):
            found = at(after["res"]["backbone"], layer)["BatchNorm_0"][name]
            np.testing.assert_allclose(found, values[name], rtol=2e-4, atol=2e-5)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
    assert all(jax.tree.leaves(changed))
    assert jax.tree.structure(before) == jax.tree.structure(after)


def test_the_first_answer_is_that_of_training_and_a_window_without_a_sensor_changes_nothing(made):
    windows = windows_of(made)
    windows[1, :, 4] = np.nan
    plain, adapting = predict(made, windows, batch=1), AdaptingModel(made)
    found = adapting.predict(windows[:2])
    np.testing.assert_allclose(found.probabilities[0], plain.probabilities[0], atol=1e-6)
    once = AdaptingModel(made)
    once.predict(windows[:1])
    for a, b in zip(*(jax.tree.leaves(m.model.variables) for m in (adapting, once)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(adapting.predict(windows[2:]).probabilities - plain.probabilities[2:]).max() > 1e-3


def test_predict_and_stream_adapt_alike(made):
    recording = make_recording(made.card, 200, starts=(0, 90))
    item = prepare("here", recording, made.card)
    expected = predict_recording(made, item.recording, item.time)
    recognizer = Recognizer(made)
    found = recognizer.push(recording.signals[:90])
    recognizer.gap()
    found += recognizer.push(recording.signals[90:])
    assert [e.label for e in found] == [e.label for e in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    plain = predict_recording(made._replace(adapt=0.0), item.recording, item.time)
    assert np.abs(plain[-1].probabilities - expected[-1].probabilities).max() > 1e-3


def test_it_is_asked_for_in_the_config(finished):
    config = demo.get_config()
    assert load_serving_model(config, finished).adapt == 0
    config.serve.adapt_share = 0.4
    config.serve.adapt, config.serve.adapt_rate = "norm", 0.05
    model = load_serving_model(config, finished)
    assert (model.adapt, model.adapt_share) == (0.05, 0.4)
    windows = np.random.default_rng(0).normal(size=(3, model.card.window, len(model.card.channels)))
    assert np.isfinite(AdaptingModel(model).predict(windows.astype(np.float32)).probabilities).all()


def test_a_network_without_batch_normalisation_is_refused(finished, monkeypatch):
    from dcdp_jax.serve import model as module

    config = demo.get_config()
    config.serve.adapt = "norm"
    made = make_model(Kind(baseline="lstm"))
    monkeypatch.setattr(module, "load_model", lambda *_: made)
    with pytest.raises(ConfigError, match="has no batch normalisation"):
        load_serving_model(config, finished)


def write_table(path, signals, labels):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "label", *(c.name for c in synthetic.CHANNELS)])
        for t, (label, values) in enumerate(zip(labels, signals, strict=True)):
            rows.writerow([f"{t / 25:.2f}", label, *(f"{v:.9g}" for v in values)])
    return path


@pytest.fixture(scope="module")
def wearer(tmp_path_factory):
    """Labelled files of a new person: everything, and one class alone."""
    recording = synthetic.make_recordings(seed=3, subjects=1, minutes=3.0)[0]
    names = [synthetic.CLASS_NAMES[label] for label in recording.labels]
    folder = tmp_path_factory.mktemp("wearer")
    write_table(folder / "labelled.csv", recording.signals[:2000], names[:2000])
    write_table(folder / "one.csv", recording.signals[:200], ["walk"] * 200)
    return folder


def test_adapting_writes_a_model_beside_the_old_one(copied, wearer, data, capsys):
    config = demo.get_config()
    config.data = data
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    adapt_run(config, copied, [str(wearer / "labelled.csv")])
    assert {path: path.read_bytes() for path in before} == before
    folder = copied / "adapted" / "labelled"
    assert f"--workdir={folder}" in capsys.readouterr().out
    old, new = load_model(copied), load_model(folder)
    assert (new.card.marks, new.card.rejection) == (("synthetic", "adapted"), None)
    result = json.loads((folder / "result.json").read_text())
    assert "adapted" in result["marks"]
    assert sum(result["adapted"]["windows"].values()) > 10
    for path, same in jax.tree_util.tree_leaves_with_path(
        jax.tree.map(lambda a, b: bool(np.all(a == b)), old.variables, new.variables)
    ):
        keys = [key.key for key in path]
        assert same == (keys[0] == "batch_stats" or not ("fusion" in keys or "classifier" in keys)), keys
    with pytest.raises(UserError, match="holds an adapted model"):
        evaluate_run(config, folder)
    with pytest.raises(UserError, match=r"holds an adapted model, .* name the run it was made from"):
        read_run(folder)
    adapt_run(config, folder, [str(wearer / "labelled.csv")])
    assert load_model(folder / "adapted" / "labelled").card.marks == ("synthetic", "adapted")
    again = json.loads((folder / "adapted" / "labelled" / "result.json").read_text())
    assert (again["marks"], again["adapted"]["before"]) == (result["marks"], result["adapted"])
    capsys.readouterr()
    lines = (wearer / "labelled.csv").read_text().splitlines()
    lines[9] = ",".join([*lines[9].split(",")[:-1], ""])
    lines[1900:] = [line.replace(line.split(",")[1], "swim") for line in lines[1900:]]
    (wearer / "odd.csv").write_text("\n".join(lines))
    config.data = data.copy_and_resolve_references()
    config.data.table.missing = "split"
    adapt_run(config, copied, [str(wearer / "labelled.csv"), str(wearer / "odd.csv")])  # in the place of the first
    printed = capsys.readouterr().out
    assert f"{wearer / 'odd.csv'}, odd: labels that the model does not know: swim\n" in printed
    assert "1 of " in printed
    assert " windows of one class lack a value, and are left out\n" in printed
    assert [path.name for path in (copied / "adapted").iterdir()] == ["labelled"]
    (wearer / "ben").mkdir()
    shutil.copy(wearer / "one.csv", wearer / "ben" / "labelled.csv")
    with pytest.raises(ConfigError, match=r"labelled is adapted on .*wearer.*/labelled\.csv, another file than .*ben/"):
        adapt_run(config, copied, [str(wearer / "ben" / "labelled.csv")])
    lines = [line.encode() for line in (wearer / "labelled.csv").read_text().splitlines(keepends=True)[:100]]
    assert list(answers(new, [lines], default.get_config().data.table))


def test_training_lowers_the_loss_on_the_labelled_windows_and_keeps_what_has_no_label(made):
    windows = windows_of(made, 40)
    labels = np.arange(40) % 2
    normalizer = Normalizer(np.float32(made.card.shift), np.float32(made.card.scale))

    def train():
        return train_classifiers(made.network, made.variables, normalizer, windows, labels)

    params = train()
    adapted = made._replace(variables={**made.variables, "params": params})

    def true_probability(model):
        return np.log(predict(model, windows).probabilities[np.arange(40), labels]).mean()

    assert true_probability(adapted) > true_probability(made) + 0.1
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(train()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_labelled_data_of_other_channels_is_refused_and_nothing_is_written(finished, wearer, data):
    config = demo.get_config()
    config.data = data
    name = synthetic.CHANNELS[0].name
    text = (wearer / "one.csv").read_text()
    (wearer / "other.csv").write_text(text.replace(name, "temperature", 1))
    with pytest.raises(DataError, match=rf"other\.csv: no column {name}; the model reads {name} .* temperature"):
        adapt_run(config, finished, [str(wearer / "other.csv")])
    assert not (finished / "adapted").exists()


def test_several_people_are_named_and_nothing_is_written(finished, wearer, data):
    config = demo.get_config()
    config.data = data.copy_and_resolve_references()
    header, *lines = (wearer / "labelled.csv").read_text().splitlines()
    rows = [f"{line},{'ann' if row < 999 else 'ben'}" for row, line in enumerate(lines)]
    (wearer / "two.csv").write_text("\n".join([f"{header},subject", *rows]))
    with pytest.raises(DataError, match=r"one wearer, .* of 2 people: ann \(.*two\.csv\), ben \(.*two\.csv\)"):
        adapt_run(config, finished, [str(wearer / "two.csv")])
    assert not (finished / "adapted").exists()


@pytest.mark.parametrize("name", ["one.csv", "short.csv"])
def test_too_few_labels_are_refused_and_nothing_is_written(name, finished, wearer, data):
    config = demo.get_config()
    config.data = data
    shutil.copy(wearer / "one.csv", wearer / "short.csv")
    lines = (wearer / "one.csv").read_text().splitlines(keepends=True)
    (wearer / "short.csv").write_text("".join(lines[:50]))
    count = {"one.csv": "5 windows", "short.csv": "0 windows"}[name]
    with pytest.raises(DataError, match=rf"{name}: {count} of 64 samples .* expected windows of two classes"):
        adapt_run(config, finished, [str(wearer / name)])
    assert not (finished / "adapted").exists()
