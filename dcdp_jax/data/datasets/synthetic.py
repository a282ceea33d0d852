"""Seeded synthetic recordings: several subjects, an accelerometer and a gyroscope per site, no network."""

import numpy as np

from dcdp_jax.data.protocols import COMMON, last_fifths
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.synthetic_tasks import CLASSES, TASKS, make_task

SITES = ("wrist", "hip", "ankle")
CLASS_NAMES = ("stand", "sit", "lie", "walk", "run", "stairs", "sit_down", "stand_up")
CHANNELS = tuple(
    Channel(f"{site}_{group}_{axis}", group, site, unit)
    for site in SITES
    for group, unit in (("acc", "g"), ("gyro", "rad/s"))
    for axis in "xyz"
)
# Step frequency in Hz, acceleration amplitude in g and rotation amplitude in rad/s at the ankle.
PERIODIC = {"walk": (1.8, 0.35, 2.0), "run": (2.7, 0.9, 3.5), "stairs": (1.5, 0.45, 1.6)}
# Pitch of the trunk in radians: which way gravity points.
POSTURE = {"stand": 0.0, "sit": 0.5, "lie": 1.5}
TRANSITIONS = {"sit_down": ("stand", "sit"), "stand_up": ("sit", "stand")}
SITE_GAIN = {"wrist": 0.6, "hip": 0.5, "ankle": 1.0}
TRANSITION_SECONDS = 3.0
ACTIVITIES = "activities"
TASK_NAMES = (ACTIVITIES, *TASKS)


def make_recordings(
    seed: int = 0,
    subjects: int = 10,
    minutes: float = 6.0,
    rate: float = 25.0,
    noise: float = 0.25,
    weak_group: str = "gyro",
    weakness: float = 0.6,
    task: str = ACTIVITIES,
) -> Recordings:
    """Makes one recording per subject.

    Args:
      seed: seed of all random numbers.
      subjects: number of subjects.
      minutes: length of each recording.
      rate: samples per second.
      noise: standard deviation of the white noise, in g and in rad/s.
      weak_group: the modality to make weaker, `acc` or `gyro`.
      weakness: 0 leaves it as it is; 1 leaves only noise of the same standard deviation.
      task: `activities`, a random sequence of them with smooth changes of posture between them, or one of
        `dcdp_jax.data.synthetic_tasks`, which know no weak group.
    """
    made = []
    for subject in range(1, subjects + 1):
        rng, samples = np.random.default_rng((seed, subject)), round(minutes * 60 * rate)
        if task == ACTIVITIES:
            signals, labels = _activities(rng, samples, rate, noise, weak_group, weakness)
        else:
            signals, labels = make_task(TASKS[task], rng, samples, rate, noise, len(SITES))
        made.append(Recording(signals.astype(np.float32), labels, subject, "1", rate, CHANNELS))
    return Recordings(made, CLASS_NAMES if task == ACTIVITIES else CLASSES)


def _activities(
    rng: np.random.Generator, samples: int, rate: float, noise: float, weak_group: str, weakness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signals (samples, c) and labels (samples,) of one subject's activities."""
    labels, pitch = _schedule(rng, samples, rate)
    acceleration = np.zeros((samples, len(SITES), 3))
    rotation = np.zeros((samples, len(SITES), 3))
    pace, vigour = rng.normal(1, 0.08), rng.normal(1, 0.15)
    for s, site in enumerate(SITES):
        tilt = pitch + rng.normal(0, 0.15)
        roll = rng.normal(0, 0.15)
        acceleration[:, s] = np.stack([np.sin(tilt), np.cos(tilt) * np.sin(roll), np.cos(tilt) * np.cos(roll)], axis=1)
        rotation[:, s, 1] = np.gradient(tilt) * rate
        direction = rng.normal(size=(2, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        for name, (frequency, acc_amplitude, gyro_amplitude) in PERIODIC.items():
            active = labels == CLASS_NAMES.index(name)
            phase = 2 * np.pi * np.cumsum(frequency * pace * (1 + 0.03 * rng.normal(size=samples))) / rate
            wave = np.sin(phase) + 0.5 * np.sin(2 * phase + rng.uniform(0, 2 * np.pi))
            gain = active * vigour * SITE_GAIN[site] * rng.normal(1, 0.1)
            acceleration[:, s] += (gain * acc_amplitude * wave)[:, None] * direction[0]
            rotation[:, s] += (gain * gyro_amplitude * np.cos(phase))[:, None] * direction[1]
    groups = {"acc": acceleration, "gyro": rotation}
    for name, values in groups.items():
        if name == weak_group:
            replacement = values.mean(axis=0) + values.std(axis=0) * rng.normal(size=values.shape)
            values[:] = (1 - weakness) * values + weakness * replacement
        values += noise * rng.normal(size=values.shape)
    return np.concatenate([acceleration, rotation], axis=2).reshape(samples, -1), labels


def _schedule(rng: np.random.Generator, samples: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a label and a trunk pitch per sample; sitting follows sit_down and ends with stand_up."""
    labels, pitch = np.zeros(samples, np.int32), np.zeros(samples)
    at = 0

    def append(name: str, seconds: float, start: float, end: float) -> None:
        nonlocal at
        stop = min(at + round(seconds * rate), samples)
        labels[at:stop] = CLASS_NAMES.index(name)
        pitch[at:stop] = start + (end - start) * (1 - np.cos(np.linspace(0, np.pi, stop - at))) / 2
        at = stop

    order: list[str] = []
    while at < samples:
        order = order or list(rng.permutation(["stand", "sit", "sit", "sit", "lie", "walk", "run", "stairs"]))
        name, seconds = order.pop(), rng.uniform(8, 16)
        if name == "sit":
            for transition in TRANSITIONS:
                before, after = (POSTURE[p] for p in TRANSITIONS[transition])
                append(transition, TRANSITION_SECONDS * rng.uniform(0.8, 1.2), before, after)
                if transition == "sit_down":
                    append("sit", seconds / 2, after, after)
        else:
            append(name, seconds, POSTURE.get(name, 0.0), POSTURE.get(name, 0.0))
    return labels, pitch


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    make=lambda raw_dir, options: make_recordings(**(options or {})),
    protocols={"subject": last_fifths, **COMMON},
    marks=("synthetic",),
)
