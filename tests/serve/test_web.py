"""The exported page in Chromium: windows, classes and probabilities as by predict and stream, and nothing is sent."""

import csv
import io
import json
import re
import time

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from configs import default
from dcdp_jax.data.gravity import LowPass
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.resample import settle
from dcdp_jax.data.units import unit_name
from dcdp_jax.data.windows import window_starts
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.rejection import Rejection
from dcdp_jax.serve import stream, web, web_runtime
from dcdp_jax.serve.adaptation import AdaptingModel
from dcdp_jax.serve.events import UNKNOWN, UNKNOWN_NAME, Event, merge_events
from dcdp_jax.serve.export import write_files
from dcdp_jax.serve.export_card import exported_card
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.model import Prediction, TrainedModel
from dcdp_jax.serve.predict import predict_recording, strange_values
from dcdp_jax.serve.smoothing import Smoother
from tests.serve.browser import BROWSER, Browser, Server
from tests.serve.making import Kind, make_card, make_model, make_recording, noise, statistics_of
from tests.serve.test_export import RATE, RESULT
from tests.serve.test_live import tables

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium and no Google Chrome on this machine")
NAMES = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
READY = "document.getElementById('status').textContent.startsWith('ready')"
ERROR = "document.getElementById('error').hidden ? '' : document.getElementById('error').textContent"
FINISHED = f"import('./page.js').then(({{shown}}) => shown.done && (shown.events.length > 0 || ({ERROR}) !== ''))"
EVENTS = "import('./page.js').then(({shown}) => JSON.stringify(shown.events))"
STATUS = "document.getElementById('status').textContent"
NOTES = "document.getElementById('notes').textContent"

SHORT = "time,acc_x,acc_y,acc_z\n" + "".join(f"{i / 25},1,2,3\n" for i in range(15))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def sources():
    server = Server(web.SOURCES)
    yield f"{server.address}/errors.js"
    server.close()


@pytest.fixture
def modules(browser, sources):
    """The browser at the page's sources, which it can import."""
    if browser.evaluate("location.href") != sources:
        browser.go(sources)
    return browser


def page_card(card, smoothing=("", 1), **fields):
    table = default.get_config().data.table
    table.update(fields)
    return web.card_of_page(card, web.Site(table, smoothing, {}))


def with_null(array):
    """Nested lists with None for NaN, which JSON does not have."""
    return [with_null(row) if isinstance(row, list) else None if np.isnan(row) else row for row in array]


def call(browser, module, code, **values):
    """Returns what code in JavaScript returns, which sees the values and the module's names."""
    body = f"const m = await import('/{module}'); const v = {json.dumps(values)}; {code}"
    return json.loads(browser.evaluate(f"(async () => {{ {body} }})().then(JSON.stringify)"))


CUT = """
const {EvenClock, settle} = await import('/clock.js');
const {Windows} = await import('/window.js');
const values = v.values.map((row) => Float32Array.from(row, (x) => x ?? NaN));
const {rows} = settle('a.csv', {time: v.time, values}, {repeated: v.repeated, max_gap: v.maxGap});
const clock = new EvenClock({...v.clock, maxGap: v.maxGap});
const windows = new m.Windows(v.card);
const found = [];
const add = (pieces) => pieces.forEach((piece) => found.push(...windows.push(piece)));
for (let i = 0; i < rows.time.length; i += v.size) {
  add(clock.push({time: rows.time.slice(i, i + v.size), values: rows.values.slice(i, i + v.size)}));
}
add(clock.finish());
return found.map((w) => ({...w, signals: Array.from(w.signals)}));
"""


