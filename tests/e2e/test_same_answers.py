"""One recording of HAPT is answered alike by predict, stream, the exported folder and the exported page."""

import json
import shutil

import numpy as np
import pytest

from configs import hapt
from dcdp_jax.serve import standalone
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.model import load_serving_model
from dcdp_jax.serve.predict import predict_recording
from tests.e2e.running import SMALL, launch
from tests.serve.browser import Browser, Server
from tests.serve.test_web import (
    EVENTS,
    FINISHED,
    READY,
    assert_same_events,
    needs_browser,
    predicted_in,
    switch,
    write_table,
)

WINDOWS = 275
# More than by default, so that the answers change.
ADAPTATION = {"adapt_rate": 0.01, "adapt_share": 1.0}


@pytest.fixture(scope="module")
def run(raw_dir, tmp_path_factory):
    """The config and the workdir of a run that is exported as a folder and as a page."""
    pytest.importorskip("jax2onnx", exc_type=ImportError)
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("hapt")
    arguments = (
        *(*SMALL, "--config.train.epochs=2", "--config.optimizer.learning_rate=0.003"),
        *(f"--config.data.raw_dir={raw_dir}", f"--config.data.cache_dir={folder / 'cache'}", f"--workdir={folder}/run"),
    )
    adaptation = [f"--config.serve.{name}={value}" for name, value in ADAPTATION.items()]
    for more in ((), ("--mode=export", "--formats=jax,web", *adaptation)):
        status, _, errors = launch(*arguments, *more, config="configs/hapt.py")
        assert status == 0, errors
    config = hapt.get_config()
    config.data.raw_dir = str(raw_dir)
    config.serve.update(ADAPTATION)
    return config, folder / "run"


@pytest.fixture(scope="module")
def recording(run, raw_dir):
    """The recording as predict reads it, from the publisher's files."""
    config, workdir = run
    path = raw_dir / "HAPT Data Set" / "RawData" / "acc_exp07_user04.txt"
    (item,) = read_input(path, load_serving_model(config, workdir).card, config.data)
    return item


@pytest.fixture(scope="module")
def table(recording, tmp_path_factory):
    """The same as a CSV, for the page and the stream."""
    names = [channel.name for channel in recording.recording.channels]
    signals = recording.recording.signals
    times = [i / 50 for i in range(len(signals))]
    return write_table(tmp_path_factory.mktemp("table") / "exp07.csv", signals, names, times)


@pytest.fixture(scope="module")
def page(run, table, tmp_path_factory):
    """A browser at the page, which has predicted the recording."""
    browser, server = Browser(tmp_path_factory.mktemp("profile")), Server(run[1] / "export")
    browser.go(f"{server.address}/web/")
    browser.wait(READY)
    predicted_in(browser, table)
    yield browser
    browser.close()
    server.close()


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("adapt", [False, True])
def test_the_answers_are_the_same_everywhere(adapt, unknown, run, recording, table, page):
    config, workdir = run
    config = config.copy_and_resolve_references()
    config.serve.adapt, config.serve.unknown = "norm" if adapt else "none", unknown
    model = load_serving_model(config, workdir)
    card, signals = model.card, recording.recording.signals
    events = predict_recording(model, recording.recording, recording.time)
    expected = [event.as_json(card) for event in events]
    classes, probabilities = [e["class"] for e in expected], np.array([e.probabilities for e in events])
    assert len(events) == WINDOWS
    assert len(set(classes) - {"unknown"}) > 2
    assert ("unknown" in classes) == unknown
    if adapt:
        plain = predict_recording(model._replace(adapt=0.0), recording.recording, recording.time)
        assert np.abs(probabilities - [e.probabilities for e in plain]).max() > 1e-2

    lines = table.read_bytes().splitlines(keepends=True)
    streamed = list(answers(model, [lines], config.data.table))
    assert [e["class"] for e in streamed] == classes
    np.testing.assert_allclose([list(e["probabilities"].values()) for e in streamed], probabilities, atol=1e-4)

    exported = standalone.load(workdir / "export", adapt=adapt, unknown=unknown)
    starts = np.arange(WINDOWS) * card.step
    found = exported.predict(signals[starts[:, None] + np.arange(card.window)])
    assert exported.classes(found) == classes
    np.testing.assert_allclose(found, probabilities, atol=1e-4)

    switch(page, adapt=adapt, unknown=unknown)  # predicts the recording again
    page.wait(FINISHED)
    assert_same_events(json.loads(page.evaluate(EVENTS)), expected, card.class_names)
    assert page.console == []
