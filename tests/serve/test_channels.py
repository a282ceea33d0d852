"""Channels `body_X` that a device does not have are computed from `total_X`, alike in predict and stream."""

import dataclasses

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy import signal

from configs import default
from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.serve.channels import compute_body
from dcdp_jax.serve.inputs import prepare, read_input
from dcdp_jax.serve.live import check_channels_there
from dcdp_jax.serve.predict import predict_recording
from dcdp_jax.serve.stream import Recognizer
from tests.serve.making import Kind, make_card, make_model, make_recording

COMPUTED = make_card(Kind("body"))
PUBLISHED = msgspec.structs.replace(COMPUTED, view="raw", inputs=COMPUTED.channels)
NAMES = [channel.name for channel in COMPUTED.inputs]


def test_a_model_of_published_channels_takes_accelerations_with_gravity(tmp_path):
    assert [channel.name for channel in PUBLISHED.inputs[3:6]] == [f"body_acc_{axis}" for axis in "xyz"]
    assert compute_body(PUBLISHED) == COMPUTED
    assert compute_body(COMPUTED) is COMPUTED
    published = make_model(Kind("body"))._replace(card=PUBLISHED)
    phone = published._replace(card=compute_body(PUBLISHED))
    recording = make_recording(phone.card, 100)
    b, a = signal.butter(3, 0.3, fs=25.0)
    total = recording.signals[:, :3].astype(np.float64)
    gravity, _ = signal.lfilter(b, a, total, 0, signal.lfilter_zi(b, a)[:, None] * total[0])
    signals = np.concatenate([total, total - gravity, recording.signals[:, 3:]], axis=1).astype(np.float32)
    whole = dataclasses.replace(recording, signals=signals, channels=PUBLISHED.channels)
    expected = predict_recording(published, whole)
    frame = pd.DataFrame(recording.signals, columns=NAMES).assign(time=np.arange(100) / 25)
    frame.to_csv(tmp_path / "phone.csv", index=False)
    (item,) = read_input(tmp_path / "phone.csv", phone.card, default.get_config().data)
    streamed = Recognizer(phone)
    live = [event for i in range(0, 100, 7) for event in streamed.push(recording.signals[i : i + 7])]
    assert len(expected) > 8
    for found in (predict_recording(phone, item.recording, item.time), live):
        np.testing.assert_allclose(
            [event.probabilities for event in found], [event.probabilities for event in expected], atol=1e-4
        )


def test_absent_channels_that_can_be_computed_are_named(tmp_path):
    recording = make_recording(COMPUTED, 20)
    pd.DataFrame(recording.signals, columns=NAMES).assign(time=np.arange(20) / 25).to_csv(tmp_path / "phone.csv")
    there = {name: name for name in NAMES if not name.startswith("gyro")}
    for call in (
        lambda: prepare("here", recording, PUBLISHED),
        lambda: read_input(tmp_path / "phone.csv", PUBLISHED, default.get_config().data),
    ):
        with pytest.raises(DataError, match=r"; --config\.serve\.compute_body=True computes body_acc_x, b"):
            call()
    with pytest.raises(DataError, match=r"no column body_acc_x, .*gyro_z; .* gyro_z \[rad/s\], .* total_acc_z$"):
        check_channels_there("here", PUBLISHED, there, list(there))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": "derived"}, "the model has data.view='derived', expected 'raw'"),
        (
            {"inputs": tuple(Channel(f"acc_{axis}", "acc", "hip", "g") for axis in "xyz")},
            "the model reads acc_x [g], acc_y [g], acc_z [g], expected body_X beside total_X",
        ),
        ({"inputs": COMPUTED.channels[:5]}, "computed would be total_acc_x, total_acc_y, total_acc_z, body_acc_x, "),
    ],
)
def test_models_whose_channels_cannot_be_computed_are_named(change, message):
    with pytest.raises(ConfigError) as raised:
        compute_body(msgspec.structs.replace(PUBLISHED, **change))
    assert str(raised.value).startswith("serve.compute_body=True: ")
    assert message in str(raised.value)