def recorded_windows(monkeypatch, card, time, values, **fields):
    """The windows that `Recognizer` hands to the model, with start, end and stretch of their events."""
    windows = []

    def remember(model, batch_of_one, batch):
        windows.append(batch_of_one[0].copy())
        return Prediction(np.full((1, 4), 0.25), np.ones((1, len(card.branches)), bool), np.full(1, np.nan))

    monkeypatch.setattr(stream, "predict", remember)
    recognizer = stream.Recognizer(TrainedModel(card, None, None), **fields)
    windows.clear()
    events = [*recognizer.push(values, time), *recognizer.finish()]
    return np.array(windows), [(e.start, e.end, e.stretch) for e in events]


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize("seed", range(14))
def test_windows_of_any_rows_are_those_of_stream(seed, modules, monkeypatch):
    rng = np.random.default_rng(seed)
    view = (*("raw", "derived", "raw", "mirror") * 3, "vertical", "body")[seed]
    card = make_card(Kind(view=view, decimate=1 + seed % 2, step=(8, 20)[seed % 5 == 0]))
    rows, rate = 900, card.input_rate
    steps = rng.uniform(0, 2 / rate, rows) if seed % 3 else np.full(rows, 0.7 / rate)
    steps[rng.random(rows) < 0.1] = 0
    steps[rng.random(rows) < 0.02] = 2.0
    time = np.cumsum(steps)
    values = noise(rows, len(card.inputs), seed)
    values[rng.random(values.shape) < (0.02 if view == "raw" else 0.002)] = np.nan
    values[120:160, 2] = np.nan
    repeated = ("drop", "mean", "spread")[seed % 3]
    method, missing = ("linear", "nearest")[seed % 2], ("interpolate", "split")[seed // 2 % 2]
    windows, places = recorded_windows(
        monkeypatch, card, time, values, repeated=repeated, method=method, missing=missing, max_gap=0.5
    )
    assert len(windows) > 5
    clock = {"rate": rate, "method": method, "missing": missing, "keepRows": False, "absent": []}
    for size in (1000, 1 + seed):
        found = call(
            modules, "window.js", CUT, time=time.tolist(), values=with_null(values.astype(float).tolist()),
            repeated=repeated, clock=clock, maxGap=0.5, card=page_card(card), size=size,
        )  # fmt: skip
        signals = np.array([w["signals"] for w in found], np.float32).reshape(windows.shape)
        if view in ("derived", "vertical", "body"):
            np.testing.assert_allclose(signals, windows, atol=1e-6)
        else:
            np.testing.assert_array_equal(signals, windows)
        np.testing.assert_allclose([(w["start"], w["end"], w["stretch"]) for w in found], places, atol=1e-9)


@needs_browser
@pytest.mark.extra
@given(table=tables())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_is_read_as_predict_reads_it(table, modules, tmp_path_factory):
    content, fields = table
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    card = make_card()
    data = default.get_config().data
    data.table.update(fields)
    code = """
        const {settle} = await import('/clock.js');
        const {readText} = await import('/csv.js');
        const {rateNotes} = await import('/notes.js');
        const text = await readText(new File([Uint8Array.from(v.bytes)], 'any.csv'));
        try {
          const {time, values, absent} = m.readTable('any.csv', text, v.card);
          const {rows} = settle('any.csv', {time, values}, v.card.reading);
          const notes = rateNotes('any.csv', rows, v.card);
          return {time, values: values.map((row) => Array.from(row)), absent, notes};
        } catch (error) { return {error: error.message}; }
    """
    read = call(modules, "csv.js", code, bytes=list(content), card=page_card(card, **fields))
    try:
        (item,) = read_input(path, card, data)
    except DataError:
        if "error" in read:
            return
        starts, windows = np.zeros(0, np.int64), np.zeros((0, 16, 6), np.float32)
    else:
        assert "error" not in read
        bounds = np.append(item.recording.starts, len(item.time))
        starts = window_starts(np.stack([bounds[:-1], bounds[1:]], axis=1), card.window, card.step)
        windows = item.recording.signals[starts[:, None] + np.arange(card.window)]
        noted = [note for note in item.notes if note.startswith("rows ")]
        assert [note[1:10] for note in read["notes"]] == [note[1:10] for note in noted]
    assert read["absent"] == []
    clock = {"rate": 25, "method": fields["resample"], "missing": fields["missing"], "absent": []}
    found = call(
        modules, "window.js", CUT, time=read["time"], values=read["values"], repeated=fields["repeated"],
        clock=clock | {"keepRows": not fields["time"]}, maxGap=fields["max_gap"], card=page_card(card), size=50,
    )  # fmt: skip
    signals = np.array([w["signals"] for w in found], np.float32).reshape(windows.shape)
    np.testing.assert_allclose(signals, windows, atol=1e-5)  # times of dates differ in their last bit
    if len(starts):
        np.testing.assert_allclose([w["start"] for w in found], item.time[starts], atol=1e-6)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize("how", ["error", "spread", "mean", "drop"])
@pytest.mark.parametrize("case", ["cut", "few", "one"])
def test_repeated_stamps_are_settled_as_in_python(how, case, modules):
    time = {
        "cut": np.floor(np.concatenate([[0.2], 30.46 + np.arange(60) / 20, 43.7 + np.arange(55) / 20])),
        "few": np.sort(np.append(np.arange(60) / 20, [0.5, 0.5, 1.0])),
        "one": np.zeros(9),
    }[case]
    values = noise(len(time), 2)
    code = """
        const values = v.values.map((row) => Float32Array.from(row));
        try {
          const {rows, repeated} = m.settle('a.csv', {time: v.time, values}, {repeated: v.how, max_gap: 1});
          return {time: rows.time, values: rows.values.map((row) => Array.from(row)), repeated};
        } catch (error) { return {error: error.message}; }
    """
    found = call(modules, "clock.js", code, time=time.tolist(), values=values.astype(float).tolist(), how=how)
    try:
        rows, repeated = settle(time, values, how, 1.0)
    except DataError as error:
        message = str(error).replace(",", "").removeprefix("data.table.repeated='spread': ").split(" (")[0]
        assert found["error"].startswith(f"a.csv: {message}")
    else:
        assert found["repeated"] == repeated
        assert found["time"] == rows.time.tolist()
        np.testing.assert_array_equal(np.float32(found["values"]), rows.values)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(
    ("trained", "came", "but"), [(0.8, 1, ""), (0.8, 0, "without"), (0, 1, "with"), (0.5, 9.8, "")]
)
def test_gravity_in_the_recording_or_the_training_only_is_noted_as_by_predict(trained, came, but, modules):
    shift = (0.02, 0.01, trained, 0.0, 0.0, 0.0)
    card = msgspec.structs.replace(make_card(), shift=shift, scale=(1.5,) * 6)
    recording = make_recording(card, 105)
    recording.signals[:, :3] = [0, 0, came] + 0.1 * noise(105, 3)
    recording.signals[7, 1] = np.nan
    samples = with_null(recording.signals.astype(float).tolist())
    code = "return m.gravityNotes(v.samples.map((row) => Float32Array.from(row, (x) => x ?? NaN)), v.card);"
    found = call(modules, "notes.js", code, samples=samples, card=page_card(card))
    assert len(found) == bool(but)
    assert found == [f"{note}." for note in strange_values(card, recording) if "gravity" in note]


def test_only_accelerations_that_the_page_measures_are_compared():
    """And not the gravity and the residual that the view computes from them."""
    card = msgspec.structs.replace(make_card(Kind("derived")), shift=(0, 0, 1.0, 0, 0, 1.0, 0, 0, 0.01))
    assert [(one["name"], one["axes"]) for one in web.accelerations_of(card)] == [("acc at hip", [0, 1, 2])]


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(
    ("time", "fields"),
    [
        ([i // 4 * 4 / 25 + i % 4 / 1000 for i in range(200)], {}),
        ([i / 50 for i in range(200)], {}),
        ([i // 50 for i in range(200)], {"repeated": "spread"}),
        ([i / 50 for i in range(200)], {"time": ""}),
        ([i / 25 for i in range(200)], {}),
        ([1000 * i // 64 / 1000 for i in range(200)], {}),
    ],
)
def test_the_rate_of_rows_is_noted_as_by_predict(time, fields, modules, tmp_path):
    path = write_table(tmp_path / "walk.csv", noise(200, 6), times=time)
    data = default.get_config().data
    data.table.update(fields)
    (item,) = read_input(path, make_card(), data)
    code = """
        const {settle} = await import('/clock.js');
        const {readTable} = await import('/csv.js');
        const {rows} = settle('walk.csv', readTable('walk.csv', v.text, v.card), v.card.reading);
        return m.rateNotes('walk.csv', rows, v.card);
    """
    found = call(modules, "notes.js", code, text=path.read_text(), card=page_card(make_card(), **fields))
    expected = [note for note in item.notes if note.startswith("rows ")]
    shared = [re.match("rows (come in bursts|(are taken to )?come at [0-9.]+ Hz)", note)[0] for note in expected]
    assert len(found) == len(shared)
    assert all(note[1:].startswith(start[1:]) for note, start in zip(found, shared, strict=True))


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize("rejection", [None, Rejection(1.7, 0.55, 0.9)])
@pytest.mark.parametrize(("method", "over"), [("", 1), ("mean", 3), ("majority", 3), ("majority", 4)])
def test_smoothing_and_rejection_are_those_of_python(method, over, rejection, modules):
    rng = np.random.default_rng(over)
    vectors = rng.dirichlet(np.ones(3), 40)
    vectors[[7, 20]] = np.nan
    smoother = Smoother(method, over, rejection)
    code = """
        const smoother = new m.Smoother([v.method, v.over], v.rejection);
        return v.vectors.map((p) => smoother.next(p.map((x) => x ?? NaN)));
    """
    rule = rejection and {**msgspec.structs.asdict(rejection), "label": UNKNOWN}
    vectors_of_page = with_null(vectors.tolist())
    found = call(modules, "smooth.js", code, method=method, over=over, rejection=rule, vectors=vectors_of_page)
    labels = []
    for vector, answer in zip(vectors, found, strict=True):
        label, smooth = smoother(vector)
        labels.append(label)
        assert answer["label"] == label
        np.testing.assert_allclose(np.array(answer["probabilities"], float), smooth, atol=1e-12)
    assert (0 < labels.count(UNKNOWN) < 38) == (rejection is not None)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_python(seed, modules):
    rng = np.random.default_rng(seed)
    start = np.cumsum(rng.choice([0.5, 1.0, 3.0], 60, p=[0.6, 0.3, 0.1]))
    stretch = np.cumsum(rng.random(60) < 0.1).tolist()
    labels = np.repeat(rng.integers(UNKNOWN, 3, 20), 3).tolist()
    p = rng.dirichlet(np.ones(3), 60)
    events = [Event(s, s + 1.0, k, q, (), n) for s, k, q, n in zip(start.tolist(), labels, p, stretch, strict=True)]
    plain = [e._asdict() | {"probabilities": None, "confidence": e.confidence} for e in events]
    found = call(modules, "segments.js", "return m.mergeEvents(v.events);", events=plain)
    expected = [segment._asdict() for segment in merge_events(events)]
    assert [f["label"] for f in found] == [e["label"] for e in expected]
    for name in ("start", "end", "confidence", "windows"):
        np.testing.assert_allclose([f[name] for f in found], [e[name] for e in expected], atol=1e-12)


@needs_browser
@pytest.mark.extra
def test_gravity_is_that_of_python(modules):
    card = make_card(Kind(view="derived"))
    signals = noise(200, 3)
    code = """
        const filter = new m.LowPass(v.gravity);
        return v.signals.map((row) => Array.from(filter.next(Float32Array.from(row))));
    """
    gravity = page_card(card)["gravity"]
    found = call(modules, "views.js", code, gravity=gravity, signals=signals.astype(float).tolist())
    np.testing.assert_allclose(found, LowPass(card.rate)(signals), atol=1e-6)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(("zones", "has"), [(("Z", ""), "no"), (("", "+01:00"), "a")])
def test_a_time_zone_that_begins_or_ends_is_named_in_the_page(zones, has, modules):
    lines = [f"2026-03-01 00:00:00.{i}{zones[i // 2]},1,2,3" for i in range(4)]
    code = "try { m.readTable('a.csv', v.text, v.card) } catch (error) { return error.message; }"
    text = "\n".join(["time,acc_x,acc_y,acc_z", *lines])
    found = call(modules, "csv.js", code, text=text, card=page_card(make_card(), time_unit="datetime"))
    stamp = lines[2].split(",")[0]
    assert found == f"a.csv, line 4, column 'time': '{stamp}' has {has} time zone or offset, unlike the rows before"


@needs_browser
@pytest.mark.extra
def test_spellings_of_units_are_those_of_python(modules):
    units = ["m/s^2", "m/s²", "ms-2", "m s⁻²", "°/s", "rad·s^-1", "g", "µT", "m/s**2", "G", "degrees/sec", "radians/s"]
    found = call(modules, "channels.js", "return v.units.map(m.unitName);", units=units)
    assert found == list(map(unit_name, units))


def test_a_phone_serves_one_site_with_known_units():
    acc = [Channel(f"acc_{axis}", "acc", "hip", "m/s^2") for axis in "xyz"]
    gyro = [Channel(f"gyro_{axis}", "gyro", "hip", "rad/s") for axis in "xyz"]
    sources = web.motion_sources([*acc, *gyro])
    assert [(s["field"], s["part"]) for s in sources] == [
        *(("accelerationIncludingGravity", axis) for axis in "xyz"),
        *(("rotationRate", angle) for angle in ("alpha", "beta", "gamma")),
    ]
    assert [s["factor"] for s in sources] == pytest.approx([1, 1, 1, *[np.pi / 180] * 3])
    assert web.motion_sources([acc[0]._replace(unit="m/s²")])[0]["factor"] == pytest.approx(1)
    in_g = web.motion_sources([acc[0]._replace(unit="g")])
    assert in_g[0]["factor"] == pytest.approx(1 / 9.80665)
    assert web.motion_sources([acc[0]._replace(unit="counts"), gyro[0]._replace(group="mag")]) == [None, None]
    assert web.motion_sources([acc[0], acc[0]._replace(name="other_x", site="wrist")]) == [None, None]
    body = [Channel("total_acc_x", "acc", "waist", "g"), Channel("body_acc_x", "acc", "waist", "g")]
    assert [source is not None for source in web.motion_sources(body)] == [True, False]


def test_a_runtime_that_is_not_the_pinned_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(web_runtime.VARIABLE, str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"no dist/ort\.wasm\.bundle\.min\.mjs there; expected the folder node_modules"
    ):
        web_runtime.find_runtime()
    (tmp_path / "dist").mkdir()
    for name in web_runtime.RUNTIME:
        (tmp_path / "dist" / name).write_bytes(b"another version")
    with pytest.raises(ConfigError, match=r"has the SHA-256 [0-9a-f]{12}, expected [0-9a-f]{12} of version"):
        web_runtime.find_runtime()
    monkeypatch.delenv(web_runtime.VARIABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"npm, which fetches it, is not installed: install Node\.js, or set ONNX"):
        web_runtime.find_runtime()
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(ConfigError, match=r"npm cannot fetch it \(npm error network\); connect to the network, or set"):
        web_runtime.find_runtime()


def test_tables_that_the_page_cannot_read_are_refused_at_the_export():
    table = default.get_config().data.table
    table.time_unit, table.time_format = "datetime", "%Y"
    with pytest.raises(ConfigError, match=r"data\.table\.time_format='%Y', and the page reads tables without it"):
        web.make_site(table, ("", 1))


@pytest.fixture(scope="module")
def model():
    made = make_model()
    return made._replace(card=msgspec.structs.replace(made.card, rejection=Rejection(2.0, 0.4, 0.95)))


@pytest.fixture(scope="module")
def made_site():
    pytest.importorskip("jax2onnx", exc_type=ImportError)
    pytest.importorskip("onnxruntime")
    try:
        return web.make_site(default.get_config().data.table, ("mean", 2))
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def site(model, made_site, tmp_path_factory):
    """A folder with the page of a model that no one has trained in `web`."""
    folder = tmp_path_factory.mktemp("site")
    card = write_files(model, RESULT, ["web"], folder, rate=RATE, site=made_site)
    assert card["files"]["web"]["largest_difference"] <= 1e-4
    return folder


@pytest.fixture
def page(site, browser):
    """The browser at the page, which is ready."""
    server = Server(site)
    browser.console.clear()
    browser.requests.clear()
    browser.go(f"{server.address}/web/")
    browser.wait(READY)
    yield browser
    server.close()


def write_table(path, values, names=NAMES, times=None):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["time", *names])
    times = [i / 25 for i in range(len(values))] if times is None else times
    writer.writerows([t, *row] for t, row in zip(times, values.tolist(), strict=True))
    path.write_text(text.getvalue())
    return path


def predicted_in(browser, path):
    """The events of a file in the page."""
    browser.choose("#file", path)
    browser.wait(FINISHED)
    assert browser.evaluate(ERROR) == ""
    return json.loads(browser.evaluate(EVENTS))


def assert_same_events(found, expected, names):
    assert [(e["start"], e["end"], e["stretch"]) for e in found] == [
        pytest.approx((e["start"], e["end"], e["stretch"]), abs=1e-5) for e in expected
    ]
    named = {UNKNOWN: UNKNOWN_NAME, -1: None} | dict(enumerate(names))
    assert [named[e["label"]] for e in found] == [e["class"] for e in expected]
    assert [e["missing"] for e in found] == [e["missing"] for e in expected]
    pairs = [(e["probabilities"], list(o["probabilities"].values())) for e, o in zip(found, expected, strict=True)]
    np.testing.assert_allclose(*np.array(pairs, float).swapaxes(0, 1), atol=1e-4)


@needs_browser
@pytest.mark.extra
def test_a_file_is_predicted_as_by_predict_and_nothing_is_sent(page, model, site, tmp_path):
    path = write_table(tmp_path / "walk.csv", noise(400, 6))
    (item,) = read_input(path, model.card, default.get_config().data)
    expected = [e.as_json(model.card) for e in predict_recording(model, item.recording, item.time, ("mean", 2))]
    assert len(expected) == 49
    assert len({e["class"] for e in expected}) > 1
    assert_same_events(predicted_in(page, path), expected, model.card.class_names)
    assert "walk.csv: 16.0 s, 49 windows" in page.evaluate(STATUS)
    assert page.console == []
    assert len(page.requests) > 10
    assert {address.split("/")[2].split(":")[0] for address in page.requests} == {"localhost"}
    refused = """
        new Promise((resolve) => {
          addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          fetch("http://127.0.0.1:9/").catch(() => {});
        })
    """
    assert page.evaluate(refused) == "connect-src"


@needs_browser
@pytest.mark.extra
def test_the_page_notes_bursts_and_gravity_of_a_file(page, tmp_path):
    bursts = [i // 4 * 4 / 25 + i % 4 / 1000 for i in range(100)]
    predicted_in(page, write_table(tmp_path / "walk.csv", 0.1 * noise(100, 6), times=bursts))
    notes = page.evaluate(NOTES)
    assert notes.startswith("Rows come in bursts, as where their time is that of arrival")
    assert notes.endswith(".acc at hip is without gravity, and the training's is with it.")


def switch(browser, **states):
    """Sets switches of the page, as a user does."""
    for name, state in states.items():
        box = f"document.getElementById('{name}')"
        browser.evaluate(f"{box}.checked === {str(state).lower()} || {box}.click()")


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(("adapt", "unknown"), [(True, False), (False, True), (True, True)])
def test_a_file_is_answered_as_the_switches_say(adapt, unknown, page, model, tmp_path):
    path = write_table(tmp_path / "walk.csv", noise(400, 6))
    (item,) = read_input(path, model.card, default.get_config().data)
    asked = model._replace(adapt=RATE if adapt else 0.0, rejection=model.card.rejection if unknown else None)
    events = predict_recording(asked, item.recording, item.time, ("mean", 2))
    expected = [e.as_json(model.card) for e in events]
    plain = predicted_in(page, path)
    assert UNKNOWN not in {e["label"] for e in plain}
    switch(page, adapt=adapt, unknown=unknown)  # predicts the file again
    page.wait(FINISHED)
    found = json.loads(page.evaluate(EVENTS))
    assert_same_events(found, expected, model.card.class_names)
    assert np.abs(np.array([a["probabilities"] for a in plain]) - [e.probabilities for e in events]).max() > 1e-2
    count = [e["class"] for e in expected].count("unknown")
    assert (0 < count < len(found)) == unknown
    said = f"{count} of 49 windows are unknown."
    assert (said in page.evaluate(NOTES)) == unknown
    shown = page.evaluate("document.getElementById('segments').textContent")
    assert ("unknown" in shown) == unknown
    assert page.console == []


@needs_browser
@pytest.mark.extra
def test_statistics_in_the_page_are_those_of_python(page, model):
    windows = noise(16 * 12, 6).reshape(12, 16, 6)
    windows[5, 3, 4] = np.nan
    adapting = AdaptingModel(model._replace(adapt=RATE))
    adapting.predict(windows)
    code = """
        const model = await m.loadModel(await (await fetch("card.json")).json());
        let statistics = model.statistics;
        for (const window of v.windows) {
          statistics = (await model.predict(Float32Array.from(window, (x) => x ?? NaN), statistics)).statistics;
        }
        return [model.statistics, statistics].map((values) => Array.from(values));
    """
    flat = with_null(windows.reshape(12, -1).astype(float).tolist())
    before, after = call(page, "web/model.js", code, windows=flat)
    np.testing.assert_array_equal(np.float32(before), statistics_of(model))
    np.testing.assert_allclose(after, statistics_of(adapting.model), rtol=1e-4, atol=1e-5)
    assert np.abs(np.array(after) - before).max() > 0.1


@needs_browser
@pytest.mark.extra
def test_a_recording_of_which_all_is_unknown_and_a_file_that_is_gone_are_one_line(page, model, tmp_path):
    path = write_table(tmp_path / "still.csv", np.zeros((100, 6)))
    switch(page, unknown=True)
    page.evaluate("import('./page.js').then(({card}) => { card.rejection.threshold = 1; })")
    predicted_in(page, path)
    known = ", ".join(model.card.class_names)
    assert page.evaluate(NOTES) == f"11 of 11 windows are unknown: the model knows {known}."
    assert page.evaluate("document.getElementById('present').textContent") == "unknown"
    path.unlink()
    switch(page, unknown=False)
    page.wait(FINISHED)
    assert page.evaluate(ERROR) == "still.csv: cannot be read; it was changed or removed, choose it again"
    assert page.console == []


@needs_browser
@pytest.mark.extra
@pytest.mark.slow
def test_a_model_without_batch_normalisation_answers_and_its_switches_are_off(made_site, browser, tmp_path):
    model = make_model(Kind(baseline="transformer"))
    write_files(model, RESULT, ["web"], tmp_path, rate=RATE, site=made_site)
    server = Server(tmp_path)
    browser.go(f"{server.address}/web/")
    browser.wait(READY)
    path = write_table(tmp_path / "walk.csv", noise(100, 6))
    (item,) = read_input(path, model.card, default.get_config().data)
    expected = [e.as_json(model.card) for e in predict_recording(model, item.recording, item.time, ("mean", 2))]
    switch(browser, adapt=True, unknown=True)
    assert_same_events(predicted_in(browser, path), expected, model.card.class_names)
    assert "(the model has no batch normalisation)" in browser.evaluate("document.body.textContent")
    assert "(the model has no threshold of confidence)" in browser.evaluate("document.body.textContent")
    server.close()


def test_a_switch_says_why_it_cannot_be_used(model):
    def said(card, statistics="statistics.bin", smoothing=("", 1)):
        serve = {"adapt": False, "unknown": True}
        page_card = {"serve": serve, "statistics": statistics, "smoothing": smoothing}
        return [(s["text"], s["on"], s["why"]) for s in web.switches(card, page_card)]

    adapt, unknown = "Adapt to the wearer, without labels", "Say unknown below a confidence of 0.40"
    assert said(model.card) == [(adapt, False, ""), (unknown, True, "")]
    assert said(model.card, smoothing=("mean", 3))[1][0] == "Say unknown below a mean confidence of 0.40 over 3 windows"
    without = msgspec.structs.replace(model.card, rejection=None)
    assert said(without, None) == [
        (adapt, False, "the model has no batch normalisation"),
        ("Say unknown", True, "the model has no threshold of confidence"),
    ]
    own = msgspec.structs.replace(model.card, class_names=("stand", "walk", "run", "unknown"))
    assert said(own)[1][2] == "the model has a class unknown"


def test_the_page_begins_as_it_was_exported(model):
    exported = exported_card(model._replace(adapt=RATE), RESULT)
    card = page_card(model.card) | {"serve": exported["serve"], "statistics": "statistics.bin"}
    text = web.index_page(model.card, exported, card)
    assert '<input id="adapt" type="checkbox" autocomplete="off" checked>' in text
    assert '<input id="unknown" type="checkbox" autocomplete="off">' in text


@needs_browser
@pytest.mark.extra
def test_a_second_file_takes_the_place_of_the_first(page, tmp_path):
    first = write_table(tmp_path / "first.csv", noise(4000, 6))
    second = write_table(tmp_path / "second.csv", noise(100, 6, seed=1))
    page.choose("#file", first)
    assert len(predicted_in(page, second)) == 11
    assert "second.csv: 4.0 s, 11 windows" in page.evaluate(STATUS)


@needs_browser
@pytest.mark.extra
def test_a_file_without_the_gyroscope_is_answered_by_the_other_branch(page, model, tmp_path):
    path = write_table(tmp_path / "acc.csv", noise(200, 3), NAMES[:3])
    table = default.get_config().data.table
    table.missing = "interpolate"
    expected = list(answers(model, [path.read_bytes().splitlines(keepends=True)], table, ("mean", 2)))
    assert expected[0]["missing"] == ["dense"]
    assert_same_events(predicted_in(page, path), expected, model.card.class_names)
    assert "No gyro_x, gyro_y, gyro_z: the branch res answers alone" in page.evaluate(NOTES)
    assert "adapt" not in page.evaluate(NOTES)
    switch(page, adapt=True)
    page.wait(FINISHED)
    assert_same_events(json.loads(page.evaluate(EVENTS)), expected, model.card.class_names)
    assert "The model does not adapt without them." in page.evaluate(NOTES)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a,b\n0,1,2\n", "no column acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z; the model reads acc_x [g],"),
        ("time,acc_x [mg],acc_y,acc_z\n0,1,2,3\n", "acc_x is in mg, and the model reads it in g"),
        ("acc_x,acc_y,acc_z\n1,2,3\n", "no column 'time' with the time"),
        ("time,acc_x,acc_y,acc_z\n0,1,2,3\n0.04,1,x,3\n", "bad.csv, line 3, column 'acc_y': 'x' is not a finite"),
        ("time,acc_x,acc_y,acc_z\n0,1,2\n", "bad.csv, line 2: 3 fields, expected 4 as in the header"),
        ("time,acc_x,acc_y,acc_z\n1,1,2,3\n0,1,2,3\n", "line 3, column 'time': time goes back by 1 s"),
        ("time,acc_x,acc_y,acc_z\n0,1,2,3\n40,1,2,3\n", "rows are 40 s apart, farther than 1 s; is the unit"),
        ("time,acc_x,acc_y,acc_z\n0,1,2,3\n1,1,2,3\n", "bad.csv: 1 rows a second, and the model reads 25; is the unit"),
        ("time,acc_x,acc_y,acc_z\n", "bad.csv: no rows below the header"),
        ("", "bad.csv, line 1: empty, expected the names of the columns"),
        (SHORT, "nothing is predicted: the longest part without a gap has 0.6 s, and a window 0.64 s"),
        ("time,subject,acc_x,acc_y,acc_z\n0,a,1,2,3\n1,b,1,2,3\n", "line 3: the recording 'b' after 'a', expected one"),
        (b"time,acc_x\n\xff\n", "bad.csv: not UTF-8 text"),
    ],
)  # fmt: skip
def test_bad_files_are_one_line_in_the_page(text, message, page, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    page.choose("#file", path)
    page.wait(FINISHED)
    shown = page.evaluate(ERROR)
    assert message in shown
    assert "\n" not in shown
    assert page.console == []


LISTEN = """
window.sent = [];
addEventListener("devicemotion", (event) => {
  const {x, y, z} = event.accelerationIncludingGravity;
  const {alpha, beta, gamma} = event.rotationRate ?? {};
  sent.push([event.timeStamp, x, y, z, alpha ?? null, beta ?? null, gamma ?? null]);
});
document.getElementById("motion").click();
"""


@needs_browser
@pytest.mark.extra
def test_the_sensors_of_a_phone_are_predicted_as_by_stream(page, model):
    """Chromium's own events, 60 a second, from readings that change; the model adapts."""
    rng = np.random.default_rng(0)
    sensors = ["accelerometer", "linear-acceleration", "gyroscope"]
    for sensor in sensors:
        page.call("Emulation.setSensorOverrideEnabled", enabled=True, type=sensor)
    try:
        switch(page, adapt=True)
        page.evaluate(LISTEN)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            for sensor in sensors:
                reading = dict(
                    zip("xyz", rng.normal(0, 8 if sensor == "accelerometer" else 2, 3).tolist(), strict=True)
                )
                page.call("Emulation.setSensorOverrideReadings", type=sensor, reading={"xyz": reading})
            time.sleep(0.02)
        page.evaluate("document.getElementById('motion').click()")
        sent = np.array(json.loads(page.evaluate("JSON.stringify(sent)")), float)
        page.wait("import('./page.js').then(({shown}) => shown.done && shown.events.length > 3)")
        found = json.loads(page.evaluate(EVENTS))
    finally:
        for sensor in sensors:
            page.call("Emulation.setSensorOverrideEnabled", enabled=False, type=sensor)
    rows = (sent[:, 1:] * np.repeat([1 / 9.80665, np.pi / 180], 3)).astype(np.float32)
    assert np.ptp(rows, axis=0).min() > 1
    recognizer = stream.Recognizer(model._replace(adapt=RATE), smoothing=("mean", 2))
    expected = [e.as_json(model.card) for e in recognizer.push(rows, (sent[:, 0] - sent[0, 0]) / 1000)]
    assert 0 <= len(expected) - len(found) <= 1  # events that came while the page was being stopped
    assert_same_events(found, expected[: len(found)], model.card.class_names)
    assert page.console == []


SEND = """
window.send = (acceleration, rotation) => dispatchEvent(new DeviceMotionEvent("devicemotion", {
  accelerationIncludingGravity: acceleration, rotationRate: rotation, interval: 16,
}));
document.getElementById("motion").click();
"""


@needs_browser
@pytest.mark.extra
def test_a_phone_without_a_gyroscope_is_answered_by_the_other_branch(page, model):
    page.evaluate(SEND)
    page.evaluate("window.timer = setInterval(() => send({x: 1, y: 2, z: 9}, null), 20); 1")
    page.wait("import('./page.js').then(({shown}) => shown.events.length > 2)")
    switch(page, adapt=True)  # begins anew
    page.wait(f"{NOTES}.endsWith('The model does not adapt without them.')")
    page.wait("import('./page.js').then(({shown}) => shown.events.length > 2)")
    page.evaluate("clearInterval(timer); document.getElementById('motion').click()")
    events = json.loads(page.evaluate(EVENTS))
    assert {tuple(e["missing"]) for e in events} == {("dense",)}
    level = np.array([1, 2, 9, np.nan, np.nan, np.nan], np.float32) / np.float32(9.80665)
    window = np.tile(level, (model.card.window, 1))
    recording = Recording(
        window, np.full(16, UNLABELLED, np.int32), 1, "1", 25.0, model.card.inputs, np.array([0], np.int64)
    )
    (expected,) = predict_recording(model, recording)
    np.testing.assert_allclose(events[-1]["probabilities"], expected.probabilities, atol=1e-4)
    assert "No gyro_x, gyro_y, gyro_z: the branch res answers alone" in page.evaluate(NOTES)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("send(null, {alpha: null, beta: null, gamma: null})", "motion sensors: nothing came; this device has none"),
        (
            "send({x: 1, y: null, z: 1}, {alpha: null})",
            "motion sensors: no acc_y, gyro_x, gyro_y, gyro_z, and no branch",
        ),
    ],
)
def test_a_device_without_sensors_is_one_line_in_the_page(event, message, page):
    page.evaluate(SEND)
    page.evaluate(event)
    page.wait(ERROR)
    assert message in page.evaluate(ERROR)
    assert page.console == []


@needs_browser
@pytest.mark.extra
def test_a_motion_event_with_the_time_of_the_one_before_is_left_out(modules):
    code = """
        const time = [];
        const motion = new m.Motion(v.card, {onStart: () => {}, onRows: (rows) => time.push(...rows.time)});
        const [acceleration, rotation] = [{x: 1, y: 2, z: 9}, {alpha: 0, beta: 0, gamma: 0}];
        for (const timeStamp of [500, 520, 520, 540]) {
          motion.listener({accelerationIncludingGravity: acceleration, rotationRate: rotation, timeStamp});
        }
        return time;
    """
    assert call(modules, "motion.js", code, card=page_card(make_card())) == [0, 0.02, 0.04]


@needs_browser
@pytest.mark.extra
def test_webkit_reports_accelerations_with_the_other_sign(modules):
    card = page_card(make_card())
    code = """
        const event = {accelerationIncludingGravity: {x: 9.80665, y: 0, z: null}, rotationRate: {alpha: 180}};
        return [true, false].map((webkit) => Array.from(m.rowOf(event, v.card, webkit)));
    """
    found = call(modules, "motion.js", code, card=card)
    np.testing.assert_allclose(np.array(found, float)[:, [0, 3]], [[-1, np.pi], [1, np.pi]], rtol=1e-6)
    assert [[i for i, x in enumerate(row) if x is None] for row in found] == [[2, 4, 5]] * 2


@needs_browser
@pytest.mark.extra
def test_the_page_works_without_a_network_once_it_is_loaded(site, browser, tmp_path):
    server = Server(site)
    browser.go(f"{server.address}/web/")
    browser.wait(READY)
    assert "works without a network" in browser.evaluate(STATUS)
    server.close()
    browser.go(f"{server.address}/web/")
    browser.wait(READY)
    assert len(predicted_in(browser, write_table(tmp_path / "again.csv", noise(100, 6)))) == 11


@needs_browser
@pytest.mark.extra
def test_a_browser_without_webassembly_is_told_so(page):
    script = page.call("Page.addScriptToEvaluateOnNewDocument", source="delete globalThis.WebAssembly")
    page.go(page.evaluate("location.href"))
    page.wait(ERROR)
    assert "no WebAssembly" in page.evaluate(ERROR)
    assert page.console == []
    page.call("Page.removeScriptToEvaluateOnNewDocument", **script)


@needs_browser
@pytest.mark.extra
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_not_wider_than_the_window(width, page, tmp_path):
    page.resize(width)
    predicted_in(page, write_table(tmp_path / "walk.csv", noise(400, 6)))
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.call("Emulation.clearDeviceMetricsOverride")
