"""Exported models answer as the trained one does, without this package, and a bad one is never kept."""

import json
import shutil
import subprocess
import sys

import jax
import msgspec
import numpy as np
import pytest

from configs import demo
from dcdp_jax.errors import CheckpointError, ConfigError, DataError, ExportError
from dcdp_jax.rejection import Rejection
from dcdp_jax.runs.model_card import read_card, write_card
from dcdp_jax.serve import export, standalone
from dcdp_jax.serve.adaptation import AdaptingModel
from dcdp_jax.serve.export_card import exported_card
from dcdp_jax.serve.inputs import prepare
from dcdp_jax.serve.model import TrainedModel, probabilities
from dcdp_jax.serve.predict import predict_recording
from tests.e2e.running import ARGUMENTS, command, launch, read_json
from tests.serve.making import Kind, make_card, make_model, make_recording, noise, statistics_of

RESULT = {
    "test": {"accuracy": 0.5, "f1_macro": 0.4},
    "parameters": 1,
    "data_fingerprint": "0",
    "git_revision": None,
}
RATE = 0.1  # of adaptation
# Run in the exported folder: nothing that training needs can be imported.
ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dcdp_jax", "flax", "optax", "orbax", "chex", "ml_collections", "tensorflow"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Blocked())
import numpy as np
from recognizer import load
model = load(".")
windows = np.load(sys.argv[1])
found = model.predict(windows, channels=[channel["name"] for channel in model.card["channels"]])
one = model.predict(windows[:1])
np.savez(sys.argv[2], found=found, one=one, classes=model.classes(found))
"""


def windows_of(model, count=7):
    card = model.card
    return noise(count * card.window, len(card.channels)).reshape(count, card.window, -1)


def written(model, formats, folder):
    return export.write_files(model, RESULT, formats, folder, rate=RATE)


@pytest.fixture(scope="module")
def untrained():
    """With a threshold below which about half of the windows lie."""
    model = make_model()
    return model._replace(card=msgspec.structs.replace(model.card, rejection=Rejection(2.0, 0.4, 0.95)))


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory):
    """A folder for reading only."""
    folder = tmp_path_factory.mktemp("exported")
    written(untrained, ["jax"], folder)
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "export")


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_a_finished_run_is_exported_and_predicts_without_this_package(copied, model, data, tmp_path):
    status, output, errors = command(*ARGUMENTS, f"--workdir={copied}", "--mode=export")
    assert status == 0, errors
    folder = copied / "export"
    assert output.splitlines()[-1] == str(folder)
    names = {"model.jax", "statistics.bin", "card.json", "recognizer.py", "README.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert not list(copied.glob(".export*"))
    windows = export.some_windows(export.build_dataset(data), "validation", 9)
    np.save(tmp_path / "windows.npy", windows)
    alone = [sys.executable, "-c", ALONE, str(tmp_path / "windows.npy"), str(tmp_path / "found.npz")]
    subprocess.run(alone, cwd=folder, check=True)
    with np.load(tmp_path / "found.npz") as file:
        found = dict(file)
    expected = np.asarray(probabilities(model, windows).fusion)
    assert_same(found["found"], expected)
    assert_same(found["one"], expected[:1])
    assert found["classes"].tolist() == [model.card.class_names[k] for k in expected.argmax(1)]

    card, trained = read_json(folder / "card.json"), read_json(copied / "model.json")
    for field in ("channels", "rate", "window", "step", "class_names", "marks"):
        assert card[field] == trained[field]
    assert card["normalization"] == {"inside": True, "shift": trained["shift"], "scale": trained["scale"]}
    assert card["test"]["accuracy"] == read_json(copied / "result.json")["test"]["accuracy"]
    assert len((folder / "README.txt").read_text().splitlines()) == 6


@pytest.mark.parametrize("kind", [Kind(view="derived"), Kind(baseline="lstm"), Kind(decimate=2)])
def test_every_kind_of_model_is_exported(kind, tmp_path):
    model = make_model(kind)
    written(model, ["jax"], tmp_path)
    windows = windows_of(model)
    assert_same(standalone.load(tmp_path).predict(windows), np.asarray(probabilities(model, windows).fusion))
    assert (tmp_path / "statistics.bin").exists() == (not kind.baseline)
    assert ("computed from it" in (tmp_path / "README.txt").read_text()) == (kind.view == "derived")


@pytest.mark.parametrize("view", ["raw", "derived", "mirror", "body", "vertical"])
def test_the_loader_computes_the_view(view):
    card = make_card(Kind(view=view, decimate=2))
    model = standalone.Model.__new__(standalone.Model)
    model.card = json.loads(json.dumps(exported_card(TrainedModel(card, None, None), RESULT)))
    recording = make_recording(card, 300)
    expected = prepare("here", recording, card).recording
    np.testing.assert_allclose(model.view(recording.signals), expected.signals, atol=1e-5)
    with pytest.raises(ValueError, match=r"samples of shape \(300, 2\), expected \(t, [36]\): (total_)?acc_x"):
        model.view(recording.signals[:, :2])


def test_one_artifact_is_for_every_platform(exported):
    artifact = jax.export.deserialize(bytearray((exported / "model.jax").read_bytes()))
    assert set(artifact.platforms) == {"cpu", "cuda", "rocm", "tpu"}


def test_the_folder_adapts_to_a_wearer_as_predict_does(untrained, exported):
    windows = windows_of(untrained, 12)
    adapting = AdaptingModel(untrained._replace(adapt=RATE))
    expected = adapting.predict(windows).probabilities
    model = standalone.load(exported, adapt=True)
    for _ in range(2):
        found = np.concatenate([model.predict(windows[:5]), model.predict(windows[5:])])
        assert_same(found, expected)
        np.testing.assert_allclose(model.statistics, statistics_of(adapting.model), rtol=1e-4, atol=1e-5)
        model.restart()
    plain = standalone.load(exported)
    assert not plain.adapt
    assert_same(plain.predict(windows), np.asarray(probabilities(untrained, windows).fusion))
    assert np.abs(plain.predict(windows) - expected).max() > 1e-3


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_the_folder_says_unknown_where_predict_does(rate, untrained, exported):
    recording = make_recording(untrained.card, 400)
    model = untrained._replace(rejection=untrained.card.rejection, adapt=rate)
    events = predict_recording(model, recording)
    starts = np.arange(len(events)) * model.card.step
    loaded = standalone.load(exported, adapt=rate > 0, unknown=True)
    found = loaded.predict(recording.signals[starts[:, None] + np.arange(model.card.window)])
    np.testing.assert_allclose(found, [event.probabilities for event in events], atol=1e-4)
    said = [event.class_name(model.card) for event in events]
    assert 5 < said.count("unknown") < len(said) - 5
    assert loaded.classes(found) == said


def test_the_folder_answers_as_it_was_exported_unless_told_otherwise(untrained, tmp_path):
    written(untrained._replace(rejection=untrained.card.rejection, adapt=RATE), ["jax"], tmp_path)
    model, other = standalone.load(tmp_path), standalone.load(tmp_path, adapt=False, unknown=False)
    assert (model.adapt, model.unknown, other.adapt, other.unknown) == (True, True, False, False)
    windows = windows_of(untrained)
    assert_same(other.predict(windows), np.asarray(probabilities(untrained, windows).fusion))


def test_the_loader_refuses_what_the_model_cannot_do(tmp_path):
    written(make_model(Kind(baseline="lstm")), ["jax"], tmp_path)
    with pytest.raises(ValueError, match="adapt=True: the model has no batch normalisation, and cannot adapt"):
        standalone.load(tmp_path, adapt=True)
    with pytest.raises(ValueError, match=r"unknown=True: card\.json has no threshold"):
        standalone.load(tmp_path, unknown=True)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 6), r"windows of shape \(16, 6\), expected \(n, 16, 6\)"),
        ((2, 15, 6), "expected .n, 16, 6.: 16 samples, 25 a second, of acc_x"),
        ((2, 16, 5), "expected .n, 16, 6."),
        ((0, 16, 6), "expected .n, 16, 6."),
    ],
)
def test_the_loader_refuses_windows_of_another_shape(exported, shape, message):
    with pytest.raises(ValueError, match=message):
        standalone.load(exported).predict(np.zeros(shape, np.float32))


def test_the_loader_refuses_other_channels_and_missing_values(exported):
    model, windows = standalone.load(exported), np.zeros((2, 16, 6), np.float32)
    names = ["gyro_x", "gyro_y", "gyro_z", "acc_x", "acc_y", "acc_z"]
    with pytest.raises(ValueError, match="expected, in this order: acc_x, acc_y"):
        model.predict(windows, channels=names)
    windows[1, 3, 4] = np.nan
    with pytest.raises(ValueError, match="channel gyro_y has values that are not finite"):
        model.predict(windows)


def test_the_loader_refuses_damaged_files(exported, folder):
    artifact, card = folder / "model.jax", folder / "card.json"
    good = card.read_text()
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.jax: damaged, its SHA-256"):
        standalone.load(folder)
    statistics = folder / "statistics.bin"
    statistics.write_bytes(statistics.read_bytes()[4:])
    artifact.write_bytes((exported / "model.jax").read_bytes())
    with pytest.raises(ValueError, match=r"statistics\.bin: damaged, its SHA-256"):
        standalone.load(folder)
    card.write_text(good.replace('"format": 2', '"format": 1', 1))
    with pytest.raises(ValueError, match=r"card\.json: format 1, expected 2"):
        standalone.load(folder)
    card.write_text(good[:100])
    with pytest.raises(ValueError, match=r"card\.json: not the card of an exported"):
        standalone.load(folder)
    artifact.unlink()
    card.write_text(good)
    with pytest.raises(FileNotFoundError):
        standalone.load(folder)


def test_an_artifact_of_a_later_jax_is_named(untrained):
    card = {"versions": {"jax": "99.0"}}
    with pytest.raises(ValueError, match=r"cannot read it, it was written by jax 99\.0; use that or a later"):
        standalone.Model(card, b"of another format", b"")


def test_answers_that_differ_are_an_error():
    expected = np.array([[0.7, 0.3], [0.50004, 0.49996]], np.float32)
    assert export.check_one("model.x", expected + 5e-5, expected) == pytest.approx(5e-5, rel=1e-2)
    assert export.check_one("model.x", expected[:, ::1].copy(), expected) == 0
    export.check_one("model.x", np.array([[0.7, 0.3], [0.49998, 0.50002]]), expected)  # a tie may fall either way
    with pytest.raises(ExportError, match=r"model\.x: its probabilities differ by 0\.0002"):
        export.check_one("model.x", expected + 2e-4, expected)
    with pytest.raises(ExportError, match=r"model\.x: its probabilities differ by nan"):
        export.check_one("model.x", np.full((2, 2), np.nan), expected)


def test_a_bad_export_leaves_what_was_there(copied, monkeypatch):
    (copied / "export").mkdir()
    (copied / "export" / "before.txt").touch()
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="nothing is kept"):
        export.export_run(demo.get_config(), copied, ["jax"])
    assert [path.name for path in (copied / "export").iterdir()] == ["before.txt"]
    assert not list(copied.glob(".export*"))


def test_what_cannot_be_exported_is_said(copied, tmp_path):
    with pytest.raises(ConfigError, match="--formats=pickle is not one of jax, onnx, tflite, tflite_int8"):
        export.export_run(demo.get_config(), copied, ["jax", "pickle"])
    with pytest.raises(CheckpointError, match="holds no finished run"):
        export.export_run(demo.get_config(), tmp_path, ["jax"])
    for name, field, value, message in (
        (
            "tflite",
            "adapt",
            "norm",
            "adapts to nobody; leave serve.adapt='none', or choose of jax, onnx, web",
        ),
        ("tflite_int8", "adapt", "norm", "adapts to nobody"),
        ("tflite", "unknown", True, "does not answer 'unknown'; leave serve.unknown=False, or choose of jax, web"),
        ("onnx", "unknown", True, "does not answer 'unknown'"),
    ):
        other = demo.get_config()
        other.serve[field] = value
        with pytest.raises(ConfigError, match=f"--formats={name}: .*{message}"):
            export.export_run(other, copied, ["jax", name])
    write_card(copied, msgspec.structs.replace(read_card(copied), rejection=None))
    other = demo.get_config()
    other.serve.unknown = True
    with pytest.raises(ConfigError, match=r"serve\.unknown=True: .*model\.json has no threshold"):
        export.export_run(other, copied, ["jax"])
    assert not (copied / "export").exists()
    other = demo.get_config()
    other.data.synthetic.subjects, other.data.synthetic.minutes = 4, 4.0
    with pytest.raises(DataError, match="the data is not that of the run"):
        export.export_run(other, copied, ["tflite_int8"])


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("onnx", "jax2onnx", "export"), ("tflite", "tensorflow", "tflite")]
)
def test_a_missing_package_is_named_with_its_extra(untrained, tmp_path, monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"--formats={name} needs {package}.*pip install 'dcdp_jax\[{extra}\]'"):
        written(untrained, [name], tmp_path)


@pytest.mark.extra
def test_onnx_answers_the_same(untrained, tmp_path):
    pytest.importorskip("jax2onnx", exc_type=ImportError)
    onnxruntime = pytest.importorskip("onnxruntime")
    card = written(untrained, ["onnx"], tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7):
        windows = windows_of(untrained, count)
        (found,) = session.run(["probabilities"], {"windows": windows})
        assert_same(found, np.asarray(probabilities(untrained, windows).fusion))
    assert card["files"]["model.onnx"]["largest_difference"] <= 1e-4


@pytest.mark.extra
def test_every_node_of_an_onnx_model_that_adapts_is_needed(untrained, tmp_path):
    pytest.importorskip("jax2onnx", exc_type=ImportError)
    onnx = pytest.importorskip("onnx")
    written(untrained._replace(adapt=RATE), ["onnx"], tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    needed = {output.name for output in graph.output}
    for node in reversed(graph.node):  # in the order of the computation
        assert needed.intersection(node.output), node.op_type
        needed.update(node.input)
    assert {initializer.name for initializer in graph.initializer} <= needed


@pytest.mark.extra
def test_onnx_adapts_as_predict_does_if_it_is_asked_to(untrained, tmp_path):
    pytest.importorskip("jax2onnx", exc_type=ImportError)
    onnxruntime = pytest.importorskip("onnxruntime")
    model = untrained._replace(adapt=RATE)
    written(model, ["onnx"], tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    statistics, found, windows = np.fromfile(tmp_path / "statistics.bin", "<f4"), [], windows_of(untrained, 12)
    for window in windows:
        given = {"windows": window[None], "statistics": statistics}
        answer, statistics = session.run(["probabilities", "next_statistics"], given)
        found.append(answer)
    adapting = AdaptingModel(model)
    assert_same(np.concatenate(found), adapting.predict(windows).probabilities)
    np.testing.assert_allclose(statistics, statistics_of(adapting.model), rtol=1e-4, atol=1e-5)


@pytest.mark.extra
def test_tflite_answers_the_same_and_int8_measures_its_loss(copied, model, data):
    pytest.importorskip("tensorflow")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    status, _, errors = launch(*ARGUMENTS, f"--workdir={copied}", "--mode=export", "--formats=tflite,tflite_int8")
    assert status == 0, errors
    folder, dataset = copied / "export", export.build_dataset(data)
    windows = export.some_windows(dataset, "validation")
    labels = dataset.splits["validation"].labels
    found = {}
    for name in ("model.tflite", "model.int8.tflite"):
        runner = interpreter.Interpreter(str(folder / name))
        runner.allocate_tensors()
        (source,), (answer,) = runner.get_input_details(), runner.get_output_details()
        answers = []
        for window in windows:
            runner.set_tensor(source["index"], window[None])
            runner.invoke()
            answers.append(runner.get_tensor(answer["index"])[0])
        found[name] = np.array(answers)
    assert_same(found["model.tflite"], np.asarray(probabilities(model, windows).fusion))
    card = json.loads((folder / "card.json").read_text())
    loss = card["files"]["model.int8.tflite"]["validation"]
    assert loss["windows"] == len(labels)
    accuracies = {name: np.mean(p.argmax(1) == labels) for name, p in found.items()}
    assert loss["int8"]["accuracy"] == pytest.approx(accuracies["model.int8.tflite"], abs=1e-9)
    assert loss["accuracy_lost"] == pytest.approx(accuracies["model.tflite"] - loss["int8"]["accuracy"], abs=1e-9)
