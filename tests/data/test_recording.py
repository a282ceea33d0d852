"""What a recording must be, and that its fingerprint sees everything."""

import dataclasses

import numpy as np
import pytest

from dcdp_jax.data.recording import Channel, Recording, content_digest, fingerprint

CHANNELS = (Channel("acc_x", "acc", "hip", "g"), Channel("gyro_x", "gyro", "hip", "rad/s"))


def a_recording(**changes):
    signals = np.arange(20, dtype=np.float32).reshape(10, 2)
    made = Recording(
        signals,
        np.zeros(10, np.int32),
        1,
        "morning",
        50.0,
        CHANNELS,
        np.array([0, 4], np.int64),
        {"locomotion": np.ones(10, np.int32)},
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(9, np.int32)}, "do not belong together"),
        ({"channels": CHANNELS[:1]}, "do not belong together"),
        ({"starts": np.array([1, 4])}, "do not divide 10 samples"),
        ({"starts": np.array([0, 10])}, "do not divide 10 samples"),
        ({"starts": np.array([0, 4, 4])}, "do not divide 10 samples"),
        ({"tracks": {"locomotion": np.ones(9, np.int32)}}, r"track 'locomotion' \(9,\)"),
    ],
)
def test_parts_must_belong_together(changes, message):
    with pytest.raises(ValueError, match=message):
        a_recording(**changes)


def test_fingerprint_sees_everything():
    signals = a_recording().signals.copy()
    signals[3, 1] += 1e-6 + signals[3, 1] * 1e-6
    changes = [
        {},
        {"signals": signals},
        {"labels": np.ones(10, np.int32)},
        {"subject": 2},
        {"run": "evening"},
        {"rate": 25.0},
        {"channels": CHANNELS[::-1]},
        {"starts": np.array([0, 5], np.int64)},
        {"tracks": {}},
        {"tracks": {"locomotion": np.zeros(10, np.int32)}},
        {"tracks": {"gesture": np.ones(10, np.int32)}},
    ]
    prints = {fingerprint([a_recording(**change)]) for change in changes}
    assert len(prints) == len(changes)
    recordings = [a_recording(), a_recording(subject=2)]
    assert fingerprint(recordings) == fingerprint(recordings, [content_digest(r) for r in recordings])
    assert content_digest(recordings[0]) == content_digest(recordings[1])
    assert a_recording().channel_names == ("acc_x", "gyro_x")
